package kafka_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/kafka"
)

var quiet = slog.New(slog.DiscardHandler)

func newClient(t *testing.T, cfg kafka.Config, deps kafka.Dependencies, role kafka.Role, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	if deps.Log == nil {
		deps.Log = quiet
	}
	cl, err := kafka.NewClient(cfg, deps, role, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func fakeCluster(t *testing.T, opts ...kfake.Opt) kafka.Config {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := kafka.DefaultConfig()
	cfg.Brokers = c.ListenAddrs()
	return cfg
}

func TestProduceAndConsume(t *testing.T) {
	cfg := fakeCluster(t, kfake.SeedTopics(8, "weir.flows.raw"))
	reg := prometheus.NewRegistry()
	deps := kafka.Dependencies{Registry: reg, Service: "collector"}
	producer := newClient(t, cfg, deps, kafka.RoleProducer)
	topic := cfg.Topic(kafka.TopicRaw)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	want := map[string]int32{}
	for i := range 50 {
		key := fmt.Sprint("key ", i)
		want[key] = kafka.PartitionOf(kafka.KeyGroup([]byte(key)), 8)
		r := &kgo.Record{Topic: topic, Key: []byte(key)}
		producer.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	// A tick has no key and goes where it says.
	producer.Produce(ctx, &kgo.Record{Topic: topic, Partition: 5, Value: []byte("tick")}, nil)
	// The state of a task stays beside its input, whatever its key hashes to.
	pinned := int32(7)
	if want["key 0"] == pinned {
		pinned = 6
	}
	producer.Produce(kafka.Pinned(ctx), &kgo.Record{Topic: topic, Partition: pinned, Key: []byte("key 0"), Value: []byte("pinned")}, nil)
	if err := producer.Flush(ctx); err != nil {
		t.Fatal(err)
	}

	consumer := newClient(t, cfg, deps, kafka.RoleConsumer, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for seen := 0; seen < 52; {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen++
			partition := want[string(r.Key)]
			switch string(r.Value) {
			case "tick":
				partition = 5
			case "pinned":
				partition = pinned
			}
			if r.Partition != partition {
				t.Errorf("partition of %q %q (-got, +want)\n- %d\n+ %d", r.Key, r.Value, r.Partition, partition)
			}
		})
	}

	// Both clients have the same name; neither hides or breaks the other.
	if n, err := count(reg, "weir_kafka_buffered_fetch_bytes"); err != nil || n != 2 {
		t.Errorf("clients in the metrics (-got, +want)\n- %d, %v\n+ 2", n, err)
	}
	producer.Close()
	consumer.Close()
	if n, err := count(reg, ""); err != nil || n != 0 {
		t.Errorf("metrics after close (-got, +want)\n- %d, %v\n+ 0", n, err)
	}
}

// count returns the number of series of a metric; of all when name is empty.
func count(reg prometheus.Gatherer, name string) (n int, err error) {
	families, err := reg.Gather()
	for _, f := range families {
		if name == "" || f.GetName() == name {
			n += len(f.GetMetric())
		}
	}
	return n, err
}

func TestKafkaNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // refuses from now on

	cfg := kafka.DefaultConfig()
	cfg.Brokers = []string{addr}
	err = kafka.Reach(t.Context(), newClient(t, cfg, kafka.Dependencies{}, kafka.RoleAdmin))
	var unreachable *kafka.UnreachableError
	if !errors.As(err, &unreachable) {
		t.Fatalf("error (-got, +want)\n- %v\n+ an UnreachableError", err)
	}
	for _, want := range []string{addr, "kafka.brokers", "connection refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error (-got, +want)\n- %v\n+ %q", err, want)
		}
	}
	// One broker of two is enough.
	both := fakeCluster(t)
	both.Brokers = append([]string{addr}, both.Brokers...)
	if err := kafka.Reach(t.Context(), newClient(t, both, kafka.Dependencies{}, kafka.RoleAdmin)); err != nil {
		t.Errorf("with one broker of two: %v", err)
	}
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{kafka.MechanismPlain, kafka.MechanismScramSHA256, kafka.MechanismScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			cfg := fakeCluster(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "weir", "hunter2"))
			cfg.SASL = kafka.SASL{Mechanism: mechanism, Username: "weir", Password: "hunter2"}
			var said bytes.Buffer
			log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))
			if err := kafka.Reach(t.Context(), newClient(t, cfg, kafka.Dependencies{Log: log}, kafka.RoleAdmin)); err != nil {
				t.Error(err)
			}
			log.Info("configuration", "kafka", cfg)
			if strings.Contains(said.String(), "hunter2") {
				t.Errorf("the log shows the password:\n%s", said.String())
			}
			cfg.SASL.Password = "wrong"
			err := kafka.Reach(t.Context(), newClient(t, cfg, kafka.Dependencies{}, kafka.RoleAdmin))
			if err == nil || !strings.Contains(err.Error(), "kafka.sasl") || strings.Contains(err.Error(), "wrong") {
				t.Errorf("error of a wrong password (-got, +want)\n- %v\n+ one that names kafka.sasl and not the password", err)
			}
		})
	}
}

// certificate writes a self-signed certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestTLS(t *testing.T) {
	certFile, keyFile := certificate(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg := fakeCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
	cfg.TLS = kafka.TLS{Enabled: true, CAFile: certFile, CertFile: certFile, KeyFile: keyFile}
	if err := kafka.Reach(t.Context(), newClient(t, cfg, kafka.Dependencies{}, kafka.RoleAdmin)); err != nil {
		t.Error(err)
	}
	other := cfg
	other.TLS.CAFile, _ = certificate(t)
	if err := kafka.Reach(t.Context(), newClient(t, other, kafka.Dependencies{}, kafka.RoleAdmin)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error of a stranger's certificate (-got, +want)\n- %v\n+ one that speaks of the certificate", err)
	}
	for _, tc := range []struct {
		name  string
		tweak func(*kafka.TLS)
		want  string
	}{
		{"no CA file", func(t *kafka.TLS) { t.CAFile = "/nonexistent/ca.pem" }, "kafka.tls.ca_file"},
		{"CA file without certificate", func(t *kafka.TLS) { t.CAFile = keyFile }, "kafka.tls.ca_file"},
		{"no key", func(t *kafka.TLS) { t.KeyFile = "/nonexistent/key.pem" }, "kafka.tls.cert_file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			broken := cfg
			tc.tweak(&broken.TLS)
			if _, err := kafka.NewClient(broken, kafka.Dependencies{Log: quiet}, kafka.RoleAdmin); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error (-got, +want)\n- %v\n+ %s", err, tc.want)
			}
		})
	}
}

func TestOptionsAreValidated(t *testing.T) {
	// A consumer group without a topic to consume is caught by the library;
	// we pass its word on, with the service's name.
	_, err := kafka.NewClient(kafka.DefaultConfig(), kafka.Dependencies{Log: quiet, Service: "indexer"}, kafka.RoleConsumer,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset()}}), kgo.ConsumerGroup("g"))
	if err == nil || !strings.Contains(err.Error(), "indexer") {
		t.Errorf("error (-got, +want)\n- %v\n+ one that names the service", err)
	}
}
