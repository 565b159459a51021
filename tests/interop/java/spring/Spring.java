package millrace;

import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.RocketMQTransactionListener;
import org.apache.rocketmq.spring.autoconfigure.RocketMQAutoConfiguration;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionState;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.ImportAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.MessageBuilder;

/**
 * Apache's rocketmq-spring-boot-starter: a template for sending, and annotated listeners. Each
 * consumer is an application of its own, as it would be in a service.
 */
public final class Spring implements Library {
    private static final int TIMEOUT_MS = 3000;
    /**
     * Held while an application starts: Spring Boot sets up the logging of the whole process then, and
     * two at once leave it broken for all that follow.
     */
    private static final Object STARTING = new Object();

    private final String namesrv;

    private Spring(String namesrv) {
        this.namesrv = namesrv;
    }

    public static void main(String[] args) throws Exception {
        Driver.run(new Spring(args[0]));
    }

    @ImportAutoConfiguration(RocketMQAutoConfiguration.class)
    static class Application {}

    private ConfigurableApplicationContext start(Map<String, Object> properties, Class<?> listener,
        Predicate<MessageExt> each) {
        SpringApplicationBuilder builder = new SpringApplicationBuilder(Application.class)
            .web(WebApplicationType.NONE)
            .properties(Map.of("rocketmq.name-server", namesrv, "spring.main.banner-mode", "off",
                "spring.main.register-shutdown-hook", "false"))
            .properties(properties);
        builder.sources(listener);
        if (each != null) {
            builder.initializers(context -> context.getBeanFactory().registerSingleton("each", new Each(each)));
        }
        synchronized (STARTING) {
            return builder.run();
        }
    }

    /** The driver's own handler, as a bean that listeners can be given. */
    record Each(Predicate<MessageExt> handler) {}

    @Override
    public Sender sender(String group) {
        ConfigurableApplicationContext context = start(Map.of("rocketmq.producer.group", group,
            "rocketmq.producer.instance-name", group, "rocketmq.producer.retry-times-when-send-failed", "0",
            "rocketmq.producer.retry-times-when-send-async-failed", "0"), Deciding.class, null);
        return new SpringSender(context.getBean(RocketMQTemplate.class));
    }

    @Override
    public AutoCloseable consumer(Subscription wanted, Predicate<MessageExt> each) {
        boolean sql = !wanted.sql().isEmpty();
        Class<?> listener = wanted.broadcasting() ? Listeners.Broadcasting.class
            : wanted.orderly() ? Listeners.Orderly.class
            : sql ? Listeners.Filtering.class : Listeners.Concurrent.class;
        String selector = sql ? wanted.sql() : wanted.tags().isEmpty() ? "*" : wanted.tags();
        return start(Map.of("name", wanted.name(), "group", wanted.group(), "topic", wanted.topic(),
            "selector", selector), listener, each)::close;
    }

    @RocketMQTransactionListener
    static class Deciding implements RocketMQLocalTransactionListener {
        @Override
        public RocketMQLocalTransactionState executeLocalTransaction(Message message, Object unused) {
            Fate fate = fate(message);
            return fate.atOnce() ? decide(fate) : RocketMQLocalTransactionState.UNKNOWN;
        }

        @Override
        public RocketMQLocalTransactionState checkLocalTransaction(Message message) {
            return decide(fate(message));
        }

        private static Fate fate(Message<?> message) {
            return Fate.of((String) message.getHeaders().get("n"));
        }

        private static RocketMQLocalTransactionState decide(Fate fate) {
            return fate.commits() ? RocketMQLocalTransactionState.COMMIT : RocketMQLocalTransactionState.ROLLBACK;
        }
    }

    private record SpringSender(RocketMQTemplate template) implements Sender {
        @Override
        public SendResult sync(Outgoing message) {
            return template.syncSend(destination(message), encoded(message), TIMEOUT_MS, message.level());
        }

        @Override
        public void async(Outgoing message, SendCallback then) {
            template.asyncSend(destination(message), encoded(message), then);
        }

        @Override
        public void oneway(Outgoing message) {
            template.sendOneWay(destination(message), encoded(message));
        }

        /** The template gives all messages of a batch one tag. */
        @Override
        public SendResult batch(List<Outgoing> messages) {
            return template.syncSend(destination(messages.get(0)),
                messages.stream().map(SpringSender::encoded).toList());
        }

        @Override
        public SendResult ordered(Outgoing message) {
            return template.syncSendOrderly(destination(message), encoded(message), message.shard());
        }

        @Override
        public SendResult transaction(Outgoing message) {
            return template.sendMessageInTransaction(destination(message), encoded(message), null);
        }

        private static String destination(Outgoing message) {
            return message.topic() + ":" + message.tag();
        }

        private static Message<String> encoded(Outgoing message) {
            return MessageBuilder.withPayload(message.body()).setHeader("KEYS", message.keys())
                .setHeader("n", Integer.toString(message.number())).setHeader("attempt", message.attempt()).build();
        }
    }
}
