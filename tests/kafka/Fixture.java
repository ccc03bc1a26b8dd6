import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

/**
 * Writes the fixture topics with Kafka's own producer, and the list of what it
 * wrote. Run by make-fixtures.sh: Fixture.java BOOTSTRAP OUT_DIR produce|commit|list
 */
public class Fixture {
    /** 2024-01-01T00:00:00Z: every timestamp is this plus a fixed step. */
    static final long T0 = 1704067200000L;

    static String server;
    static final List<String> rows = new ArrayList<>();

    record Sent(ProducerRecord<byte[], byte[]> record, Future<RecordMetadata> answer, String txn) {}

    static byte[] utf8(String s) {
        return s == null ? null : s.getBytes(StandardCharsets.UTF_8);
    }

    /** Text with backslash escapes; null is \N; bytes that are no printable ASCII are \xHH. */
    static String escape(byte[] bytes) {
        if (bytes == null) return "\\N";
        StringBuilder out = new StringBuilder();
        for (byte b : bytes) {
            int c = b & 0xff;
            if (c == '\\') out.append("\\\\");
            else if (c < 0x20 || c > 0x7e || c == ',' || c == '=') out.append(String.format("\\x%02x", c));
            else out.append((char) c);
        }
        return out.toString();
    }

    static KafkaProducer<byte[], byte[]> producer(String... more) {
        Map<String, Object> p = new HashMap<>();
        p.put("bootstrap.servers", server);
        p.put("linger.ms", "5000"); // one batch a flush and partition
        p.put("batch.size", "65536");
        for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void listRow(Sent s) throws Exception {
        RecordMetadata m = s.answer.get();
        StringBuilder headers = new StringBuilder();
        for (Header h : s.record.headers()) {
            if (headers.length() > 0) headers.append(',');
            headers.append(escape(utf8(h.key()))).append('=').append(escape(h.value()));
        }
        rows.add(String.join("\t", m.topic(), "" + m.partition(), "" + m.offset(),
            escape(s.record.key()), escape(s.record.value()), "" + m.timestamp(),
            headers.length() == 0 ? "-" : headers.toString(), s.txn));
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int partition, long ts, byte[] key, byte[] value) {
        return new ProducerRecord<>(topic, partition, ts, key, value);
    }

    /** 64 records, 32 for each of two partitions, four in a batch, 250 ms apart. */
    static void orders(String topic, int perBatch, String... settings) throws Exception {
        List<Sent> sent = new ArrayList<>();
        try (var p = producer(settings)) {
            for (int i = 0; i < 64; i++) {
                var r = record(topic, i % 2, T0 + 250L * i, utf8("customer-" + (i * 7 % 10)),
                    utf8(String.format("{\"order\":%d;\"item\":\"part-%04d\";\"note\":\"%s\"}", i,
                        i * 7919 % 10000, "abcdefgh ".repeat(6 + i % 5).trim())));
                sent.add(new Sent(r, p.send(r), "-"));
                if ((i + 1) % (2 * perBatch) == 0) p.flush();
            }
        }
        for (Sent s : sent) listRow(s);
    }

    static void shapes() throws Exception {
        List<Sent> sent = new ArrayList<>();
        try (var p = producer("enable.idempotence", "false", "acks", "1")) {
            byte[] every = new byte[256];
            for (int i = 0; i < 256; i++) every[i] = (byte) i;
            var all = List.of(
                record("shapes", 0, T0, null, utf8("null key")),
                record("shapes", 0, T0 + 1, utf8("null value"), null),
                record("shapes", 0, T0 + 2, null, null),
                record("shapes", 0, T0 + 3, new byte[0], new byte[0]),
                record("shapes", 0, T0 - 1000, utf8("older than the one before"), utf8("v")),
                record("shapes", 0, T0 + 5, utf8("headers"), utf8("v")),
                record("shapes", 0, T0 + 6, utf8("headers"), null),
                record("shapes", 0, T0 + 7, utf8("every byte"), every),
                record("shapes", 0, 0L, utf8("the epoch"), utf8("gr\u00fc\u00df \u4e16\u754c")));
            all.get(5).headers().add(new RecordHeader("trace", utf8("abc")))
                .add(new RecordHeader("trace", utf8("def"))).add(new RecordHeader("empty", new byte[0]))
                .add(new RecordHeader("null", (byte[]) null)).add(new RecordHeader("", utf8("no name")));
            all.get(6).headers().add(new RecordHeader("bytes", new byte[] {0, 1, (byte) 0xff}));
            for (int i = 0; i < all.size(); i++) {
                sent.add(new Sent(all.get(i), p.send(all.get(i)), "-"));
                if (i % 3 == 2) p.flush();
            }
        }
        for (Sent s : sent) listRow(s);
    }

    /** Broker-stamped time: the batches carry the LogAppendTime bit. */
    static void stamped() throws Exception {
        List<Sent> sent = new ArrayList<>();
        try (var p = producer()) {
            for (int i = 0; i < 6; i++) {
                var r = record("stamped", 0, T0 + i, utf8("k" + i), utf8("v" + i));
                sent.add(new Sent(r, p.send(r), "-"));
                if (i % 3 == 2) p.flush();
            }
        }
        for (Sent s : sent) listRow(s);
    }

    /** segment.ms is a minute: three segments. */
    static void rolled() throws Exception {
        List<Sent> sent = new ArrayList<>();
        try (var p = producer()) {
            for (int i = 0; i < 9; i++) {
                var r = record("rolled", 0, T0 + (i / 3) * 120_000L + i, utf8("k" + i), utf8("v" + i));
                sent.add(new Sent(r, p.send(r), "-"));
                p.flush();
            }
        }
        for (Sent s : sent) listRow(s);
    }

    static void transactions() throws Exception {
        List<Sent> sent = new ArrayList<>();
        try (var p = producer("transactional.id", "fixture")) {
            p.initTransactions();
            for (int t = 0; t < 3; t++) {
                p.beginTransaction();
                String how = t == 1 ? "aborted" : "committed";
                for (int i = 0; i < 3; i++) {
                    var r = record("txns", 0, T0 + 10 * t + i, utf8("t" + t), utf8(how + "-" + i));
                    sent.add(new Sent(r, p.send(r), how));
                }
                p.flush();
                if (t == 1) p.abortTransaction();
                else p.commitTransaction();
            }
        }
        for (Sent s : sent) listRow(s);
    }

    static void commit() throws Exception {
        // A commit made by hand: metadata, a leader epoch, and an offset that no record has.
        try (var c = new KafkaConsumer<>(Map.<String, Object>of("bootstrap.servers", server, "group.id", "by-hand",
                "enable.auto.commit", "false"), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var p0 = new TopicPartition("orders", 0);
            var p1 = new TopicPartition("orders", 1);
            c.assign(List.of(p0, p1));
            c.commitSync(Map.of(p0, new OffsetAndMetadata(3, Optional.of(0), "first")));
            c.commitSync(Map.of(p0, new OffsetAndMetadata(11, Optional.of(0), "note, with \u00fcmlaut"),
                p1, new OffsetAndMetadata(7)));
        }
        // A group that is deleted afterwards: tombstones.
        try (var c = new KafkaConsumer<>(Map.<String, Object>of("bootstrap.servers", server, "group.id", "deleted",
                "enable.auto.commit", "false"), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            c.commitSync(Map.of(new TopicPartition("orders", 0), new OffsetAndMetadata(5)));
        }
        try (var a = Admin.create(Map.of("bootstrap.servers", server))) {
            a.deleteConsumerGroups(List.of("deleted")).all().get();
        }
    }

    /** committed.tsv, as the broker itself answers. */
    static void list(Path out) throws Exception {
        List<String> lines = new ArrayList<>();
        try (var a = Admin.create(Map.of("bootstrap.servers", server))) {
            for (var g : a.listGroups().all().get()) {
                for (var e : a.listConsumerGroupOffsets(g.groupId()).partitionsToOffsetAndMetadata().get().entrySet()) {
                    var o = e.getValue();
                    lines.add(String.join("\t", g.groupId(), e.getKey().topic(), "" + e.getKey().partition(),
                        "" + o.offset(), o.leaderEpoch().map(String::valueOf).orElse("-1"),
                        o.metadata().isEmpty() ? "-" : escape(utf8(o.metadata()))));
                }
            }
        }
        Collections.sort(lines);
        lines.add(0, "#group\ttopic\tpartition\toffset\tleader_epoch\tmetadata");
        Files.write(out.resolve("committed.tsv"), lines);
    }

    public static void main(String[] args) throws Exception {
        server = args[0];
        Path out = Path.of(args[1]);
        switch (args[2]) {
            case "produce" -> {
                orders("orders", 4);
                for (String codec : List.of("gzip", "snappy", "lz4", "zstd"))
                    orders("orders-" + codec, 8, "compression.type", codec);
                shapes();
                stamped();
                rolled();
                transactions();
                rows.add(0, "#topic\tpartition\toffset\tkey\tvalue\ttimestamp\theaders\ttransaction");
                Files.write(out.resolve("records.tsv"), rows);
            }
            case "commit" -> commit();
            case "list" -> list(out);
            default -> throw new IllegalArgumentException(args[2]);
        }
    }
}
