import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads every record of every topic that is not internal with Kafka's own
 * consumer: Reader.java BOOTSTRAP OUT_DIR writes read_uncommitted.tsv,
 * read_committed.tsv, and ends.tsv (where each of the two began and ended).
 */
public class Reader {
    static final List<String> ends = new ArrayList<>(List.of("#isolation\ttopic\tpartition\tstart\tend"));

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

    static String row(ConsumerRecord<byte[], byte[]> r) {
        StringBuilder headers = new StringBuilder();
        for (Header h : r.headers()) {
            if (headers.length() > 0) headers.append(',');
            headers.append(escape(h.key().getBytes(StandardCharsets.UTF_8))).append('=').append(escape(h.value()));
        }
        return String.join("\t", r.topic(), "" + r.partition(), "" + r.offset(), escape(r.key()), escape(r.value()),
            "" + r.timestamp(), headers.length() == 0 ? "-" : headers.toString());
    }

    static List<String> read(String server, String isolation, List<TopicPartition> partitions) {
        List<String> rows = new ArrayList<>(List.of("#topic\tpartition\toffset\tkey\tvalue\ttimestamp\theaders"));
        Map<String, Object> config = Map.of("bootstrap.servers", server, "isolation.level", isolation,
            "enable.auto.commit", "false", "auto.offset.reset", "none", "fetch.max.wait.ms", "10");
        try (var c = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            Map<TopicPartition, Long> start = c.beginningOffsets(partitions), end = c.endOffsets(partitions);
            for (TopicPartition p : partitions) {
                ends.add(String.join("\t", isolation, p.topic(), "" + p.partition(), "" + start.get(p), "" + end.get(p)));
                c.assign(List.of(p));
                c.seek(p, start.get(p));
                long deadline = System.nanoTime() + 30_000_000_000L;
                while (c.position(p) < end.get(p)) {
                    for (var r : c.poll(Duration.ofMillis(100))) rows.add(row(r));
                    if (System.nanoTime() > deadline) throw new IllegalStateException(p + " stops at " + c.position(p));
                }
            }
        }
        return rows;
    }

    public static void main(String[] args) throws Exception {
        List<TopicPartition> partitions = new ArrayList<>();
        try (var admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            var topics = admin.describeTopics(admin.listTopics().names().get()).allTopicNames().get();
            for (var t : new TreeMap<>(topics).values())
                for (var p : t.partitions()) partitions.add(new TopicPartition(t.name(), p.partition()));
        }
        Path out = Path.of(args[1]);
        for (String isolation : List.of("read_uncommitted", "read_committed"))
            Files.write(out.resolve(isolation + ".tsv"), read(args[0], isolation, partitions));
        Files.write(out.resolve("ends.tsv"), ends);
    }
}
