# Every target works on a fresh clone with Go, make and git, except e2e and the
# lab, which want root on Debian or Ubuntu and install what they need.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZTIME ?= 30s

.PHONY: help build test race fuzz lint vuln bench cover demo e2e e2e-dynamic lab-up lab-down clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/fleet, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/fleet ./cmd/fleet

test: ## Run the tests: no root, no network but loopback
	$(GO) test -timeout 20m ./...

race: ## Run the tests with the race detector
	$(GO) test -race -timeout 30m ./...

fuzz: ## Run every fuzz target for FUZZTIME (30s)
	@scripts/fuzz.sh $(FUZZTIME)

lint: ## gofmt, go vet, staticcheck, shellcheck
	@scripts/lint.sh

vuln: ## Look for known vulnerabilities
	@scripts/vuln.sh

bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

demo: ## Audit, mend and audit again simulated nodes on loopback
	@$(GO) run ./cmd/fleet demo

e2e: ## Run the end-to-end tests on real nodes (root, Debian or Ubuntu)
	@scripts/e2e.sh

e2e-dynamic: ## Run Dynamic Kubelet Configuration on kubelets of 1.20 (root, Debian)
	@scripts/e2e-dynamic.sh

lab-up: ## Boot the real nodes to play with; prints what to try
	@$(GO) run ./lab/real/cmd/lab up

lab-down: ## Remove every lab and all it started
	@$(GO) run ./lab/real/cmd/lab down

clean: ## Remove what the targets made in this folder
	rm -rf bin
