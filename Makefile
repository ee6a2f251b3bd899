# Everything a newcomer needs: `make demo` and `make test`. Both set up what they need, once, outside this checkout.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(or $(INDEXCACHE_CACHE),$(if $(filter 0,$(shell id -u)),/var/cache/indexcache,$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/indexcache))
BIN := $(CACHE)/env/dev/bin
PY := $(BIN)/python
TESTBED := $(BIN)/testbed
export INDEXCACHE_CACHE := $(CACHE)
export MYPY_CACHE_DIR := $(CACHE)/mypy

.PHONY: help
help: ## This list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: env
env: ## The Python environment (about 6 GB, outside the checkout)
	@scripts/env.sh $(CACHE) dev

.PHONY: build
build: env ## The testbed's binaries and images: about 8 minutes on two cores the first time
	@scripts/env.sh $(CACHE) engine & environment=$$!; $(TESTBED) build && wait $$environment

.PHONY: demo
demo: product ## The main job: five scenarios on a real Kubernetes with real engines, and what happened in each
	@$(TESTBED) run $(PY) -m indexcache_testbed.demo

.PHONY: test
test: lint unit engine cluster e2e ## All tests

.PHONY: lint
lint: env ## ruff, mypy (strict), and that what is generated is current
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	@for p in core kernels operator runtime testbed; do echo "mypy: $$p"; $(BIN)/mypy --no-error-summary $$p/indexcache_$$p || exit 1; done
	@echo "mypy: dsa_cpu" && $(BIN)/mypy --no-error-summary testbed/dsa_cpu/dsa_cpu
	@echo "mypy: tests, benchmarks" && $(BIN)/mypy --no-error-summary tests benchmarks

.PHONY: unit
unit: env ## Unit tests: pure, two minutes
	@$(BIN)/pytest tests/unit -q

.PHONY: engine
engine: env ## Tests of a real vLLM on this machine's CPU
	@scripts/env.sh $(CACHE) engine
	@$(BIN)/pytest tests/engine -q

.PHONY: cluster
cluster: up ## Tests against a real API server
	@$(TESTBED) run $(BIN)/pytest tests/cluster -q

.PHONY: e2e
e2e: product ## The demo's scenarios as assertions: real engines, gateway, Prometheus, Alertmanager
	@$(TESTBED) run $(BIN)/pytest tests/e2e -q

.PHONY: up
up: build ## The testbed: Kubernetes, gateway and monitoring in namespaces of their own
	@$(TESTBED) up

.PHONY: product
product: up ## The operator's and the runtime's images, in the testbed
	@$(PY) -m indexcache_testbed.product

.PHONY: down
down: ## End the testbed; nothing is left of it
	@$(TESTBED) down

.PHONY: status
status: ## What runs in the testbed
	@$(TESTBED) status

.PHONY: shell
shell: ## A shell in the testbed, with kubectl and helm
	@$(TESTBED) shell

.PHONY: generate
generate: env ## The CRD and its reference, from the operator's types
	@$(PY) -m indexcache_operator.api.crd

.PHONY: format
format: env ## Format and fix
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

.PHONY: lock
lock: env ## Compile requirements/ anew
	@UV=$(CACHE)/tools/bin/uv scripts/lock.sh

.PHONY: imports
imports: env ## Who may import whom (.importlinter); part of lint
	@$(BIN)/lint-imports --no-cache --no-logo

lint: imports

.PHONY: mutants
mutants: env ## Mutation testing of what decides: about an hour; survivors in tests/mutants/survivors.json
	@nice -n 10 $(PY) -m tests.mutants.run $(MODULES)
