package millrace;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.Predicate;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Apache's rocketmq-client by itself. */
public final class Plain implements Library {
    private final String namesrv;

    private Plain(String namesrv) {
        this.namesrv = namesrv;
    }

    public static void main(String[] args) throws Exception {
        Driver.run(new Plain(args[0]));
    }

    @Override
    public Sender sender(String group) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(group);
        producer.setTransactionListener(new Deciding());
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(group);
        producer.setPollNameServerInterval(1000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        producer.start();
        return new PlainSender(producer);
    }

    @Override
    public AutoCloseable consumer(Subscription wanted, Predicate<MessageExt> each) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(wanted.group());
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(wanted.name());
        consumer.setPollNameServerInterval(1000);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMaxReconsumeTimes(wanted.reconsumeTimesMax());
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        if (wanted.broadcasting()) {
            Version.broadcast(consumer);
        }
        if (wanted.sql().isEmpty()) {
            consumer.subscribe(wanted.topic(), wanted.tags().isEmpty() ? "*" : wanted.tags());
        } else {
            consumer.subscribe(wanted.topic(), MessageSelector.bySql(wanted.sql()));
        }
        if (wanted.orderly()) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) ->
                messages.stream().allMatch(each)
                    ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
                messages.stream().allMatch(each)
                    ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER);
        }
        try {
            consumer.start();
        } catch (Exception e) {
            consumer.shutdown();
            throw e;
        }
        return consumer::shutdown;
    }

    private static final class Deciding implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object unused) {
            Fate fate = Fate.of(message.getUserProperty("n"));
            return fate.atOnce() ? decide(fate) : LocalTransactionState.UNKNOW;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            return decide(Fate.of(message.getUserProperty("n")));
        }

        private static LocalTransactionState decide(Fate fate) {
            return fate.commits() ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
        }
    }

    private record PlainSender(TransactionMQProducer producer) implements Sender {
        @Override
        public SendResult sync(Outgoing message) throws Exception {
            return producer.send(encoded(message));
        }

        @Override
        public void async(Outgoing message, SendCallback then) throws Exception {
            producer.send(encoded(message), then);
        }

        @Override
        public void oneway(Outgoing message) throws Exception {
            producer.sendOneway(encoded(message));
        }

        @Override
        public SendResult batch(List<Outgoing> messages) throws Exception {
            return producer.send(messages.stream().map(PlainSender::encoded).toList());
        }

        @Override
        public SendResult ordered(Outgoing message) throws Exception {
            return producer.send(encoded(message),
                (queues, it, shard) -> queues.get(Math.abs(shard.hashCode()) % queues.size()), message.shard());
        }

        @Override
        public SendResult transaction(Outgoing message) throws Exception {
            return producer.sendMessageInTransaction(encoded(message), null);
        }

        private static Message encoded(Outgoing outgoing) {
            byte[] body = outgoing.body().getBytes(StandardCharsets.UTF_8);
            Message message = new Message(outgoing.topic(), outgoing.tag(), outgoing.keys(), body);
            message.putUserProperty("n", Integer.toString(outgoing.number()));
            message.putUserProperty("attempt", outgoing.attempt());
            if (outgoing.level() > 0) {
                message.setDelayTimeLevel(outgoing.level());
            }
            return message;
        }
    }
}
