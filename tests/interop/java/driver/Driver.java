package millrace;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Predicate;
import org.apache.rocketmq.common.message.MessageExt;

/** Does what the harness says on standard input, with one client library; see the README. */
final class Driver {
    private static final int STARTS_MAX = 5;

    private final Library library;
    private final Report report;
    private final ExecutorService pool = Executors.newCachedThreadPool();
    private final Map<String, Library.Sender> senders = new ConcurrentHashMap<>();
    private final Map<String, AutoCloseable> consumers = new ConcurrentHashMap<>();

    private Driver(Library library, Report report) {
        this.library = library;
        this.report = report;
    }

    static void run(Library library) throws Exception {
        PrintStream out = System.out;
        // Whatever a library prints must not get between the lines of the report.
        System.setOut(System.err);
        Driver driver = new Driver(library, new Report(out));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        driver.report.line("ready");
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Command command = new Command(line);
            driver.pool.execute(() -> driver.obey(command));
        }
        System.exit(0);
    }

    private void obey(Command command) {
        try {
            switch (command.word) {
                case "produce" -> new Producing(sender(command.text("group")), report, command).run();
                case "consume" -> consume(command);
                case "stop" -> {
                    consumers.remove(command.text("id")).close();
                    report.line("stopped", command.text("id"));
                }
                default -> throw new IllegalArgumentException(command.word);
            }
        } catch (Exception e) {
            e.printStackTrace();
            report.line("error", command.text("id"), Report.oneLine(e));
        }
    }

    private Library.Sender sender(String group) throws Exception {
        synchronized (senders) {
            Library.Sender sender = senders.get(group);
            if (sender == null) {
                sender = library.sender(group);
                senders.put(group, sender);
            }
            return sender;
        }
    }

    private void consume(Command command) throws Exception {
        String id = command.text("id");
        boolean failing = command.text("failing").equals("tens");
        Library.Subscription subscription = new Library.Subscription(id, command.text("group"),
            command.text("topic"), command.text("mode").equals("broadcasting"),
            command.text("listen").equals("orderly"), command.text("tags", ""), command.text("sql", ""), 2);
        consumers.put(id, started(subscription, message -> {
            int number = Integer.parseInt(message.getUserProperty("n"));
            got(id, number, message);
            return !failing || !fails(number, message.getReconsumeTimes());
        }));
        report.line("started", id);
    }

    /**
     * A consumer does not start when its broker takes more than 3 s to answer, as a busy one may; that
     * it is started again is reported.
     */
    private AutoCloseable started(Library.Subscription subscription, Predicate<MessageExt> each)
        throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                return library.consumer(subscription, each);
            } catch (Exception e) {
                if (attempt == STARTS_MAX) {
                    throw e;
                }
                e.printStackTrace();
                report.line("again", subscription.name(), Report.oneLine(e));
            }
        }
    }

    /** Numbers that end with 0 always fail, those that end with 5 the first time. */
    private static boolean fails(int number, int times) {
        return number % 10 == 0 || number % 10 == 5 && times == 0;
    }

    private void got(String id, int number, MessageExt message) {
        report.line("got", id, number, message.getUserProperty("attempt"), message.getMsgId(),
            message.getQueueId(), message.getQueueOffset(), message.getReconsumeTimes(), message.getTags(),
            System.currentTimeMillis() - message.getBornTimestamp(), message.getTopic(),
            new String(message.getBody(), StandardCharsets.UTF_8));
    }
}
