package millrace;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Sends a few messages of several kinds, so that a captured CommitLog has some of each. */
public final class SendSome {
    public static void main(String[] args) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("capture");
        producer.setNamesrvAddr(args[0]);
        producer.start();
        // The longest name that a record of version 1 can carry.
        String longest = "t".repeat(127);
        MessageQueue queue = null;
        for (int n = 0; n < 12; n++) {
            Message message = new Message("orders", "tag-" + n % 3, "key-" + n, body("order " + n));
            message.putUserProperty("n", Integer.toString(n));
            if (queue == null) {
                queue = producer.send(message).getMessageQueue();
            } else {
                producer.send(message, queue);
            }
        }
        producer.send(new Message(longest, body("a long name")));
        producer.send(List.of(
            new Message("orders", "batch", "b0", body("batch 0")),
            new Message("orders", "batch", "b1", body("batch 1"))), queue);
        Message delayed = new Message("orders", "late", "delayed", body("delayed"));
        delayed.setDelayTimeLevel(18);
        producer.send(delayed);
        producer.shutdown();
    }

    private static byte[] body(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
