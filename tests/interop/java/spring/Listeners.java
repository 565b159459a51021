package millrace;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.ConsumeMode;
import org.apache.rocketmq.spring.annotation.MessageModel;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.annotation.SelectorType;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQPushConsumerLifecycleListener;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.beans.factory.annotation.Value;

/** Listeners as applications write them; what they share is in {@link Listener}. */
final class Listeners {
    private Listeners() {}

    @RocketMQMessageListener(topic = "${topic}", consumerGroup = "${group}",
        selectorExpression = "${selector}", maxReconsumeTimes = 2, consumeThreadNumber = 4)
    static class Concurrent extends Listener {}

    @RocketMQMessageListener(topic = "${topic}", consumerGroup = "${group}",
        selectorExpression = "${selector}", messageModel = MessageModel.BROADCASTING, consumeThreadNumber = 4)
    static class Broadcasting extends Listener {}

    @RocketMQMessageListener(topic = "${topic}", consumerGroup = "${group}",
        selectorExpression = "${selector}", consumeMode = ConsumeMode.ORDERLY, consumeThreadNumber = 4)
    static class Orderly extends Listener {}

    @RocketMQMessageListener(topic = "${topic}", consumerGroup = "${group}",
        selectorExpression = "${selector}", selectorType = SelectorType.SQL92, consumeThreadNumber = 4)
    static class Filtering extends Listener {}

    abstract static class Listener
        implements RocketMQListener<MessageExt>, RocketMQPushConsumerLifecycleListener {
        @Autowired
        private Spring.Each each;

        @Value("${name}")
        private String name;

        @Override
        public void onMessage(MessageExt message) {
            if (!each.handler().test(message)) {
                throw new IllegalStateException("fails on purpose");
            }
        }

        @Override
        public void prepareStart(DefaultMQPushConsumer consumer) {
            consumer.setInstanceName(name);
            consumer.setPollNameServerInterval(1000);
            consumer.setPersistConsumerOffsetInterval(1000);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        }
    }
}
