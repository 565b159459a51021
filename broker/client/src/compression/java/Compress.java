import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;

/** Writes bodies as the producers of RocketMQ compress them; see README.md. */
class Compress {
    public static void main(String[] to) throws Exception {
        byte[] noise = new byte[1000];
        int state = 1;
        for (int at = 0; at < noise.length; at++) {
            state = state * 1103515245 + 12345;
            noise[at] = (byte) (state >>> 16);
        }
        byte[] large = new byte[5 << 20];
        for (int at = 0; at < large.length; at++) {
            large[at] = (byte) (at >> 14);
        }
        for (CompressionType type : CompressionType.values()) {
            String format = type.name().toLowerCase();
            put(to[0], format + "-text", type, "millrace ".repeat(1000).getBytes());
            put(to[0], format + "-noise", type, noise);
            put(to[0], format + "-large", type, large);
        }
    }

    static void put(String to, String name, CompressionType type, byte[] body) throws Exception {
        Files.write(Path.of(to, name), CompressorFactory.getCompressor(type).compress(body, 5));
    }
}
