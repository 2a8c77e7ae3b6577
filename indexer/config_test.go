package indexer_test

import (
	"os"
	"strings"
	"testing"

	"github.com/weir-flow/weir/indexer"
	"github.com/weir-flow/weir/internal/testbed"
)

// TestMain stops the servers that the tests shared, so that their directories
// go too.
func TestMain(m *testing.M) {
	status := m.Run()
	if err := testbed.CloseShared(); err != nil {
		println(err.Error())
	}
	os.Exit(status)
}

func TestConfig(t *testing.T) {
	if err := indexer.DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	err := indexer.Config{}.Validate()
	for _, key := range []string{"bulk_bytes", "bulk_age", "in_flight", "request_timeout", "max_backoff", "commit_interval", "on_lost",
		"storage.mode", "storage.source", "storage.shards"} {
		if err == nil || !strings.Contains(err.Error(), "\n"+key+": ") && !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: not in %v", key, err)
		}
	}
}
