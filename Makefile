# `make` alone prints the commands. Each line of it is the `##` comment of a target below.
PYTHON ?= python3
# A Python that was asked for has an environment of its own, so that versions are tried side by side.
VENV := .venv$(if $(filter file default,$(origin PYTHON)),,-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin
ONCE ?=
SECONDS ?= 60
SEED ?=
RESTORES ?=
SENTRY ?=
QUICK ?=
ONLY ?=

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-all screenshots bench faults mutants fuzz check audit format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "Times are those of two cores, after the first installation. PYTHON=python3.12 works with each: a .venv of its own."

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Ringback needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "This Python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing Ringback into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing the test tools …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@touch $@

$(VENV)/.installed-bench: requirements-bench.lock $(VENV)/.installed
	@echo "Installing what is measured against …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-bench.lock
	@touch $@

# HubSpot's own parser of project apps. Its tests are skipped where it cannot be installed, and fail in CI.
PARSER := tests/hubspot_parser/node_modules/.package-lock.json
$(PARSER): tests/hubspot_parser/package-lock.json
	@echo "Installing HubSpot's parser of projects …"
	@cd tests/hubspot_parser && npm ci --silent && touch node_modules/.package-lock.json || echo "Not installed: it needs npm and a registry."

demo: $(VENV)/.installed ## see it work on this machine (10 s, then up until Ctrl-C; ONCE=1 ends by itself)
	@$(BIN)/ringback demo $(if $(ONCE),--once)

# DEMO_… variables of the environment are its secrets; see integration/local/demo/installation.py.
dev: $(VENV)/.installed ## run the code on the sandbox, and again when a file changes (10 s; PORT=8080)
	@$(BIN)/python -m integration.local.dev

# Tests often wait for a process, so that one more than there are processors keeps all of them busy.
TEST_PROCESSES = $(shell $(BIN)/python -c 'import os; print(min(4, os.cpu_count() + 1))')
PYTEST = $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES)

test: $(VENV)/.installed-dev ## what protects a change: real store, real worker, real browser (4.5 min)
	@echo "Testing with $$($(BIN)/python -V) in $(VENV)"
	@$(PYTEST) --dist worksteal -m "not thorough" tests/unit tests/integration tests/browser

# What `make test` left out, and its property tests again with more examples. The crash points share what they
# start, so that a file stays with one worker.
test-all: $(VENV)/.installed-dev $(PARSER) ## what `make test` leaves out: crash points, the browser matrix, fuzz, a fault run (6.5 min)
	@echo "Testing with $$($(BIN)/python -V) in $(VENV)"
	@$(PYTEST) --dist loadfile -m "thorough or hypothesis" --hypothesis-profile thorough
	@$(MAKE) --no-print-directory faults SECONDS=60

screenshots: $(VENV)/.installed-dev ## a picture of every page into docs/screenshots, by a Chromium of this machine (ONLY=name)
	@cd tests && ../$(BIN)/python -m browser.screenshots $(ONLY)

faults: $(VENV)/.installed-dev ## processes killed, frozen and cut off at random (60 s; SECONDS=600 SEED=1 RESTORES=1 SENTRY=1)
	@cd tests && ../$(BIN)/python -m faults.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(RESTORES),--restores) $(if $(SENTRY),--sentry)

mutants: $(VENV)/.installed-dev ## take one guard out at a time; a test must notice (10 min; ONLY="quiet time")
	@cd tests && ../$(BIN)/python -m faults.mutants $(if $(ONLY),--only "$(ONLY)")

fuzz: $(VENV)/.installed-dev ## random requests, bodies and templates (60 s; SECONDS=600 SEED=1)
	@cd tests && ../$(BIN)/python -m faults.fuzz_rounds --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.installed-bench ## measure, also against other solutions, for docs/benchmarks.md (30 min; QUICK=1: 2 min)
	@$(BIN)/python -m bench $(if $(QUICK),--quick)

check: $(VENV)/.installed-dev ## style, types, import layers, structure, translations, vulnerabilities of the dependencies (25 s)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/structure.py
	$(BIN)/python .ci/translations.py
	@$(MAKE) --no-print-directory audit

# Without a vulnerability database pip-audit passes; here it must say so, and REQUIRE_AUDIT=1 makes that a failure.
audit: $(VENV)/.installed-dev ## the known vulnerabilities of the dependencies alone (needs the network; REQUIRE_AUDIT=1 insists)
	@said=$$($(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off 2>&1); status=$$?; \
	if echo "$$said" | grep -qE "could not be audited|ConnectionError|Max retries"; then \
	  echo "audit: NOT DONE, no vulnerability database could be reached from here"; [ -z "$(REQUIRE_AUDIT)" ]; \
	else echo "$$said"; exit $$status; fi

format: $(VENV)/.installed-dev ## format the code and apply the fixes of the linter (2 s)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: | $(BIN)/python ## write the lock files anew (needs the network)
	@$(BIN)/python -m pip install --quiet uv==0.13.9
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 --group build --group dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 --group bench --constraint requirements.lock -o requirements-bench.lock

clean: ## remove the environments and caches
	rm -rf .venv .venv-* tests/hubspot_parser/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
