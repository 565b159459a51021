package millrace;

/** One attempt to send the message with one number. */
record Outgoing(String topic, int number, String attempt, String tag, int level) {
    String body() {
        return topic + " " + number;
    }

    String keys() {
        return "key-" + number;
    }

    /** Messages of one shard go to one queue, in order. */
    String shard() {
        return "shard-" + number % 4;
    }
}
