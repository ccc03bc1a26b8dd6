import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes the same records in every codec and at several levels, keys whose
 * partitions Kafka's producer chooses, and batches of idempotent producers.
 * What the records are, `codecs.rs` computes as well. Codecs.java BOOTSTRAP
 */
public class Codecs {
    /** 2024-01-01T00:00:00Z */
    static final long T0 = 1704067200000L;
    static final int RECORDS = 24, PER_BATCH = 8, KEYS = 400, PLACES = 12;
    /** More than a block of lz4, and than two of snappy. */
    static final int LONG_VALUE = 70_000;

    static String server;
    static Admin admin;

    static byte[] utf8(String s) {
        return s == null ? null : s.getBytes(StandardCharsets.UTF_8);
    }

    static void create(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
    }

    static KafkaProducer<byte[], byte[]> producer(String... more) {
        Map<String, Object> p = new HashMap<>(Map.of("bootstrap.servers", server, "linger.ms", "5000",
            "batch.size", "500000"));
        for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static String value(int n) {
        if (n % 7 == 3 && n % 5 != 0) return null;
        if (n % 7 == 5) return "";
        StringBuilder s = new StringBuilder();
        int length = n == 11 ? LONG_VALUE : 10 * n;
        for (int i = 0; s.length() < length; i++) s.append("word-").append(i * 7919 % 1009 * n % 97).append(' ');
        return s.toString();
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int n) {
        String key = n % 5 == 0 ? null : n % 5 == 1 ? "" : "key-" + n % 12;
        var r = new ProducerRecord<>(topic, 0, T0 + 10L * n - n % 7 * 100, utf8(key), utf8(value(n)));
        if (n % 3 == 1) r.headers().add(new RecordHeader("h", utf8("v" + n)));
        if (n % 3 == 2) r.headers().add(new RecordHeader("h", utf8("\u00fc"))).add(new RecordHeader("h", (byte[]) null))
            .add(new RecordHeader("", new byte[0]));
        return r;
    }

    /** One batch a flush. */
    static void write(String topic, String... settings) throws Exception {
        create(topic, 1);
        try (var p = producer(settings)) {
            for (int n = 0; n < RECORDS; n++) {
                p.send(record(topic, n));
                if ((n + 1) % PER_BATCH == 0) p.flush();
            }
        }
    }

    static void keys() throws Exception {
        create("keys", PLACES);
        try (var p = producer()) {
            for (int n = 0; n < KEYS; n++)
                p.send(new ProducerRecord<>("keys", null, T0 + n, utf8("x".repeat(n % 9) + n * 7919 + "\u00fc".repeat(n % 2)), utf8("v")));
            p.send(new ProducerRecord<>("keys", null, T0, new byte[0], utf8("v")));
        }
    }

    /** Two producers in turns, more batches than the window of five, and a third one later. */
    static void idempotent() throws Exception {
        create("idempotent", 1);
        try (var a = producer(); var b = producer("compression.type", "lz4")) {
            for (int batch = 0; batch < 14; batch++) {
                var p = batch % 2 == 0 ? a : b;
                for (int n = 0; n <= batch % 3; n++) p.send(record("idempotent", n));
                p.flush();
            }
        }
        try (var c = producer()) {
            c.send(record("idempotent", 0)).get();
        }
    }

    public static void main(String[] args) throws Exception {
        server = args[0];
        admin = Admin.create(Map.of("bootstrap.servers", server));
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) write(codec, "compression.type", codec);
        for (int level : List.of(1, 9)) level("gzip", level);
        for (int level : List.of(1, 12, 17)) level("lz4", level);
        for (int level : List.of(-5, 1, 22)) level("zstd", level);
        keys();
        idempotent();
        admin.close();
    }

    static void level(String codec, int level) throws Exception {
        write(codec + "." + level, "compression.type", codec, "compression." + codec + ".level", "" + level);
    }
}
