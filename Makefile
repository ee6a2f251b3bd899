# Everything a newcomer needs: `make demo` and `make test`. Both set up what they need, once, outside this checkout.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
CACHE := $(or $(INDEXCACHE_CACHE),$(if $(filter 0,$(shell id -u)),/var/cache/indexcache,$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/indexcache))
ENV := $(shell scripts/env.sh $(CACHE) where)
PY := $(ENV)/bin/python
TESTBED := $(ENV)/bin/testbed
MYPY := $(PY) -m mypy --no-error-summary
# A worker a core, eight at most: each loads torch. Engine tests are one process, as vLLM keeps engines in globals.
PARALLEL := -n logical --maxprocesses 8
export INDEXCACHE_CACHE := $(CACHE)
export MYPY_CACHE_DIR := $(ENV)/mypy

.PHONY: help
help: ## This list
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: check
check: ## Whether this machine has what the testbed needs: root, disk, namespaces, Debian's packages
	@scripts/env.sh $(CACHE) plain indexcache_testbed.cluster.prerequisites $(CACHE)

.PHONY: env
env: ## The Python environment (about 6 GB, outside the checkout, shared by checkouts of the same lock)
	@scripts/env.sh $(CACHE)

.PHONY: build
build: check env ## The testbed's binaries and images: about 8 minutes on two cores the first time
	@$(TESTBED) build

.PHONY: demo
demo: product ## The main job: five scenarios on a real Kubernetes with real engines, and what happened in each
	@$(TESTBED) run $(PY) -m indexcache_testbed.demo

.PHONY: test
test: check ## All tests: every stage, whatever fails, and a table at the end
	@scripts/env.sh $(CACHE) plain indexcache_testbed.stages

.PHONY: lint
lint: env ## ruff, mypy (strict), and that what is generated is current
	@$(ENV)/bin/ruff format --check -q . && $(ENV)/bin/ruff check -q .
	@for p in core kernels operator runtime testbed; do echo "mypy: $$p"; $(MYPY) $$p/indexcache_$$p || exit 1; done
	@$(PY) -c 'from importlinter.cli import lint_imports_command as check; check()' --no-cache --no-logo
	@echo "mypy: dsa_cpu" && $(MYPY) testbed/dsa_cpu/dsa_cpu
	@echo "mypy: tests, benchmarks, scripts" && $(MYPY) tests benchmarks scripts

.PHONY: unit
unit: env ## Unit tests: pure, some minutes
	@$(PY) -m pytest tests/unit -q $(PARALLEL) --dist worksteal

.PHONY: specs
specs: env ## Mutated specs, each refused by a field's name or planned: SEED=7 COUNT=20000
	@SEED=$(or $(SEED),1) COUNT=$(or $(COUNT),5000) $(PY) -m pytest -q tests/unit/operator/test_mutated_specs.py

.PHONY: odd
odd: env ## 10,000 odd specs and 1,000 odd templates before a real API server: ten minutes; needs `make build`
	@$(PY) -m benchmarks.odd_input $(ODD)

.PHONY: engine
engine: env ## Tests of a real vLLM on this machine's CPU
	@$(TESTBED) environment
	@$(PY) -m pytest tests/engine

.PHONY: cluster
cluster: up ## Tests against a real API server
	@$(TESTBED) run $(PY) -m pytest tests/cluster -q

.PHONY: e2e
e2e: product ## The demo's scenarios as assertions: real engines, gateway, Prometheus, Alertmanager
	@$(TESTBED) run $(PY) -m pytest tests/e2e -q

.PHONY: up
up: build ## The testbed: Kubernetes, gateway and monitoring in namespaces of their own
	@$(TESTBED) up

.PHONY: product
product: up ## The operator's and the runtime's images, in the testbed
	@$(TESTBED) product

.PHONY: down
down: ## End the testbed; nothing is left of it
	@$(TESTBED) down

.PHONY: status
status: ## What runs in the testbed
	@$(TESTBED) status

.PHONY: shell
shell: ## A shell in the testbed, with kubectl and helm
	@$(TESTBED) shell

.PHONY: clean-cache
clean-cache: env ## Remove environments that nobody needs any more, and say why
	@$(TESTBED) clean-cache

.PHONY: generate
generate: env ## What is made of code: the CRD, its reference, the table of what is refused
	@$(PY) -m scripts.generate

.PHONY: record
record: env ## What this version says and stores, as data that every later version is tested on
	@$(PY) -m tests.recorded

.PHONY: format
format: env ## Format and fix
	@$(ENV)/bin/ruff format -q . && $(ENV)/bin/ruff check -q --fix .

.PHONY: lock
lock: env ## Compile requirements/ anew
	@UV=$(ENV)/bin/uv scripts/lock.sh

.PHONY: scale
scale: env ## The operator beside 1,000 promoted rollouts and 3,000 stand-ins for engines: half an hour; needs `make build`
	@$(PY) -m benchmarks.scale $(SCALE)
	@$(PY) -m benchmarks.render

.PHONY: chaos
chaos: build ## 900 rollouts among faults, strangers at an engine and at the webhook: half an hour on two idle cores
	@$(TESTBED) environment
	@$(PY) -m benchmarks.chaos $(CHAOS) && $(PY) -m benchmarks.flood $(FLOOD) && $(PY) -m benchmarks.flood_webhook
	@$(PY) -m benchmarks.render

.PHONY: live
live: product ## 30 drifts on the testbed, and 20 operators that die in mid-rollout: about an hour on two cores
	@$(TESTBED) run $(PY) -m benchmarks.live $(LIVE)
	@$(PY) -m benchmarks.render

.PHONY: mutants
mutants: env ## Mutation testing of what decides: about an hour; survivors in tests/mutants/survivors.json
	@nice -n 10 $(PY) -m tests.mutants.run $(MODULES)
