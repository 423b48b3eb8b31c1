# Every command of this project; CI runs these and nothing else. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
READY := $(VENV)/.ready
RUN := $(BIN)/python -m

.PHONY: help setup lock demo up down check format generate test test-unit test-integration test-e2e \
	simulate simulate-mutants chaos bench-real bench-engine bench-throttle bench-throttle-live \
	bench-retries bench-replay clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

# --- environment ---------------------------------------------------------------------------

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv

$(READY): $(BIN)/python requirements.lock pyproject.toml contracts/pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e ./contracts -e .
	@touch $@

setup: $(READY) ## Make the environment in .venv from the hashed lock

# Never by time stamp: a clone sets them all anew, and the lock changes by intention only.
lock: $(BIN)/python ## Resolve the dependencies anew into requirements.lock
	$(UV) lock --quiet
	$(UV) export --quiet --all-groups --no-emit-workspace --no-header --format requirements-txt \
		-o requirements.lock
	$(UV) export --quiet --frozen --no-dev --no-emit-workspace --no-header \
		--format requirements-txt -o infra/images/requirements.lock

# --- run -----------------------------------------------------------------------------------

demo: $(READY) ## Run the whole system on embedded defaults and print what happened
	@$(BIN)/sluice demo

up: $(READY) ## Leave the demo's stack running and print how to submit to it
	@$(BIN)/sluice demo --keep

down: $(READY) ## Stop what make up left running
	@$(BIN)/sluice demo --stop

# --- check ---------------------------------------------------------------------------------

check: $(READY) ## Lint, types, dependency rules, generated files
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@$(MAKE) --no-print-directory generate CHECK=--check

format: $(READY) ## Format and mend what can be mended
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

generate: $(READY) ## Write schemas, catalogue and docs/reference from the code
	$(RUN) sluice_contracts.generate $(CHECK)
	$(RUN) services.ops.reference $(CHECK)
	$(RUN) services.worker.reference $(CHECK)

# --- test ----------------------------------------------------------------------------------

test: $(READY) ## Everything that CI runs: unit, contracts, integration on a real broker
	$(RUN) pytest

test-unit: $(READY) ## The fast part: no sockets, virtual time
	$(RUN) pytest tests/unit tests/contracts -m "not kafka"

test-integration: $(READY) ## Scenarios on a real broker
	$(RUN) pytest tests/integration

SEEDS ?= 2000
simulate: $(READY) ## The commit protocol in a simulated world: SEEDS=2000
	$(RUN) tests.simulation --seeds $(SEEDS)

simulate-mutants: $(READY) ## Seeded bugs that the simulation must find
	$(RUN) tests.simulation.mutants

MINUTES ?= 2
BROKERS ?= 1
chaos: $(READY) ## Kill, pause, cut and storm a real system, then check every promise
	$(RUN) tests.chaos --minutes $(MINUTES) --brokers $(BROKERS)

KILLS ?= 0
ROTATIONS ?= 0
bench-real: $(READY) ## All real tickets, contracts and conversations: KILLS=5 ROTATIONS=10
	$(RUN) tests.benchmarks.real --kills $(KILLS) --rotations $(ROTATIONS)

bench-engine: $(READY) ## CPU against the bare SDK and plain FastStream, latency, memory
	$(RUN) tests.benchmarks.engine

bench-throttle: $(READY) ## The throttle against rivals in virtual time
	$(RUN) tests.benchmarks.throttle

bench-throttle-live: $(READY) ## The throttle with real processes: 1, 4 and 8 workers
	$(RUN) tests.benchmarks.throttle_live

bench-retries: $(READY) ## Every error class on 10,000 tickets with kills
	$(RUN) tests.benchmarks.retries

bench-replay: $(READY) ## 100,000 dead letters put back by operators who are killed
	$(RUN) tests.benchmarks.replay

clean: ## Remove the environment and everything cached
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .hypothesis
