import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourcePatternFilter;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Does to a real broker what a test needs and the embedded one cannot: topics
 * that grow, transactions, deleted records, records with a chosen time or size.
 *
 * <p>Reads one command a line, answers each with "ok .." or "error: ..":
 *
 * <pre>
 * topic NAME PARTITIONS [CONFIG=VALUE ..]
 * config NAME SETTING=VALUE
 * delete-topic NAME
 * partitions NAME COUNT
 * delete-records NAME PARTITION OFFSET     everything before the offset
 * put NAME PARTITION VALUE [TIME_MS]       "ok OFFSET"
 * keyed NAME PARTITION KEY VALUE           "ok OFFSET"; VALUE "null": a tombstone
 * beside NAME PARTITION KEY VALUE          as keyed, but never transactional
 * big NAME PARTITION BYTES                 a value of that many 'x'
 * begin | commit | abort                   put, keyed and big in between are transactional
 * move NAME PARTITION BROKER               "ok" when that broker leads it
 * scram USER 256|512 PASSWORD              the user may log in with it
 * no-scram USER 256|512                    the user may no longer
 * deny USER TOPIC                          the user may no longer read it
 * hide USER TOPIC                          the user may no longer see it
 * allow TOPIC                              takes both back
 * </pre>
 */
public class Admin {
    private static String bootstrap;
    private static org.apache.kafka.clients.admin.Admin admin;
    private static KafkaProducer<byte[], byte[]> plain;
    private static KafkaProducer<byte[], byte[]> transactional;
    private static boolean inTransaction;

    private static KafkaProducer<byte[], byte[]> producer(String transaction) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.serializer", ByteArraySerializer.class.getName());
        p.put("value.serializer", ByteArraySerializer.class.getName());
        p.put("max.request.size", "20000000");
        p.put("buffer.memory", "40000000");
        if (transaction != null) {
            p.put("transactional.id", transaction);
        }
        return new KafkaProducer<>(p);
    }

    private static byte[] bytes(String word) {
        return word.equals("null") ? null : word.getBytes(StandardCharsets.UTF_8);
    }

    private static long put(String topic, int partition, byte[] key, byte[] value, Long time) throws Exception {
        KafkaProducer<byte[], byte[]> to = inTransaction ? transactional : plain;
        return to.send(new ProducerRecord<>(topic, partition, time, key, value)).get().offset();
    }

    private static void config(String topic, String setting) throws Exception {
        String[] pair = setting.split("=", 2);
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic),
                List.of(new AlterConfigOp(new ConfigEntry(pair[0], pair[1]), AlterConfigOp.OpType.SET)))).all().get();
    }

    private static void move(TopicPartition partition, int broker) throws Exception {
        admin.alterPartitionReassignments(
                Map.of(partition, Optional.of(new NewPartitionReassignment(List.of(broker))))).all().get();
        for (;;) {
            boolean moving = !admin.listPartitionReassignments().reassignments().get().isEmpty();
            Node leader = admin.describeTopics(List.of(partition.topic())).allTopicNames().get()
                    .get(partition.topic()).partitions().get(partition.partition()).leader();
            if (!moving && leader != null && leader.id() == broker) {
                return;
            }
            Thread.sleep(50);
        }
    }

    private static void scram(UserScramCredentialAlteration alteration) throws Exception {
        admin.alterUserScramCredentials(List.of(alteration)).all().get();
    }

    private static AclBinding rule(String user, String topic, AclOperation operation, AclPermissionType type) {
        return new AclBinding(new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL),
                new AccessControlEntry("User:" + user, "*", operation, type));
    }

    // A topic with a rule is closed to all that no rule allows.
    private static List<AclBinding> denial(String user, String topic) {
        return List.of(rule(user, topic, AclOperation.READ, AclPermissionType.DENY),
                rule(user, topic, AclOperation.DESCRIBE, AclPermissionType.ALLOW));
    }

    private static String run(String[] w) throws Exception {
        switch (w[0]) {
            case "topic": {
                Map<String, String> config = new HashMap<>();
                for (int i = 3; i < w.length; i++) {
                    String[] pair = w[i].split("=", 2);
                    config.put(pair[0], pair[1]);
                }
                NewTopic topic = new NewTopic(w[1], Integer.parseInt(w[2]), (short) 1);
                admin.createTopics(List.of(topic.configs(config))).all().get();
                return "";
            }
            case "delete-topic":
                admin.deleteTopics(List.of(w[1])).all().get();
                // nothing that a producer knows of it is true of another topic of that name
                plain.close();
                plain = producer(null);
                return "";
            case "partitions":
                admin.createPartitions(Map.of(w[1], NewPartitions.increaseTo(Integer.parseInt(w[2])))).all().get();
                // a producer that knows the old count would refuse the new partition
                plain.close();
                plain = producer(null);
                return "";
            case "delete-records":
                admin.deleteRecords(Map.of(
                        new TopicPartition(w[1], Integer.parseInt(w[2])),
                        RecordsToDelete.beforeOffset(Long.parseLong(w[3])))).all().get();
                return "";
            case "put":
                return "" + put(w[1], Integer.parseInt(w[2]), null, bytes(w[3]),
                        w.length > 4 ? Long.valueOf(w[4]) : null);
            case "keyed":
                return "" + put(w[1], Integer.parseInt(w[2]), bytes(w[3]), bytes(w[4]), null);
            case "beside":
                return "" + plain.send(new ProducerRecord<>(w[1], Integer.valueOf(w[2]), bytes(w[3]), bytes(w[4])))
                        .get().offset();
            case "config":
                config(w[1], w[2]);
                return "";
            case "move":
                move(new TopicPartition(w[1], Integer.parseInt(w[2])), Integer.parseInt(w[3]));
                return "";
            case "scram":
                scram(new UserScramCredentialUpsertion(w[1],
                        new ScramCredentialInfo(ScramMechanism.valueOf("SCRAM_SHA_" + w[2]), 4096), w[3]));
                return "";
            case "no-scram":
                scram(new UserScramCredentialDeletion(w[1], ScramMechanism.valueOf("SCRAM_SHA_" + w[2])));
                return "";
            case "deny":
                admin.createAcls(denial(w[1], w[2])).all().get();
                return "";
            case "hide":
                admin.createAcls(List.of(rule(w[1], w[2], AclOperation.ALL, AclPermissionType.DENY))).all().get();
                return "";
            case "allow":
                admin.deleteAcls(List.of(new AclBindingFilter(
                        new ResourcePatternFilter(ResourceType.TOPIC, w[1], PatternType.LITERAL),
                        AccessControlEntryFilter.ANY))).all().get();
                return "";
            case "big":
                return "" + put(w[1], Integer.parseInt(w[2]), null,
                        "x".repeat(Integer.parseInt(w[3])).getBytes(StandardCharsets.UTF_8), null);
            case "begin":
                if (transactional == null) {
                    transactional = producer("e2e");
                    transactional.initTransactions();
                }
                transactional.beginTransaction();
                inTransaction = true;
                return "";
            case "commit":
                transactional.commitTransaction();
                inTransaction = false;
                return "";
            case "abort":
                transactional.abortTransaction();
                inTransaction = false;
                return "";
            default:
                throw new IllegalArgumentException("unknown command");
        }
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        admin = org.apache.kafka.clients.admin.Admin.create(Map.of("bootstrap.servers", bootstrap));
        plain = producer(null);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line;
        while ((line = in.readLine()) != null) {
            try {
                System.out.println("ok " + run(line.split(" ")));
            } catch (Exception e) {
                System.out.println("error: " + e.toString().replace('\n', ' '));
            }
            System.out.flush();
        }
        System.exit(0);
    }
}
