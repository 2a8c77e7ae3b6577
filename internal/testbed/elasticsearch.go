package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Elasticsearch is a running node: the server, its security and transport
// modules, and nothing else (no ILM, no ES|QL, no `GET /`).
type Elasticsearch struct {
	o       Options
	java    java
	home    string
	dir     *runDir
	port    int
	process *process
}

// StartElasticsearch starts a node, without security unless the settings turn
// it on, and returns once it serves.
func StartElasticsearch(ctx context.Context, o Options) (*Elasticsearch, error) {
	o = o.withDefaults()
	j, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	unpacked, err := elasticsearchServer.resolve(ctx, o)
	if err != nil {
		return nil, err
	}
	homes, _ := filepath.Glob(filepath.Join(unpacked, "elasticsearch-*"))
	if len(homes) != 1 {
		return nil, fmt.Errorf("%s does not hold one Elasticsearch; remove it and start again", unpacked)
	}
	dir, err := openRunDir(o, "elasticsearch")
	if err != nil {
		return nil, err
	}
	e := &Elasticsearch{o: o, java: j, home: homes[0], dir: dir}
	o.Progress("starting Elasticsearch")
	err = retryPorts(ctx, func() error { return e.boot(ctx) })
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// boot takes new ports, writes the configuration and starts the node.
func (e *Elasticsearch) boot(ctx context.Context) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	e.port = ports[0]
	if err := e.configure(ports[1]); err != nil {
		return err
	}
	if err := e.launch(); err != nil {
		return err
	}
	if err := e.ready(ctx); err != nil {
		e.process.kill()
		return err
	}
	return nil
}

func (e *Elasticsearch) path(name string) string { return filepath.Join(e.dir.path, name) }

// configure writes a configuration directory of our own. Elasticsearch adds
// its keystore there.
func (e *Elasticsearch) configure(transport int) error {
	settings := map[string]string{
		"cluster.name":   "weir",
		"node.name":      "local",
		"path.data":      e.path("data"),
		"path.logs":      e.path("logs"),
		"network.host":   "127.0.0.1",
		"http.port":      strconv.Itoa(e.port),
		"transport.port": strconv.Itoa(transport),
		// Alone: no election to wait for, and no production checks.
		"discovery.type":         "single-node",
		"xpack.security.enabled": "false",
		// A full disk of a development machine is its owner's affair; the
		// watermarks would turn indices read-only.
		"cluster.routing.allocation.disk.threshold_enabled": "false",
		// This build cannot delete data streams, so those of all tests add up.
		"cluster.max_shards_per_node": "10000",
	}
	maps.Copy(settings, e.o.Settings)
	var yml strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&yml, "%s: %q\n", key, settings[key])
	}
	for _, name := range []string{"config", "data", "logs", "tmp"} {
		if _, err := e.dir.sub(name); err != nil {
			return err
		}
	}
	return errors.Join(
		writeFile(e.path("config/elasticsearch.yml"), yml.String()),
		writeFile(e.path("config/jvm.options"), elasticsearchJVM),
		writeFile(e.path("config/log4j2.properties"), elasticsearchLogging),
	)
}

// elasticsearchJVM replaces the file of the distribution: a heap that is
// small and not touched before it is needed, and a JVM that boots fast. The
// temporary directory must be one of its own: a parent of the installation
// (as /var/tmp is) is refused.
const elasticsearchJVM = `-Xms1g
-Xmx1g
-XX:-AlwaysPreTouch
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
-Xshare:auto
-XX:+ExitOnOutOfMemoryError
-Djava.io.tmpdir=${ES_TMPDIR}
-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1
20-:--add-modules=jdk.incubator.vector
`

const elasticsearchLogging = `status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1.} %marker%m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
`

func (e *Elasticsearch) launch() (err error) {
	// bin/elasticsearch starts a launcher, which starts the server and holds
	// its standard input: the server ends when that breaks, so killing the
	// launcher with its parent takes the server along.
	e.process, err = start(spec{
		name: "Elasticsearch",
		path: filepath.Join(e.home, "bin", "elasticsearch"),
		env: []string{
			"ES_JAVA_HOME=" + e.java.home,
			"ES_PATH_CONF=" + e.path("config"),
			"ES_TMPDIR=" + e.path("tmp"),
			"ES_JAVA_OPTS=",
			"CLI_JAVA_OPTS=-XX:TieredStopAtLevel=1 -Xshare:auto",
		},
		dir:     e.path("logs"), // where a crashing JVM leaves its dumps
		logFile: filepath.Join(e.dir.path, "elasticsearch.log"),
		log:     e.o.Log,
	})
	return err
}

// ready waits until the node has recovered its indices. With security on,
// that it asks who we are is as much as it tells a stranger.
func (e *Elasticsearch) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	return poll(ctx, e.process, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL()+"/_cluster/health?wait_for_status=yellow&timeout=5s", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("its health is answered with %s", resp.Status)
		}
		return nil
	})
}

// URL returns the address of the node.
func (e *Elasticsearch) URL() string { return "http://" + address(e.port) }

// Dir is where data and logs are.
func (e *Elasticsearch) Dir() string { return e.dir.path }

// Stop shuts the node down in an orderly way.
func (e *Elasticsearch) Stop(ctx context.Context) { e.process.stop(ctx, time.Minute) }

// Kill ends the node with SIGKILL. What was acknowledged comes back with
// Restart.
func (e *Elasticsearch) Kill() { e.process.kill() }

// Restart starts the node again after Stop or Kill, with its data and its
// address, and returns once it serves.
func (e *Elasticsearch) Restart(ctx context.Context) error {
	if e.process.running() {
		return errors.New("Elasticsearch is running: stop or kill it first")
	}
	// The launcher is what we wait for; the server may outlive it by a moment.
	if err := waitClosed(ctx, e.port); err != nil {
		return err
	}
	if err := e.launch(); err != nil {
		return err
	}
	return e.ready(ctx)
}

// Close stops the node, and removes a temporary directory. It is safe to call
// more than once.
func (e *Elasticsearch) Close() error {
	if e.dir == nil {
		return nil
	}
	if e.process != nil {
		if e.dir.temporary {
			e.process.kill() // nobody will read the data again
		} else {
			e.process.stop(context.Background(), 20*time.Second)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_ = waitClosed(ctx, e.port)
		cancel()
	}
	err := e.dir.close()
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	e.dir = nil
	return err
}
