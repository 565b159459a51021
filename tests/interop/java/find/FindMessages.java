package millrace;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Finds messages in every way that the client offers: by key, by unique id, by offset id and by
 * time. Exits with 4 if one is not found or another is.
 */
public final class FindMessages {
    public static void main(String[] args) throws Exception {
        String topic = args[1];
        DefaultMQProducer producer = new DefaultMQProducer("finder");
        producer.setNamesrvAddr(args[0]);
        // A busy machine may be slow; what is found is not judged by time.
        producer.setSendMsgTimeout(30_000);
        producer.start();
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("finder");
        consumer.setNamesrvAddr(args[0]);
        consumer.start();
        MessageQueue queue = null;
        SendResult[] sent = new SendResult[10];
        long[] stored = new long[sent.length];
        for (int n = 0; n < sent.length; n++) {
            Message message = new Message(topic, "tag", "each odd-" + n % 2 + " key-" + n, body(n));
            sent[n] = queue == null ? producer.send(message) : producer.send(message, queue);
            queue = sent[n].getMessageQueue();
            stored[n] = viewed(producer, topic, sent[n].getOffsetMsgId(), n);
            viewed(producer, topic, sent[n].getMsgId(), n);
            while (System.currentTimeMillis() <= stored[n]) {
                Thread.onSpinWait();
            }
        }
        for (int n = 0; n < sent.length; n++) {
            found(producer, topic, "key-" + n, 32, n);
            check(consumer.searchOffset(queue, stored[n]) == sent[n].getQueueOffset(), "time " + n);
            check(consumer.searchOffset(queue, stored[n] - 1) <= sent[n].getQueueOffset(), "before " + n);
        }
        found(producer, topic, "odd-1", 32, 1, 3, 5, 7, 9);
        found(producer, topic, "each", 3, 7, 8, 9);
        try {
            producer.queryMessage(topic, "nobody", 32, 0, Long.MAX_VALUE);
            check(false, "a key that nobody has");
        } catch (MQClientException expected) {
            check(expected.getMessage().contains("no message"), expected.getMessage());
        }
        producer.shutdown();
        consumer.shutdown();
        System.out.println("found by key, unique id, offset id and time");
    }

    private static long viewed(DefaultMQProducer by, String topic, String id, int n) throws Exception {
        MessageExt message = by.viewMessage(topic, id);
        check(message != null && new String(message.getBody(), StandardCharsets.UTF_8).equals("m" + n), id);
        return message.getStoreTimestamp();
    }

    private static void found(DefaultMQProducer by, String topic, String key, int max, int... numbers)
        throws Exception {
        QueryResult result = by.queryMessage(topic, key, max, 0, Long.MAX_VALUE);
        List<MessageExt> list = result.getMessageList();
        check(list.size() == numbers.length, key + ": " + list.size() + " messages");
        for (int n : numbers) {
            check(list.stream().anyMatch(m -> new String(m.getBody(), StandardCharsets.UTF_8).equals("m" + n)), key);
        }
    }

    private static byte[] body(int n) {
        return ("m" + n).getBytes(StandardCharsets.UTF_8);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            System.out.println("not as expected: " + what);
            System.exit(4);
        }
    }
}
