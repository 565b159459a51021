import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;

/**
 * Sends messages of 1 KiB with Apache's own client for some seconds and prints how many were
 * acknowledged.
 *
 * <p>Arguments: name server, topic, {@code sync} or {@code async}, threads, seconds. With {@code async}
 * up to 1,024 sends are in flight in all.
 */
public final class Rate {
    private static final int IN_FLIGHT = 1024;

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        boolean async = arguments[2].equals("async");
        int threads = Integer.parseInt(arguments[3]);
        long lasting = (long) (Double.parseDouble(arguments[4]) * 1e9);
        DefaultMQProducer producer = new DefaultMQProducer("rate");
        producer.setNamesrvAddr(arguments[0]);
        producer.setSendMsgTimeout(10_000);
        // Compressing would be measured otherwise.
        producer.setCompressMsgBodyOverHowmuch(1 << 20);
        producer.start();
        byte[] body = "x".repeat(1024).getBytes(StandardCharsets.UTF_8);
        producer.send(new Message(topic, body));

        AtomicLong done = new AtomicLong();
        AtomicLong failed = new AtomicLong();
        Semaphore free = new Semaphore(IN_FLIGHT);
        CountDownLatch running = new CountDownLatch(threads);
        long start = System.nanoTime();
        for (int n = 0; n < threads; n++) {
            new Thread(() -> {
                while (System.nanoTime() - start < lasting) {
                    try {
                        if (!async) {
                            producer.send(new Message(topic, body));
                            done.incrementAndGet();
                            continue;
                        }
                        free.acquire();
                        producer.send(new Message(topic, body), new SendCallback() {
                            @Override
                            public void onSuccess(SendResult result) {
                                done.incrementAndGet();
                                free.release();
                            }

                            @Override
                            public void onException(Throwable error) {
                                failed.incrementAndGet();
                                free.release();
                            }
                        });
                    } catch (Exception error) {
                        failed.incrementAndGet();
                        if (async) {
                            free.release();
                        }
                    }
                }
                running.countDown();
            }).start();
        }
        running.await();
        if (!free.tryAcquire(IN_FLIGHT, 30, TimeUnit.SECONDS)) {
            throw new IllegalStateException("some sends were never answered");
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        System.out.printf("{\"messages\": %d, \"failed\": %d, \"per_second\": %.1f}%n",
                done.get(), failed.get(), done.get() / seconds);
        producer.shutdown();
    }
}
