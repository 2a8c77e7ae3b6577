package testbed

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Kafka is a running cluster whose nodes are broker and controller in one.
type Kafka struct {
	o       Options
	java    java
	home    string
	dir     *runDir
	brokers []*broker
}

// broker is one node; its ports stay the same over a restart.
type broker struct {
	id         int // node.id, from 1
	port       int
	controller int // port
	process    *process
}

// StartKafka starts a cluster and returns once every broker serves.
func StartKafka(ctx context.Context, o Options) (*Kafka, error) {
	o = o.withDefaults()
	if o.Brokers != 1 && o.Brokers != 3 {
		return nil, fmt.Errorf("a local Kafka has 1 or 3 brokers, not %d", o.Brokers)
	}
	j, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	home, err := kafkaServer.resolve(ctx, o)
	if err != nil {
		return nil, err
	}
	dir, err := openRunDir(o, "kafka")
	if err != nil {
		return nil, err
	}
	k := &Kafka{o: o, java: j, home: home, dir: dir}
	o.Progress("starting Kafka")
	err = retryPorts(ctx, func() error { return k.boot(ctx) })
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// boot takes new ports and starts all brokers.
func (k *Kafka) boot(ctx context.Context) error {
	ports, err := freePorts(2 * k.o.Brokers)
	if err != nil {
		return err
	}
	k.brokers = k.brokers[:0]
	for i := range k.o.Brokers {
		k.brokers = append(k.brokers, &broker{id: i + 1, port: ports[2*i], controller: ports[2*i+1]})
	}
	cluster, err := k.clusterID()
	if err != nil {
		return err
	}
	// Together, and waited for together: a quorum needs two of three.
	var all errgroup.Group
	for _, b := range k.brokers {
		all.Go(func() error {
			if err := k.format(ctx, b, cluster); err != nil {
				return err
			}
			return k.launch(b)
		})
	}
	if err := all.Wait(); err != nil {
		k.killAll()
		return err
	}
	for _, b := range k.brokers {
		if err := k.ready(ctx, b); err != nil {
			k.killAll()
			return err
		}
	}
	return nil
}

// clusterID returns the identity that the directory was formatted with, or a
// new one.
func (k *Kafka) clusterID() (string, error) {
	path := filepath.Join(k.dir.path, "cluster.id")
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return string(b), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, by its contract
	// Kafka refuses nothing here, but its own tools trip over an id that
	// starts with a dash.
	id[0] &= 0x7f
	cluster := base64.RawURLEncoding.EncodeToString(id[:])
	return cluster, writeFile(path, cluster)
}

// format writes the broker's configuration, and lays out its log directory
// unless an earlier run did.
func (k *Kafka) format(ctx context.Context, b *broker, cluster string) error {
	dir, err := k.dir.sub(fmt.Sprintf("broker-%d", b.id))
	if err != nil {
		return err
	}
	if err := errors.Join(
		writeFile(filepath.Join(dir, "server.properties"), k.properties(b, dir)),
		writeFile(filepath.Join(dir, "log4j2.properties"), kafkaLogging),
	); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "meta.properties")); err == nil {
		return nil
	}
	p, err := start(k.spec(b, "kafka.tools.StorageTool", "format", "--ignore-formatted",
		"--cluster-id", cluster, "--config", filepath.Join(dir, "server.properties")))
	if err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.kill()
		return context.Cause(ctx)
	}
	if p.err != nil {
		return &bootError{name: "the formatting of " + k.name(b), cause: p.err, log: p.logFile, tail: tail(p.logFile)}
	}
	return nil
}

func (k *Kafka) name(b *broker) string { return fmt.Sprintf("Kafka broker %d", b.id) }

// spec is a run of one of Kafka's main classes for the broker.
func (k *Kafka) spec(b *broker, class string, args ...string) spec {
	dir := filepath.Join(k.dir.path, fmt.Sprintf("broker-%d", b.id))
	jvm := []string{
		"-Xmx512m", "-XX:+UseSerialGC", // two cores and many tests: no threads to spare for collecting
		"-XX:TieredStopAtLevel=1", "-Xshare:auto", // a run is too short for the optimising compiler to pay
		"-XX:+ExitOnOutOfMemoryError",
		"-Djava.awt.headless=true",
		"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.properties"),
		"-cp", filepath.Join(k.home, "libs", "*"),
		class,
	}
	return spec{
		name: k.name(b), path: k.java.bin, args: append(jvm, args...),
		dir: dir, logFile: filepath.Join(dir, "kafka.log"), log: k.o.Log,
	}
}

func (k *Kafka) launch(b *broker) (err error) {
	dir := filepath.Join(k.dir.path, fmt.Sprintf("broker-%d", b.id))
	b.process, err = start(k.spec(b, "kafka.Kafka", filepath.Join(dir, "server.properties")))
	return err
}

// ready waits until the broker itself says that every live broker serves.
func (k *Kafka) ready(ctx context.Context, b *broker) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	live := 0
	for _, other := range k.brokers {
		if other.process != nil && other.process.running() {
			live++
		}
	}
	return poll(ctx, b.process, func(ctx context.Context) error {
		// A look at the port first: a client would back off for long.
		if !listening(b.port) {
			return errors.New("its port is closed")
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(address(b.port)), kgo.RequestRetries(0))
		if err != nil {
			return err
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		meta, err := kadm.NewClient(cl).BrokerMetadata(ctx)
		if err != nil {
			return err
		}
		if got := len(meta.Brokers); got < live {
			return fmt.Errorf("it knows %d of %d brokers", got, live)
		}
		return nil
	})
}

// Brokers returns the addresses to bootstrap from.
func (k *Kafka) Brokers() []string {
	var addresses []string
	for _, b := range k.brokers {
		addresses = append(addresses, address(b.port))
	}
	return addresses
}

// Dir is where data and logs are.
func (k *Kafka) Dir() string { return k.dir.path }

// Stop shuts broker i (from 0) down in an orderly way: it hands its
// partitions over first, when there is another broker to take them.
func (k *Kafka) Stop(ctx context.Context, i int) {
	k.brokers[i].process.stop(ctx, time.Minute)
}

// Kill ends broker i (from 0) with SIGKILL. What was acknowledged stays in
// the file system's cache and comes back with Restart.
func (k *Kafka) Kill(i int) { k.brokers[i].process.kill() }

// Restart starts broker i (from 0) again after Stop or Kill, with its data
// and its address, and returns once it serves.
func (k *Kafka) Restart(ctx context.Context, i int) error {
	b := k.brokers[i]
	if b.process.running() {
		return fmt.Errorf("%s is running: stop or kill it first", k.name(b))
	}
	if err := waitClosed(ctx, b.port); err != nil {
		return err
	}
	if err := k.launch(b); err != nil {
		return err
	}
	return k.ready(ctx, b)
}

// Close stops the brokers in the reverse order of their start, and removes a
// temporary directory. It is safe to call more than once.
func (k *Kafka) Close() error {
	if k.dir == nil {
		return nil
	}
	if k.dir.temporary {
		k.killAll() // nobody will read the data again
	} else {
		// The last brokers of a cluster have no quorum to say goodbye to, so
		// the orderly way has a bound; Kafka recovers from a kill.
		grace := 10 * time.Second
		for _, b := range slices.Backward(k.brokers) {
			if b.process != nil {
				b.process.stop(context.Background(), grace)
			}
		}
	}
	err := k.dir.close()
	k.dir = nil
	return err
}

func (k *Kafka) killAll() {
	for _, b := range slices.Backward(k.brokers) {
		if b.process != nil {
			b.process.kill()
		}
	}
}

// properties renders the broker's configuration.
func (k *Kafka) properties(b *broker, dir string) string {
	n := len(k.brokers)
	var voters []string
	for _, v := range k.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", v.id, address(v.controller)))
	}
	settings := map[string]string{
		"process.roles":             "broker,controller",
		"node.id":                   strconv.Itoa(b.id),
		"controller.quorum.voters":  strings.Join(voters, ","),
		"controller.listener.names": "CONTROLLER",
		"listeners":                 "PLAINTEXT://" + address(b.port) + ",CONTROLLER://" + address(b.controller),
		"advertised.listeners":      "PLAINTEXT://" + address(b.port),
		"log.dirs":                  filepath.Join(dir, "data"),

		// Topics are made by whoever owns them, as in production.
		"auto.create.topics.enable":                "false",
		"default.replication.factor":               strconv.Itoa(n),
		"min.insync.replicas":                      strconv.Itoa(min(2, n)),
		"offsets.topic.replication.factor":         strconv.Itoa(n),
		"transaction.state.log.replication.factor": strconv.Itoa(n),
		"transaction.state.log.min.isr":            strconv.Itoa(min(2, n)),

		// Few partitions to create, and few threads and buffers to hold.
		"offsets.topic.num.partitions":         "4",
		"transaction.state.log.num.partitions": "4",
		"num.network.threads":                  "2",
		"num.io.threads":                       "4",
		"log.cleaner.dedupe.buffer.size":       strconv.Itoa(16 << 20),

		// What a production cluster does lazily happens while a test looks:
		// compaction, retention, the end of abandoned transactions. A rebalance
		// starts at once.
		"group.initial.rebalance.delay.ms":                            "0",
		"group.min.session.timeout.ms":                                "1000",
		"log.initial.task.delay.ms":                                   "1000",
		"log.cleaner.backoff.ms":                                      "1000",
		"log.retention.check.interval.ms":                             "5000",
		"log.segment.delete.delay.ms":                                 "1000",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
		"leader.imbalance.check.interval.seconds":                     "10",
	}
	if n > 1 {
		// The others take over 3 s after a kill, not 9. A lone broker has no
		// other, and would only shut itself out on a busy machine.
		settings["broker.heartbeat.interval.ms"] = "500"
		settings["broker.session.timeout.ms"] = "3000"
	}
	maps.Copy(settings, k.o.Settings)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s=%s\n", key, settings[key])
	}
	return text.String()
}

// kafkaLogging sends what Kafka says to its standard output, and so to our
// file, without the hundreds of lines of configuration at each start.
const kafkaLogging = `status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
`

// writeFile writes a small file that the service account can read.
func writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Chmod(path, 0o644)
}

// retryPorts runs boot again when another process took one of its ports
// between our look and the server's bind.
func retryPorts(ctx context.Context, boot func() error) error {
	for try := 1; ; try++ {
		err := boot()
		if be := (*bootError)(nil); try < 3 && errors.As(err, &be) && be.portTaken() && ctx.Err() == nil {
			continue
		}
		return err
	}
}

// portTaken reports whether the server ended because its port was not free.
func (e *bootError) portTaken() bool {
	tail := strings.ToLower(e.tail)
	return strings.Contains(tail, "address already in use") || strings.Contains(tail, "failed to bind")
}
