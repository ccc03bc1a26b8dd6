import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes topics with transactions, in every codec, rolled, trimmed and
 * compacted. Every record has a header "outcome" that says what becomes of it:
 * plain (in no transaction), committed, aborted, or open (its transaction never
 * ends). Transactions.java BOOTSTRAP LOGS_DIR
 */
public class Transactions {
    /** 2024-01-01T00:00:00Z: every timestamp is this plus a fixed step. */
    static final long T0 = 1704067200000L;
    static final int SEGMENT_BYTES = 1500;

    static String server;
    static Admin admin;
    /** Fixed: the same script in every run. */
    static final Random random = new Random(42);
    static long number;

    /** A producer, and what will become of its transaction. */
    static class Writer {
        final KafkaProducer<byte[], byte[]> producer;
        final boolean transactional;
        String outcome; // null outside a transaction

        Writer(String id, String codec) {
            transactional = id != null;
            Map<String, Object> p = new HashMap<>(Map.of("bootstrap.servers", server, "linger.ms", "5000",
                "compression.type", codec)); // one batch a flush
            if (transactional) p.putAll(Map.of("transactional.id", id, "transaction.timeout.ms", "900000"));
            producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
            if (transactional) producer.initTransactions();
        }

        void begin(String outcome) {
            producer.beginTransaction();
            this.outcome = outcome;
        }

        void end() {
            if (outcome.equals("aborted")) producer.abortTransaction();
            else producer.commitTransaction();
            outcome = null;
        }

        /** One batch. */
        void send(String topic, int count) {
            for (int i = 0; i < count; i++) send(topic, random.nextInt(8) == 0 ? null : "key-" + random.nextInt(12),
                random.nextInt(8) == 0 ? null : "value-" + number + " ".repeat(random.nextInt(40)));
            producer.flush();
        }

        void send(String topic, String key, String value) {
            var record = new ProducerRecord<>(topic, 0, T0 + number * 10 - number % 7 * 100, utf8(key), utf8(value));
            record.headers().add(new RecordHeader("outcome", utf8(outcome == null ? "plain" : outcome)));
            if (number % 5 == 0) record.headers().add(new RecordHeader("null", (byte[]) null));
            number++;
            producer.send(record);
        }
    }

    static byte[] utf8(String s) {
        return s == null ? null : s.getBytes(StandardCharsets.UTF_8);
    }

    static void create(String topic, String... more) throws Exception {
        Map<String, String> config = new HashMap<>(Map.of("internal.segment.bytes", "" + SEGMENT_BYTES,
            "segment.ms", "" + Long.MAX_VALUE, "retention.ms", "-1", "index.interval.bytes", "300"));
        for (int i = 0; i < more.length; i += 2) config.put(more[i], more[i + 1]);
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1).configs(config))).all().get();
    }

    /** Transactions of all writers that may have any, interleaved at random, all of them ended. */
    static void interleave(String topic, List<Writer> writers, int steps) {
        for (int step = 0; step < steps; step++) {
            Writer w = writers.get(random.nextInt(writers.size()));
            if (!w.transactional) w.send(topic, 1 + random.nextInt(2));
            else if (w.outcome == null) {
                w.begin(random.nextBoolean() ? "committed" : "aborted");
                w.send(topic, 1 + random.nextInt(3));
            } else if (random.nextInt(3) == 0) w.end();
            else w.send(topic, 1 + random.nextInt(3));
        }
        for (Writer w : writers) if (w.outcome != null) w.end();
    }

    /** A transaction that never ends, and what others write behind it. Closes the producer without its goodbye. */
    static void leaveOpen(String topic, Writer hanging, Writer other, Writer plain) {
        hanging.begin("open");
        hanging.send(topic, 2);
        other.begin("committed");
        other.send(topic, 2);
        hanging.send(topic, 1);
        plain.send(topic, 1);
        other.end();
        other.begin("aborted");
        other.send(topic, 2);
        other.end();
        plain.send(topic, 1);
        hanging.producer.close(Duration.ZERO);
    }

    /** Waits until the cleaner has been through all that it may clean. */
    static void awaitCleaned(Path logs, String topic) throws Exception {
        Path dir = logs.resolve(topic + "-0");
        for (int i = 0; i < 600; i++) {
            long active;
            try (var files = Files.list(dir)) {
                active = files.map(f -> f.getFileName().toString()).filter(f -> f.matches("\\d{20}\\.log"))
                    .mapToLong(f -> Long.parseLong(f.substring(0, 20))).max().getAsLong();
            }
            Path checkpoint = logs.resolve("cleaner-offset-checkpoint");
            if (Files.exists(checkpoint) && Files.readAllLines(checkpoint).contains(topic + " 0 " + active)) return;
            Thread.sleep(50);
        }
        throw new IllegalStateException(topic + " is not compacted");
    }

    /** Every key written often, in transactions and outside; tombstones; two passes of the cleaner; a tail as written. */
    static void compacted(Path logs, String topic, List<Writer> writers) throws Exception {
        Writer once = new Writer(null, "none"), filler = new Writer(null, "none");
        once.send(topic, "key-0", "the only batch of its producer: its header stays");
        once.producer.close();
        for (int pass = 0; pass < 2; pass++) {
            for (int round = 0; round < 8; round++) keyed(topic, writers.get(round % writers.size()), pass + "-" + round);
            // Each fills a segment, so that all before can be compacted.
            for (String letter : List.of("x", "y")) {
                filler.send(topic, "filler", letter.repeat(SEGMENT_BYTES - 200));
                filler.producer.flush();
            }
            awaitCleaned(logs, topic);
        }
        for (int round = 0; round < 8; round++) keyed(topic, writers.get(round % writers.size()), "tail-" + round);
        filler.producer.close();
    }

    /** A batch with a key of its own and three that others write, too; a transaction of its own if it can be one. */
    static void keyed(String topic, Writer w, String own) {
        if (w.transactional) w.begin(random.nextInt(3) == 0 ? "aborted" : "committed");
        w.send(topic, own, "own-" + number);
        for (int i = 0; i < 3; i++)
            w.send(topic, "key-" + random.nextInt(6), random.nextInt(4) == 0 ? null : "value-" + number);
        w.producer.flush();
        if (w.transactional) w.end();
    }

    /** A group that commits offsets in transactions, of which the last one that counts says 3. */
    @SuppressWarnings("removal") // a group by its name alone, without a member
    static void commitOffsets(Writer w) {
        var group = new ConsumerGroupMetadata("transactional");
        for (var commit : List.of(Map.entry(2L, "committed"), Map.entry(3L, "committed"), Map.entry(7L, "aborted"))) {
            w.begin(commit.getValue());
            var offset = new OffsetAndMetadata(commit.getKey(), commit.getValue());
            w.producer.sendOffsetsToTransaction(Map.of(new TopicPartition("mixed", 0), offset), group);
            w.producer.flush();
            w.end();
        }
    }

    public static void main(String[] args) throws Exception {
        server = args[0];
        Path logs = Path.of(args[1]);
        admin = Admin.create(Map.of("bootstrap.servers", server));
        create("mixed");
        create("trimmed");
        create("compacted", "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01",
            "delete.retention.ms", "1", "min.compaction.lag.ms", "0");
        create("zstd");
        var a = new Writer("a", "none");
        var b = new Writer("b", "gzip");
        var c = new Writer("c", "lz4");
        var plain = new Writer(null, "snappy");
        interleave("mixed", List.of(a, b, c, plain), 60);
        interleave("trimmed", List.of(a, b, plain), 20);
        compacted(logs, "compacted", List.of(a, b, plain, c));
        var zstd = new Writer("zstd", "zstd");
        interleave("zstd", List.of(zstd, a), 12);

        // An aborted transaction whose beginning is deleted.
        a.begin("aborted");
        b.begin("aborted");
        for (int i = 0; i < 5; i++) {
            a.send("trimmed", 3);
            b.send("trimmed", 3);
        }
        var start = new TopicPartition("trimmed", 0);
        var end = admin.listOffsets(Map.of(start, OffsetSpec.latest())).all().get().get(start).offset();
        a.end();
        b.send("trimmed", 1);
        plain.send("trimmed", 1);
        b.end();
        interleave("trimmed", List.of(a, b, plain), 10);
        admin.deleteRecords(Map.of(start, RecordsToDelete.beforeOffset(end - 5))).all().get();

        commitOffsets(b);
        leaveOpen("mixed", c, a, plain);
        for (Writer w : List.of(a, b, plain, zstd)) w.producer.close();
        admin.close();
        System.exit(0);
    }
}
