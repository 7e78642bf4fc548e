# sealane: every command sets up what it needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Several pips at once in one environment would trip over each other; where all is set up, checks may go side by side.
ifndef READY
.NOTPARALLEL:
endif

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
FILE   ?=
# Three on two cores: a third of the suite's time is waiting, for clocks and for processes.
TEST_JOBS ?= 3
N      ?=

# One stamp a dependency group: a lock file that changes sets up again, and nothing else does.
STAMPS := $(VENV)/.stamps
RUN_READY    := $(STAMPS)/run
TEST_READY   := $(STAMPS)/test
LINT_READY   := $(STAMPS)/lint
PROTOS_READY := $(STAMPS)/protos
E2E_READY    := $(STAMPS)/e2e
MUTATION_READY := $(STAMPS)/mutation
FUZZ_READY   := $(STAMPS)/fuzz
K8S_READY    := $(STAMPS)/k8s
PROMTOOL     := $(BIN)/promtool
PROMETHEUS   := $(BIN)/prometheus

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up ---

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sealane needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/%: requirements/%.lock $(VENV)/pyvenv.cfg
	@mkdir -p $(STAMPS)
	@echo "Installing $*.lock …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/$*.lock
	@touch $@

# The project itself, importable from its own folder; its dependencies are the lock's.
$(STAMPS)/sealane: pyproject.toml $(RUN_READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Prometheus' own checker: that of the PATH, or unpacked from Debian's package; no root needed.
$(PROMTOOL): deploy/prometheus/get_promtool.sh $(VENV)/pyvenv.cfg
	@bash deploy/prometheus/get_promtool.sh $(BIN)

# Prometheus itself, from the same package: for the walk alone.
$(PROMETHEUS): deploy/prometheus/get_promtool.sh $(VENV)/pyvenv.cfg
	@bash deploy/prometheus/get_promtool.sh $(BIN) prometheus

.PHONY: setup
setup: $(STAMPS)/sealane ## Make the virtual environment with everything to run sealane
	@echo "Ready: $(BIN)/sealane --help"

.PHONY: setup-dev
setup-dev: setup $(TEST_READY) $(LINT_READY) $(PROTOS_READY) $(E2E_READY) $(K8S_READY) $(PROMTOOL) ## The same with everything to work on it

.PHONY: lock
lock: ## Renew requirements/*.lock from pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@bash requirements/lock.sh $(BIN)/uv

# --- the main job ---

.PHONY: demo
demo: $(STAMPS)/sealane $(E2E_READY) ## Upload, kill, resume, commit, read back: FILE=path, or a real file of the set-up
	@$(BIN)/python -m sealane.dev.demo $(if $(FILE),--file "$(FILE)")

.PHONY: dev
dev: $(STAMPS)/sealane ## A store and both services on this machine, until Ctrl-C
	@$(BIN)/sealane dev

# --- checks ---

.PHONY: test
test: $(STAMPS)/sealane $(TEST_READY) $(LINT_READY) $(PROTOS_READY) $(E2E_READY) $(K8S_READY) $(PROMTOOL) ## Everything that must hold: lint, types, protos, manifests, alerts, all tests (< 10 min)
	@$(MAKE) --no-print-directory READY=1 --jobs=2 --output-sync=target type promcheck k8s-check check-protos lint image-lint
	@$(BIN)/python -m pytest --numprocesses $(TEST_JOBS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: test-quick
test-quick: $(STAMPS)/sealane $(TEST_READY) $(K8S_READY) ## Tests that start no process
	@$(BIN)/python -m pytest -m "not real_store and not e2e" $(PYTEST_ARGS)

.PHONY: lint
lint: $(LINT_READY) ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: type
type: $(STAMPS)/sealane $(LINT_READY) ## mypy, strict
	@$(BIN)/mypy

.PHONY: fix
fix: $(LINT_READY) ## Let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

PROTO_FILES := $(wildcard protos/sealane/v1/*.proto)

# The wire as it was last agreed on. `make protos` renews it, but never over a change that breaks clients.
PROTO_IMAGE := protos/sealane_v1.binpb
# The wire of every release whose clients and services may still be about: no change may break one of them.
PROTO_RELEASES := $(wildcard protos/releases/*.binpb)
BUILD_IMAGE := $(BIN)/buf build protos --as-file-descriptor-set --exclude-source-info

.PHONY: protos
protos: $(STAMPS)/sealane $(PROTOS_READY) ## Generate sealane/v1 from protos/ (BREAKING=1 where clients are meant to break)
	@$(if $(BREAKING),,$(BIN)/buf breaking protos --against $(PROTO_IMAGE))
	@$(BUILD_IMAGE) -o $(PROTO_IMAGE)
	@$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=. --grpc_python_out=. --pyi_out=. $(PROTO_FILES)

.PHONY: check-protos
check-protos: $(STAMPS)/sealane $(PROTOS_READY) ## buf lint, format, breaking (since the last change, and each release); image and code as committed
	@$(BIN)/buf lint protos
	@$(BIN)/buf format --diff --exit-code protos
	@$(BIN)/buf breaking protos --against $(PROTO_IMAGE)
	@for image in $(PROTO_RELEASES); do $(BIN)/buf breaking protos --against $$image; done
	@$(BUILD_IMAGE) -o -#format=binpb | cmp --silent - $(PROTO_IMAGE) || { echo "$(PROTO_IMAGE) is not what protos/ says: make protos"; exit 1; }
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	  $(BIN)/python -m grpc_tools.protoc -Iprotos --python_out="$$tmp" --grpc_python_out="$$tmp" --pyi_out="$$tmp" $(PROTO_FILES); \
	  cp sealane/v1/__init__.py "$$tmp/sealane/v1/"; \
	  diff --recursive --exclude=__pycache__ "$$tmp/sealane/v1" sealane/v1 \
	    || { echo "sealane/v1 is not what protos/ generates: make protos"; exit 1; }

.PHONY: release-wire
release-wire: check-protos ## Freeze the wire as a release's: VERSION=0.2.0 (CONTRIBUTING.md, Releasing)
	@[[ "$(VERSION)" =~ ^[0-9]+\.[0-9]+\.[0-9]+$$ ]] || { echo "make release-wire VERSION=1.2.3"; exit 1; }
	@[ ! -e protos/releases/$(VERSION).binpb ] || { echo "protos/releases/$(VERSION).binpb is frozen already"; exit 1; }
	@cp $(PROTO_IMAGE) protos/releases/$(VERSION).binpb

.PHONY: docs
docs: $(STAMPS)/sealane ## Make the tables in docs/ and the cluster's settings file anew
	@$(BIN)/python docs/settings_table.py
	@$(BIN)/python docs/metrics_table.py
	@$(BIN)/python deploy/grafana/make_dashboard.py

.PHONY: k8s-check
k8s-check: $(STAMPS)/sealane $(K8S_READY) ## Build the kustomize base and overlays, validate every manifest: OVERLAY=folder for your own
	@$(BIN)/python deploy/kubernetes/check.py $(OVERLAY)

.PHONY: image-lint
image-lint: $(K8S_READY) ## hadolint for the Dockerfile, the Compose Specification's schema for the compose file
	@$(BIN)/hadolint deploy/docker/Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml

.PHONY: promtool
promtool: $(PROMTOOL) ## Get promtool

.PHONY: promcheck
promcheck: $(STAMPS)/sealane $(TEST_READY) $(PROMTOOL) ## promtool: alert rules and their tests, the dashboard's queries, the metrics
	@$(BIN)/python deploy/prometheus/check.py

.PHONY: mixed-versions
mixed-versions: $(STAMPS)/sealane $(TEST_READY) ## This tree's services beside those of another commit, on one bucket: REF=v0.1.0
	@$(BIN)/python -m tests.compatibility.mixed $(REF)

.PHONY: image-check
image-check: $(STAMPS)/sealane $(TEST_READY) $(K8S_READY) ## The Dockerfile's steps and what they made, run as its user on a read-only root (Linux, root)
	@$(BIN)/python deploy/docker/image_check.py

# --- break it ---

.PHONY: chaos
chaos: $(STAMPS)/sealane $(TEST_READY) ## Kill, stop and cut real processes on a real store: SEED=, MINUTES= or KILLS=, JSON=file
	@GRPC_VERBOSITY=NONE $(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(KILLS),--kills $(KILLS)) $(if $(PACE),--pace $(PACE)) $(if $(JSON),--json $(JSON))

# --- break it ---

.PHONY: simulate
simulate: $(STAMPS)/sealane $(TEST_READY) ## The real code in virtual time: SEED=7 tells one run, N=10000 runs many (START=, JOBS=, RECORD=1)
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),$(if $(N),-n $(N)) $(if $(START),--start $(START)) $(if $(JOBS),--jobs $(JOBS)) $(if $(RECORD),--record))

.PHONY: fuzz
fuzz: $(STAMPS)/sealane $(TEST_READY) $(FUZZ_READY) ## Hostile bytes on the wire, and into the parsers: SEED=, MESSAGES= or SECONDS=, RUNS=, JSON=file
	@GRPC_VERBOSITY=NONE $(BIN)/python -m tests.hostile $(if $(SEED),--seed $(SEED)) $(if $(MESSAGES),--messages $(MESSAGES)) \
	  $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RUNS),--runs $(RUNS)) $(if $(JSON),--json $(JSON))

.PHONY: model
model: $(VENV)/pyvenv.cfg ## The protocol's model: every interleaving, then every rule removed in turn (docs/model.md)
	@$(BIN)/python -m tests.model

.PHONY: crash-points
crash-points: $(STAMPS)/sealane $(TEST_READY) ## Every store call × {before, after, answer lost}; two actors with PREEMPTIONS=2 (3: all, three quarters of an hour)
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation.points $(if $(PREEMPTIONS),--preemptions $(PREEMPTIONS))

.PHONY: mutants
mutants: $(STAMPS)/sealane $(TEST_READY) ## Take each guard of the protocol away: a test must notice (ONLY=id, JOBS=2, JSON=file)
	@$(BIN)/python -m tests.mutants $(if $(ONLY),--only '$(ONLY)') $(if $(JOBS),--jobs $(JOBS)) $(if $(JSON),--json $(JSON))

.PHONY: mutmut
mutmut: $(STAMPS)/sealane $(TEST_READY) $(MUTATION_READY) ## Random mutants of the domain, and their score (SAMPLE=300, SEED=1, JOBS=2)
	@$(BIN)/python -m tests.mutants.domain_score $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(JOBS),--jobs $(JOBS))

.PHONY: rolling
rolling: $(STAMPS)/sealane $(TEST_READY) $(E2E_READY) $(K8S_READY) ## Restart replicas one by one under load behind Envoy: no upload fails (ROUNDS=3, JSON=file)
	@GRPC_VERBOSITY=NONE $(BIN)/python -m tests.rolling $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(JSON),--json $(JSON))

.PHONY: walk
walk: $(STAMPS)/sealane $(TEST_READY) $(E2E_READY) $(PROMETHEUS) ## As an operator: install, upload, rotate, roll, kill, overload, dashboard, audit (KEEP=1)
	@GRPC_VERBOSITY=NONE $(BIN)/python -m tests.walk $(if $(KEEP),--keep)

# --- measure ---

.PHONY: bench
bench: $(STAMPS)/sealane $(TEST_READY) ## All measurements, as ratios in one run: table and bench/results/*.json
	@mkdir -p bench/results
	@$(BIN)/python -m bench all --json bench/results/$$(date -u +%Y%m%dT%H%M%SZ).json

.PHONY: overload
overload: $(STAMPS)/sealane $(TEST_READY) ## Ten times the load that fits: memory, goodput, and every tenant's share (SECONDS=30, JSON=file)
	@GRPC_VERBOSITY=NONE $(BIN)/python -m bench.overload $(if $(SECONDS),--seconds $(SECONDS)) $(if $(JSON),--json $(JSON))

.PHONY: clean
clean: ## Remove what the commands above made
	rm -rf examples/node/node_modules $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
