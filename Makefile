# Two commands matter: `make run` and `make test`. `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

MODULE  := github.com/fettlehq/fettle
VERSION := $(shell git describe --tags --match 'v*' 2>/dev/null | sed 's/^v//')
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
DATE    := $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
INFO    := $(MODULE)/internal/buildinfo
LDFLAGS := -s -w -X $(INFO).version=$(VERSION) -X $(INFO).commit=$(COMMIT) -X $(INFO).date=$(DATE)
GOBUILD := CGO_ENABLED=0 go build -ldflags "$(LDFLAGS)"
# Everything is compiled alike, so that what one target has compiled serves the others, and quickly: nobody reads these binaries with a debugger, and a compiler
# that collects its garbage less often takes a quarter less CPU (docs/decisions/checks.md).
ifeq (,$(findstring -toolexec,$(GOFLAGS)))
export GOFLAGS := $(strip $(GOFLAGS) -trimpath -gcflags=all=-dwarf=false '-toolexec=env GOGC=400')
endif
export CGO_ENABLED ?= 0
LINTER  := $(or $(FETTLE_TOOLS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fettle-tools)/golangci-lint

# The product's packages; what needs root and a machine of its own has its own stage.
UNIT = $(shell go list ./... | grep -v -e '^$(MODULE)/test/' -e '^$(MODULE)$$')
# Tests that the race detector only makes slow: the packages they are in, and their names.
LARGE_FILES = $(shell grep -rl --include='*_test.go' '^//go:build !race' internal)
LARGE = $(addprefix ./,$(sort $(patsubst %/,%,$(dir $(LARGE_FILES)))))
LARGE_NAMES = $(shell grep -oh '^func Test[A-Za-z0-9_]*' $(LARGE_FILES) | cut -d ' ' -f 2 | paste -sd '|')
# The race detector looks at our code and at most libraries, not into SQLite (C, translated) and the compressors: their tables cost it minutes and it can say
# nothing of ours there.
RACE := -race $(foreach p,modernc.org github.com/klauspost/compress,'-gcflags=$(p)/...=-dwarf=false -race=false')
FUZZTIME ?= 1
ARGS ?=

##@ For everybody

.PHONY: run
run: setup-run build ## set up, build and run Fettle on this machine (ARGS="--data DIR ...")
	bin/fettle up $(ARGS)

.PHONY: test
test: ## every test, in stages; about 15 minutes on two cores
	@scripts/test

.PHONY: demo
demo: setup-lab build ## run Fettle with a few throw-away Debian machines to patch, and remove them at the end
	go run ./test/demo $(ARGS)

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Parts of the above

.PHONY: setup setup-run setup-lab setup-test
setup: setup-test ## install what building and testing need and this machine lacks
setup-run:
	@scripts/setup run
setup-lab:
	@scripts/setup lab
setup-test:
	@scripts/setup test

.PHONY: build
build: web ## bin/fettle and bin/fettle-agent for this machine
	@mkdir -p bin
	$(GOBUILD) -o bin/ ./cmd/...
	@ls -l bin/fettle bin/fettle-agent | awk '{printf "  %-18s %5.1f MB\n", $$NF, $$5 / 1e6}'

.PHONY: cross
cross: ## the agent for every platform, in bin/cross
	@mkdir -p bin/cross
	@for os in linux windows darwin; do for arch in amd64 arm64; do \
		out=bin/cross/fettle-agent-$$os-$$arch; [ $$os = windows ] && out=$$out.exe; \
		GOOS=$$os GOARCH=$$arch $(GOBUILD) -o $$out ./cmd/fettle-agent || exit 1; \
		ls -l $$out | awk '{printf "  %-42s %5.1f MB\n", $$NF, $$5 / 1e6}'; \
	done; done

.PHONY: msi
msi: ## the agent's package for Windows, in bin; signed with SIGN_CERT=chain.pem SIGN_KEY=key.pem
	@mkdir -p bin/cross
	GOOS=windows GOARCH=amd64 $(GOBUILD) -o bin/cross/fettle-agent-windows-amd64.exe ./cmd/fettle-agent
	@packaging/msi/build.sh bin/cross/fettle-agent-windows-amd64.exe "$(or $(VERSION),0.0.0-$(COMMIT))" bin

.PHONY: web
ifneq (,$(and $(wildcard web/package.json),$(shell command -v npm)))
web: web/dist/index.html ## the console; without Node a plain page stands in
else
web:
	@echo "web: no Node or no console source here: a plain page stands in"
endif

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@# Not npm ci: it refuses a lock file that lacks optional packages of other
	@# platforms, which some registries do not offer. This takes the locked
	@# versions too and leaves the lock file as it is.
	cd web && npm install --no-save --no-audit --no-fund
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print 2>/dev/null)
	cd web && npm run build
	@touch $@

.PHONY: lint
lint: ## golangci-lint, formatting and a tidy go.mod
	$(LINTER) run ./...
	go mod tidy -diff

.PHONY: fmt
fmt: ## format all Go code
	$(LINTER) fmt ./...

.PHONY: arch
arch: ## the rules of the house (arch_test.go)
	go test -count=1 .

.PHONY: unit
unit: arch ## unit tests without the race detector: the quick way while working
	go test $(UNIT)

.PHONY: race
race: ## the unit tests under the race detector
	@# What vet says, lint has said.
	@CGO_ENABLED=1 go test $(RACE) -p 3 -vet=off $(UNIT)

.PHONY: large
large: ## the tests of sizes and of vendors' real documents, which the race detector only makes slow
	@go test -vet=off -run '^($(LARGE_NAMES))$$' $(LARGE)

.PHONY: journey
journey: ## whole programs: sessions of the command line, and what apt says beside what we say
	go test -count=1 -vet=off -timeout 20m ./test/journey/... ./test/script/...

.PHONY: endpoint
endpoint: build ## real throw-away machines; needs root
	@# More at a time than there are cores: they wait for machines.
	go test -count=1 -vet=off -timeout 40m -p 3 -parallel 4 ./test/endpoint/... ./test/wininstall/... ./test/lab/... ./test/demo/... ./test/winrules/...

.PHONY: console
console: build ## the console's own checks and tests, then the whole of it in a browser
	cd web && npm run drift && npm run check --if-present && npm test
	cd test/console && npm ci --no-audit --no-fund && npm test

.PHONY: bench
bench: build ## measure what docs/performance.md says
	go test -count=1 -run '^$$' -bench . -benchmem -timeout 30m ./internal/...
	go test -count=1 -timeout 30m -v ./test/bench/...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME seconds
	@scripts/fuzz $(FUZZTIME)

.PHONY: sweep
sweep: ## remove throw-away machines that a crashed run left behind
	go run ./test/demo -sweep

.PHONY: clean
clean: ## remove what was built (caches of Go, npm and the lab stay)
	rm -rf bin web/dist/assets web/node_modules
