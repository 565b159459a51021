package millrace;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Sends numbered messages in three ways, while somebody kills and restarts the broker, then pulls
 * everything back and accounts for each number: acknowledged ones must all be there, the others
 * may be. Then the same for a group that is given only bodies of at least so many bytes, because
 * somebody has attached a filter to it.
 *
 * <p>Prints "half" once half of the messages have been acknowledged, which is when the script kills
 * the broker, and at the end one line of counts. Exits with 4 if anything acknowledged is missing
 * or anything was never sent.
 */
public final class SendAndPull {
    private static final int IN_FLIGHT = 256;
    private static final int BATCH = 50;

    private final String topic;
    private final int count;
    private final DefaultMQProducer producer = new DefaultMQProducer("interop-producer");
    private final BitSet acknowledged = new BitSet();
    private final AtomicInteger settled = new AtomicInteger();
    private final AtomicInteger refused = new AtomicInteger();
    private boolean halfSaid;

    private SendAndPull(String namesrv, String topic, int count) {
        this.topic = topic;
        this.count = count;
        producer.setNamesrvAddr(namesrv);
        producer.setRetryTimesWhenSendFailed(2);
        producer.setSendMsgTimeout(3000);
        producer.setPollNameServerInterval(1000);
    }

    public static void main(String[] args) throws Exception {
        SendAndPull run = new SendAndPull(args[0], args[1], Integer.parseInt(args[2]));
        run.send();
        boolean all = run.pullAndJudge(args[0], "interop-consumer", 0);
        boolean filtered = run.pullAndJudge(args[0], "interop-filtered", Integer.parseInt(args[3]));
        System.exit(all && filtered ? 0 : 4);
    }

    private void send() throws Exception {
        producer.start();
        int third = count / 3;
        Thread sync = new Thread(() -> sendSync(0, third));
        Thread async = new Thread(() -> sendAsync(third, 2 * third));
        Thread batch = new Thread(() -> sendBatches(2 * third, count));
        for (Thread thread : List.of(sync, async, batch)) {
            thread.start();
        }
        for (Thread thread : List.of(sync, async, batch)) {
            thread.join();
        }
        producer.shutdown();
    }

    private void sendSync(int from, int to) {
        ExecutorService pool = Executors.newFixedThreadPool(16);
        for (int id = from; id < to; id++) {
            final int each = id;
            pool.execute(() -> untilAcknowledged(() -> producer.send(message(each)), each, each + 1));
        }
        pool.shutdown();
        try {
            pool.awaitTermination(10, TimeUnit.MINUTES);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** A failed asynchronous send is not repeated: its outcome stays unknown. */
    private void sendAsync(int from, int to) {
        Semaphore window = new Semaphore(IN_FLIGHT);
        CountDownLatch done = new CountDownLatch(to - from);
        for (int id = from; id < to; id++) {
            final int each = id;
            window.acquireUninterruptibly();
            SendCallback callback = new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    settle(result, each, each + 1);
                    finish();
                }

                @Override
                public void onException(Throwable e) {
                    refused.incrementAndGet();
                    pause();
                    finish();
                }

                private void finish() {
                    window.release();
                    done.countDown();
                }
            };
            try {
                producer.send(message(each), callback);
            } catch (Exception e) {
                callback.onException(e);
            }
        }
        try {
            done.await(10, TimeUnit.MINUTES);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void sendBatches(int from, int to) {
        for (int id = from; id < to; id += BATCH) {
            int end = Math.min(id + BATCH, to);
            List<Message> messages = new ArrayList<>();
            for (int each = id; each < end; each++) {
                messages.add(message(each));
            }
            untilAcknowledged(() -> producer.send(messages), id, end);
        }
    }

    private interface Send {
        SendResult send() throws Exception;
    }

    private void untilAcknowledged(Send send, int from, int to) {
        for (int attempt = 0; attempt < 120; attempt++) {
            try {
                settle(send.send(), from, to);
                return;
            } catch (Exception e) {
                refused.incrementAndGet();
                pause();
            }
        }
    }

    private static void pause() {
        try {
            Thread.sleep(250);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized void settle(SendResult result, int from, int to) {
        if (result.getSendStatus() == SendStatus.SEND_OK) {
            acknowledged.set(from, to);
        }
        int sum = settled.addAndGet(to - from);
        if (!halfSaid && sum >= count / 2) {
            halfSaid = true;
            System.out.println("half");
        }
    }

    private Message message(int id) {
        byte[] body = ("message " + id).getBytes(StandardCharsets.UTF_8);
        return new Message(topic, "interop", "key-" + id, body);
    }

    private boolean pullAndJudge(String namesrv, String group, int bytesMin) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.start();
        BitSet pulled = new BitSet();
        int repeated = 0;
        int strange = 0;
        Set<MessageQueue> queues = consumer.fetchSubscribeMessageQueues(topic);
        for (MessageQueue queue : queues) {
            long offset = consumer.minOffset(queue);
            long end = consumer.maxOffset(queue);
            while (offset < end) {
                PullResult result = consumer.pull(queue, "*", offset, 32);
                if (result.getPullStatus() == PullStatus.FOUND) {
                    for (MessageExt message : result.getMsgFoundList()) {
                        String body = new String(message.getBody(), StandardCharsets.UTF_8);
                        String key = message.getKeys();
                        int id = Integer.parseInt(body.substring("message ".length()));
                        long at = message.getQueueOffset();
                        boolean follows = bytesMin == 0 ? at == offset : at >= offset;
                        if (id >= count || !("key-" + id).equals(key) || !follows || !isKept(id, bytesMin)) {
                            strange++;
                        }
                        repeated += pulled.get(id) ? 1 : 0;
                        pulled.set(id);
                        offset = at + 1;
                    }
                } else if (result.getNextBeginOffset() <= offset) {
                    strange++;
                    break;
                }
                offset = Math.max(offset, result.getNextBeginOffset());
            }
            consumer.updateConsumeOffset(queue, offset);
            if (consumer.fetchConsumeOffset(queue, false) != offset) {
                strange++;
            }
        }
        consumer.shutdown();
        BitSet missing = new BitSet();
        acknowledged.stream().filter(id -> isKept(id, bytesMin)).forEach(missing::set);
        int due = missing.cardinality();
        missing.andNot(pulled);
        BitSet unknown = (BitSet) pulled.clone();
        unknown.andNot(acknowledged);
        System.out.printf(
            "%s: sent=%d acknowledged=%d due=%d refused_attempts=%d pulled=%d repeated=%d"
                + " pulled_unacknowledged=%d missing=%d strange=%d%n",
            group, count, acknowledged.cardinality(), due, refused.get(), pulled.cardinality(), repeated,
            unknown.cardinality(), missing.cardinality(), strange);
        return missing.isEmpty() && strange == 0 && due > count / 2;
    }

    private static boolean isKept(int id, int bytesMin) {
        return ("message " + id).length() >= bytesMin;
    }
}
