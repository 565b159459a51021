package millrace;

import java.io.PrintStream;
import java.util.StringJoiner;

/** Lines for the harness: a word and fields, divided by tabs. */
final class Report {
    private final PrintStream out;

    Report(PrintStream out) {
        this.out = out;
    }

    synchronized void line(Object... fields) {
        StringJoiner line = new StringJoiner("\t");
        for (Object field : fields) {
            line.add(String.valueOf(field));
        }
        out.println(line);
        out.flush();
    }

    static String oneLine(Throwable e) {
        return String.valueOf(e).replaceAll("\\s+", " ");
    }
}
