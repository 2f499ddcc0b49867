# `make` lists the targets. Each target installs what it needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Checks run in order, the cheapest first, and stop at the first failure, also with -j.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

PACKAGES ?= ./...
# One target per operating system; a release builds all six.
TARGETS ?= darwin/arm64 windows/amd64
# The tests of all packages include those of e2e/; a narrower PACKAGES leaves them out.
E2ETEST := $(if $(filter ./...,$(PACKAGES)),go test -C e2e ./...,true)
GOTOOL := go tool -modfile=tools/go.mod
# Without VCS stamping, a checkout that belongs to another user can be built.
GOBUILD := go build -buildvcs=false
# The programs of e2e/, a module of its own, are built there and run here, in the root of the source tree.
E2EBUILD := go build -C e2e -buildvcs=false -o ../bin/
# The variables of make bench and make bench-plots as flags.
BENCHFLAGS = $(if $(SHORT),-short) $(if $(SIZE),-size $(SIZE)) $(if $(ROWS),-rows $(ROWS)) \
	$(if $(LARGEST),-largest $(LARGEST)) $(if $(OUT),-out $(OUT)) $(if $(INTO),-into $(INTO))
# The variables of make faults and make soak as flags.
FAULTFLAGS = $(if $(SEED),-seed $(SEED)) $(if $(KEEP),-keep) $(if $(OUT),-out $(OUT)) $(if $(INTO),-into $(INTO))
NODE_MODULES := tools/node_modules/.package-lock.json
SDK_MODULES := sdk/typescript/node_modules/.package-lock.json
GENERATORS := e2e/sdkcheck/node_modules/.package-lock.json
# The spec linter stays offline.
export REDOCLY_TELEMETRY := off
export REDOCLY_SUPPRESS_UPDATE_NOTICE := true

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: setup ## build the server and run it until Ctrl-C
	@$(GOBUILD) -o bin/parley ./cmd/server
	@exec bin/parley

.PHONY: test
test: setup-test ## run all tests (PACKAGES=./internal/chat narrows it)
	@$(E2ETEST)
	go test $(PACKAGES)

.PHONY: hostile
hostile: setup-test ## send 100,000 valid, almost valid and hostile requests to all operations (REQUESTS= SEED= ROUND=)
	go test -count=1 -timeout 2h -v -run '^TestHostileRequests$$' ./internal/httpapi -args \
		-requests $(or $(REQUESTS),100000) $(if $(SEED),-seed $(SEED)) $(if $(ROUND),-round $(ROUND))

.PHONY: fuzz
fuzz: setup-test ## run every fuzzer for a minute (FUZZTIME=5m; FUZZ=Days: only matching names)
	@FUZZTIME='$(FUZZTIME)' FUZZ='$(FUZZ)' tools/fuzz.sh

.PHONY: bench
bench: setup ## measure the service against its limits (BENCHMARKS.md), in 20 minutes (SHORT=1: in 5; also SIZE= ROWS= OUT= INTO=)
	@$(E2EBUILD) ./bench
	@exec bin/bench $(BENCHFLAGS)

.PHONY: bench-plots
bench-plots: setup ## measure cost by size and connections, in 20 minutes (LARGEST=1000000: in 8; OUT= INTO=)
	@$(E2EBUILD) ./bench
	@exec bin/bench -plots $(BENCHFLAGS)

.PHONY: faults
faults: setup-test ## inject faults into a deployment under load, in 15 minutes (SHORT=1: a few; also SEED= ONLY= KEEP= OUT= INTO=)
	@$(E2EBUILD) ./chaos
	@exec bin/chaos $(if $(SHORT),-short) $(if $(ONLY),-only $(ONLY)) $(FAULTFLAGS)

.PHONY: check-isolation
check-isolation: setup-test ## no organization slows another one down (also RECORDS= SECONDS= ONLY=abc)
	@$(E2EBUILD) ./isolation
	@exec bin/isolation $(if $(RECORDS),-records $(RECORDS)) $(if $(SECONDS),-seconds $(SECONDS)) $(if $(ONLY),-only $(ONLY))

.PHONY: soak
soak: setup-test ## check that no resource usage grows under load, for 15 minutes (MINUTES=60; also SEED= OUT= INTO=)
	@$(E2EBUILD) ./chaos
	@exec bin/chaos -soak $(or $(MINUTES),15)m $(FAULTFLAGS)

.PHONY: generate
generate: ## generate gen/ from the spec, the schema and the queries
	$(GOTOOL) oapi-codegen -config api/server.cfg.yaml api/openapi.yaml
	$(GOTOOL) oapi-codegen -config api/client.cfg.yaml api/openapi.yaml
	$(GOTOOL) sqlc generate

.PHONY: examples
examples: setup-test ## record the examples of api/openapi.yaml from a server
	go test ./internal/httpapi -run '^TestTheExamplesAre' -record

.PHONY: generate-sdk
generate-sdk: $(SDK_MODULES) ## generate the types of sdk/typescript from the spec
	npm --prefix sdk/typescript run --silent generate

.PHONY: notices
notices: ## write THIRD_PARTY_NOTICES
	@go run -C tools ./notices -root ..

.PHONY: fmt
fmt: ## format the Go files
	$(GOTOOL) golangci-lint fmt

.PHONY: check
check: check-generated check-spec check-typescript check-schema check-layout check-licenses check-lint check-cross check-allocations check-faults check-race ## all checks of CI

.PHONY: check-generated
check-generated: ## gen/ is up to date
	@echo 'is gen/ up to date?'
	@tools/check-generated.sh

.PHONY: check-spec
check-spec: $(NODE_MODULES) ## the spec is valid, follows the rules in api/ and is compatible with the last release
	go test ./api/...
	tools/node_modules/.bin/redocly lint api/openapi.yaml api/asyncapi.yaml
	tools/node_modules/.bin/spectral lint --fail-severity=warn --display-only-failures api/openapi.yaml api/asyncapi.yaml
	tools/check-breaking.sh

.PHONY: check-typescript
check-typescript: $(SDK_MODULES) ## sdk/typescript is up to date and compiles
	npm --prefix sdk/typescript run --silent generate -- --check
	npm --prefix sdk/typescript run --silent build

.PHONY: check-schema
check-schema: setup ## the migrations result in schema.sql
	go test ./db/...

.PHONY: check-layout
check-layout: ## packages import only what layout_test.go allows
	go test -run '^TestLayout' ./internal/

.PHONY: check-licenses
check-licenses: ## THIRD_PARTY_NOTICES is up to date and all linked modules have an allowed license
	@echo 'is THIRD_PARTY_NOTICES up to date?'
	@go run -C tools ./notices -root .. -check

.PHONY: check-lint
check-lint: ## formatting, retired phrases, vet, linters, a tidy go.mod
	@unformatted=$$(gofmt -l .); \
	[ -z "$$unformatted" ] || { echo "not formatted (make fmt): $$unformatted"; exit 1; }
	go mod tidy -diff
	go vet -tags sdk,browser ./...
	go vet -C tools ./...
	go test -run '^TestVoice' ./internal/
	$(GOTOOL) golangci-lint run
	cd e2e && go mod tidy -diff && go vet ./... && go tool -modfile=../tools/go.mod golangci-lint run

.PHONY: check-cross
check-cross: ## the program builds for other systems (TARGETS='linux/arm64 windows/arm64 …')
	@for target in $(TARGETS); do \
		echo "building for $$target"; \
		GOOS=$${target%/*} GOARCH=$${target#*/} go build ./...; \
	done

.PHONY: check-allocations
check-allocations: ## hot functions allocate no more than recorded in internal/allocations.txt
	@echo 'do hot functions allocate more than recorded?'
	@tools/allocations.sh

.PHONY: allocations
allocations: ## record internal/allocations.txt
	@tools/allocations.sh write

# A few faults; make faults injects all.
.PHONY: check-faults
check-faults: setup-test ## nothing acknowledged is lost under a few faults
	@echo 'is anything lost under faults?'
	@$(E2EBUILD) ./chaos
	@exec bin/chaos -short $(FAULTFLAGS)

.PHONY: check-sdk
check-sdk: setup $(NODE_MODULES) ## only: OpenAI's SDK for Node works with the server (a minute: it waits for a rate limit)
	go test -count=1 -tags sdk -run '^TestOpenAISDK' ./cmd/server/

.PHONY: check-guides
check-guides: setup-check ## only: the examples in docs/ work, in all languages
	go test -count=1 -tags sdk -run '^TestGuide' ./cmd/server/

.PHONY: sdk-check
sdk-check: setup-sdk $(SDK_MODULES) $(GENERATORS) ## only: clients of ten generators compile and run a scenario, a minute or two (INTO=)
	@$(E2EBUILD) ./sdkcheck
	@exec bin/sdkcheck $(if $(INTO),-into $(INTO))

.PHONY: check-browser
check-browser: setup-check ## only: pages in Chromium use the server, from an allowed and another origin
	go test -count=1 -tags browser -run '^TestBrowser' ./cmd/server/

.PHONY: check-race
check-race: setup-check $(NODE_MODULES) ## all tests with the race detector, including clients of OpenAI's API and the browser
	@$(E2ETEST) -race
	go test -race -tags sdk,browser $(PACKAGES)

.PHONY: check-selftest
check-selftest: setup $(NODE_MODULES) $(SDK_MODULES) ## break a copy of the tree in many ways; make check must detect each
	tools/selftest.sh

.PHONY: clean
clean: ## remove everything that make has created
	rm -rf bin {tools,sdk/typescript,e2e/sdkcheck}/node_modules sdk/typescript/dist

.PHONY: setup
setup:
	@tools/setup.sh

.PHONY: setup-test
setup-test:
	@tools/setup.sh test

.PHONY: setup-check
setup-check:
	@tools/setup.sh check

.PHONY: setup-sdk
setup-sdk:
	@tools/setup.sh sdk

$(SDK_MODULES) $(GENERATORS): %/node_modules/.package-lock.json: %/package-lock.json
	npm ci --prefix $* --no-audit --no-fund --loglevel=error
	@touch $@

$(NODE_MODULES): tools/package-lock.json
	npm ci --prefix tools --no-audit --no-fund
	@touch $@
