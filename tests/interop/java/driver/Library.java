package millrace;

import java.util.List;
import java.util.function.Predicate;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;

/** A client library as an application uses it. */
interface Library {
    Sender sender(String group) throws Exception;

    /** Consumes until closed; {@code each} says whether a message was processed. */
    AutoCloseable consumer(Subscription subscription, Predicate<MessageExt> each) throws Exception;

    /** No method repeats a send by itself, so that the record has every attempt. */
    interface Sender {
        SendResult sync(Outgoing message) throws Exception;

        void async(Outgoing message, SendCallback then) throws Exception;

        void oneway(Outgoing message) throws Exception;

        SendResult batch(List<Outgoing> messages) throws Exception;

        SendResult ordered(Outgoing message) throws Exception;

        /** Half a message, whose fate is {@link Fate#of} its number. */
        SendResult transaction(Outgoing message) throws Exception;
    }

    /** What becomes of a transaction: by turns, decided at once or only when the broker asks. */
    enum Fate {
        COMMIT, ROLL_BACK, COMMIT_WHEN_ASKED, ROLL_BACK_WHEN_ASKED;

        static Fate of(String number) {
            return values()[Integer.parseInt(number) % values().length];
        }

        boolean commits() {
            return this == COMMIT || this == COMMIT_WHEN_ASKED;
        }

        boolean atOnce() {
            return this == COMMIT || this == ROLL_BACK;
        }
    }

    /** What a consumer asks for; {@code sql} and {@code tags}: at most one is not empty. */
    record Subscription(String name, String group, String topic, boolean broadcasting, boolean orderly,
        String tags, String sql, int reconsumeTimesMax) {}
}
