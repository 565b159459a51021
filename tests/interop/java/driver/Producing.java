package millrace;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;

/** Sends the numbers of one {@code produce} command and reports each attempt and its outcome. */
final class Producing implements Runnable {
    private static final int IN_FLIGHT = 64;
    private static final int BATCH = 10;
    private static final int ATTEMPTS = 100;

    private final Library.Sender sender;
    private final Report report;
    private final String id;
    private final String topic;
    private final String kind;
    private final int from;
    private final int end;
    private final String[] tags;
    private final int level;
    private final int paceMs;

    Producing(Library.Sender sender, Report report, Command command) {
        this.sender = sender;
        this.report = report;
        id = command.text("id");
        topic = command.text("topic");
        kind = command.text("kind");
        from = command.number("from");
        end = from + command.number("count");
        tags = command.text("tags").split(",");
        level = command.number("level");
        paceMs = command.number("pace");
    }

    @Override
    public void run() {
        Semaphore window = new Semaphore(IN_FLIGHT);
        for (int n = from; n < end; n++) {
            final int each = n;
            switch (kind) {
                case "sync" -> untilAcknowledged(each, () -> sender.sync(attempt(each)));
                case "ordered" -> untilAcknowledged(each, () -> sender.ordered(attempt(each)));
                case "transaction" -> untilAcknowledged(each, () -> sender.transaction(attempt(each)));
                case "async" -> async(each, window);
                case "oneway" -> oneway(each);
                case "batch" -> {
                    int last = Math.min(n + BATCH, end);
                    batch(n, last);
                    n = last - 1;
                }
                default -> throw new IllegalArgumentException(kind);
            }
            pause(paceMs);
        }
        window.acquireUninterruptibly(IN_FLIGHT);
        report.line("sent", id);
    }

    private interface Send {
        SendResult send() throws Exception;
    }

    private int tries;

    private Outgoing attempt(int number) {
        Outgoing message = new Outgoing(topic, number, number + "." + tries, tags[number % tags.length], level);
        report.line("try", id, number, message.attempt());
        return message;
    }

    private void untilAcknowledged(int number, Send send) {
        for (tries = 0; tries < ATTEMPTS; tries++) {
            try {
                SendResult result = send.send();
                if (settle(number, number + "." + tries, result, result.getMsgId(), 0)) {
                    return;
                }
            } catch (Exception e) {
                report.line("unknown", id, number, number + "." + tries, Report.oneLine(e));
            }
            pause(200);
        }
    }

    private void batch(int first, int last) {
        for (tries = 0; tries < ATTEMPTS; tries++) {
            List<Outgoing> messages = new ArrayList<>();
            for (int n = first; n < last; n++) {
                messages.add(attempt(n));
            }
            try {
                SendResult result = sender.batch(messages);
                String[] ids = result.getMsgId().split(",");
                boolean all = true;
                for (int i = 0; i < messages.size(); i++) {
                    Outgoing message = messages.get(i);
                    all &= settle(message.number(), message.attempt(), result, ids[i], i);
                }
                if (all) {
                    return;
                }
            } catch (Exception e) {
                for (Outgoing message : messages) {
                    report.line("unknown", id, message.number(), message.attempt(), Report.oneLine(e));
                }
            }
            pause(200);
        }
    }

    /** A failed asynchronous send is not repeated: its outcome stays unknown. */
    private void async(int number, Semaphore window) {
        window.acquireUninterruptibly();
        tries = 0;
        Outgoing message = attempt(number);
        SendCallback then = new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                settle(number, message.attempt(), result, result.getMsgId(), 0);
                window.release();
            }

            @Override
            public void onException(Throwable e) {
                report.line("unknown", id, number, message.attempt(), Report.oneLine(e));
                window.release();
            }
        };
        try {
            sender.async(message, then);
        } catch (Exception e) {
            then.onException(e);
        }
    }

    private void oneway(int number) {
        tries = 0;
        Outgoing message = attempt(number);
        String outcome = "oneway";
        try {
            sender.oneway(message);
        } catch (Exception e) {
            outcome = Report.oneLine(e);
        }
        report.line("unknown", id, number, message.attempt(), outcome);
    }

    /** Reports the outcome of one message; {@code ahead} counts the messages before it in its batch. */
    private boolean settle(int number, String attempt, SendResult result, String messageId, int ahead) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            report.line("unknown", id, number, attempt, result.getSendStatus());
            return false;
        }
        report.line("ack", id, number, attempt, messageId, result.getMessageQueue().getQueueId(),
            result.getQueueOffset() + ahead);
        return true;
    }

    private static void pause(int ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
