package millrace;

import java.util.HashMap;
import java.util.Map;

/** One line of the harness: a word and fields {@code name=value}, divided by tabs. */
final class Command {
    final String word;
    private final Map<String, String> fields = new HashMap<>();

    Command(String line) {
        String[] parts = line.split("\t");
        word = parts[0];
        for (int i = 1; i < parts.length; i++) {
            int equals = parts[i].indexOf('=');
            fields.put(parts[i].substring(0, equals), parts[i].substring(equals + 1));
        }
    }

    String text(String name) {
        String value = fields.get(name);
        if (value == null) {
            throw new IllegalArgumentException(word + " needs " + name);
        }
        return value;
    }

    String text(String name, String otherwise) {
        return fields.getOrDefault(name, otherwise);
    }

    int number(String name) {
        return Integer.parseInt(text(name));
    }
}
