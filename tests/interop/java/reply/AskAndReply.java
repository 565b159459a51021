package millrace;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Sends requests, one after the other and all at once, to a consumer that replies to each but every
 * tenth. Exits with 4 if an answer is missing, or is another one's.
 */
public final class AskAndReply {
    private static final int REQUESTS = 40;

    public static void main(String[] args) throws Exception {
        String topic = args[1];
        DefaultMQProducer replying = producer(args[0], "replying");
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("replying-" + topic);
        consumer.setNamesrvAddr(args[0]);
        consumer.setInstanceName("consuming");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                reply(replying, message);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();

        DefaultMQProducer asking = producer(args[0], "asking");
        // The first one creates the topic, which the consumer may see late.
        asking.request(question(topic, 1), 60_000);
        int answered = 1;
        for (int n = 1; n < REQUESTS; n++) {
            if (n % 10 != 0) {
                check(asking.request(question(topic, n), 20_000), n);
                answered++;
            }
        }
        try {
            asking.request(question(topic, 10), 1_000);
            fail("a reply that nobody sent");
        } catch (RequestTimeoutException expected) {
            // Nobody replies to this one.
        }
        CountDownLatch open = new CountDownLatch(REQUESTS);
        AtomicInteger failed = new AtomicInteger();
        for (int n = 0; n < REQUESTS; n++) {
            final int number = n * 10 + 1;
            asking.request(question(topic, number), new RequestCallback() {
                @Override
                public void onSuccess(Message message) {
                    check(message, number);
                    open.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    e.printStackTrace();
                    failed.incrementAndGet();
                    open.countDown();
                }
            }, 20_000);
        }
        open.await();
        if (failed.get() > 0) {
            fail(failed.get() + " of " + REQUESTS + " requests at once");
        }
        System.out.println(answered + REQUESTS + " requests were answered, each with its own reply, and one was not");
        System.exit(0);
    }

    private static DefaultMQProducer producer(String namesrv, String name) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(name);
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(name);
        producer.setSendMsgTimeout(30_000);
        producer.start();
        return producer;
    }

    private static Message question(String topic, int n) {
        return new Message(topic, "tag", ("question " + n).getBytes(StandardCharsets.UTF_8));
    }

    private static void reply(DefaultMQProducer by, MessageExt message) {
        String question = new String(message.getBody(), StandardCharsets.UTF_8);
        if (question.endsWith("0")) {
            return;
        }
        try {
            byte[] body = question.replace("question", "reply").getBytes(StandardCharsets.UTF_8);
            by.send(MessageUtil.createReplyMessage(message, body));
        } catch (Exception e) {
            e.printStackTrace();
        }
    }

    private static void check(Message reply, int n) {
        String text = new String(reply.getBody(), StandardCharsets.UTF_8);
        if (!text.equals("reply " + n)) {
            fail(n + " was answered by " + text);
        }
    }

    private static void fail(String what) {
        System.out.println("not as expected: " + what);
        System.exit(4);
    }
}
