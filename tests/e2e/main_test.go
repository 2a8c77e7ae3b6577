// Package e2e_test runs the built binary, one process a service, on real Kafka
// and Elasticsearch, and looks at what comes out.
package e2e_test

import (
	"os"
	"testing"

	"github.com/weir-flow/weir/tests/internal/bed"
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m, os.Stderr)) }
