# Weir's tasks. `make help` lists them; each sets itself up on a machine with
# Go, a JDK (17 or newer) and Maven, and says what to install otherwise.

GO ?= go
TOOL = $(GO) tool -modfile=tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS = -X github.com/weir-flow/weir/internal/telemetry.version=$(VERSION)

# Packages whose tests on real servers run under the race detector as well;
# it takes several times as long, so not all do.
RACE_INTEGRATION ?= ./internal/stream/... ./internal/kafka/...
# Time for each fuzz target of `make fuzz`.
FUZZTIME ?= 20s
# What `make bench` measures, and how often; benchstat wants ten for a verdict.
BENCH ?= .
COUNT ?= 6
# Seed of the demo; empty: random.
SEED ?=
IMAGE ?= weir:latest
IMAGE_TOOL ?= $(firstword $(foreach t,docker podman buildah,$(shell command -v $(t) 2>/dev/null)))

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Build, then show Weir at work: traffic with attacks in it, flows and alerts as they come
	./bin/weir demo $(if $(SEED),--seed $(SEED))

.PHONY: build
build: ## Build the one static binary, bin/weir
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/weir ./cmd/weir

# One Kafka and one Elasticsearch serve all packages. The first pass is
# everything; the second looks for races where no server is needed, the third
# in the packages that are all about concurrency, on real servers.
# -count=1: some tests run the built binary, which the cache of results does not
# know to be an input.
GOTEST = $(GO) test -count=1 -p 2 -timeout 15m

.PHONY: test
test: ## Test everything: vet, unit, integration on real Kafka and Elasticsearch, race detector
	$(GO) vet ./...
	$(GO) run ./internal/testbed/cmd/testbed -- sh -exc '\
	  $(GOTEST) ./...; \
	  $(GOTEST) -race -short ./...; \
	  $(GOTEST) -race $(RACE_INTEGRATION)'

.PHONY: test-short
test-short: ## Test what needs no servers: seconds, for while you write
	$(GO) test -short ./...

.PHONY: lint
lint: ## Check the house rules (.golangci.yml); builds the linter the first time
	$(TOOL) golangci-lint run

.PHONY: generate
generate: ## Write generated code anew (schemas and the like)
	$(GO) generate ./...

.PHONY: docs
docs: ## Write the generated reference pages of docs/ anew
	$(GO) run ./docs/generate

.PHONY: bench
bench: ## Measure; keeps the result beside the last one and compares (BENCH=, COUNT=)
	@mkdir -p dist
	@if [ -f dist/bench.txt ]; then mv dist/bench.txt dist/bench.old.txt; fi
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./... | tee dist/bench.txt
	@if [ -f dist/bench.old.txt ]; then $(TOOL) benchstat dist/bench.old.txt dist/bench.txt; fi

# `go test -fuzz` takes one target of one package at a time.
.PHONY: fuzz
fuzz: ## Fuzz every parser of outside bytes, FUZZTIME each
	@set -e; for pkg in $$($(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

.PHONY: image
image: ## Build the container image with docker, podman or buildah (IMAGE=, IMAGE_TOOL=)
	@test -n '$(IMAGE_TOOL)' || { echo 'no docker, podman or buildah; install one: apt-get install buildah' >&2; exit 1; }
	$(IMAGE_TOOL) build --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

.PHONY: ci
ci: ## Do what CI does, from lint to demo
	.ci/run

.PHONY: clean
clean: ## Remove what was built; the servers' cache (WEIR_CACHE or /var/tmp/weir-UID) stays
	rm -rf bin dist
	$(GO) clean -testcache
