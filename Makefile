# make demo    see it work on this machine      make test      what protects a change, real store and worker
# make check   style, types, layers, audit      make test-all  what `make test` left out, with crashes and faults
# make lock    write the lock files anew        PYTHON=python3.12 works with each of them, in a .venv of its own
# make bench   measured beside what one would write instead: docs/benchmarks.md (QUICK=1: two minutes)
# make faults  everything killed, frozen and cut off at random: SECONDS=60 SEED=… RESTORES=1 SENTRY=1
# make mutants one guard taken out at a time, and which test notices: ONLY="quiet time"
# make fuzz    what strangers can send, made up at random: SECONDS=60 SEED=…
# make screenshots   a picture of every page into docs/screenshots, by a Chromium of this machine
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
.PHONY: help demo test test-all screenshots bench faults mutants fuzz check audit format lock clean

help:
	@sed -n '1,8s/^# //p' Makefile

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

demo: $(VENV)/.installed
	@$(BIN)/ringback demo $(if $(ONCE),--once)

PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

test: $(VENV)/.installed-dev
	@echo "Testing with $$($(BIN)/python -V) in $(VENV)"
	@$(PYTEST) --dist worksteal -m "not thorough" tests/unit tests/integration tests/browser

# What `make test` left out, and its property tests again with more examples. The crash points share what they
# start, so that a file stays with one worker.
test-all: $(VENV)/.installed-dev
	@echo "Testing with $$($(BIN)/python -V) in $(VENV)"
	@$(PYTEST) --dist loadfile -m "thorough or hypothesis" --hypothesis-profile thorough
	@$(MAKE) --no-print-directory faults SECONDS=60

screenshots: $(VENV)/.installed-dev
	@cd tests && ../$(BIN)/python -m browser.screenshots $(ONLY)

faults: $(VENV)/.installed-dev
	@cd tests && ../$(BIN)/python -m faults.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(RESTORES),--restores) $(if $(SENTRY),--sentry)

mutants: $(VENV)/.installed-dev
	@cd tests && ../$(BIN)/python -m faults.mutants $(if $(ONLY),--only "$(ONLY)")

fuzz: $(VENV)/.installed-dev
	@cd tests && ../$(BIN)/python -m faults.fuzz_rounds --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.installed-bench
	@$(BIN)/python -m bench $(if $(QUICK),--quick)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/structure.py
	@$(MAKE) --no-print-directory audit

# Without a vulnerability database pip-audit passes; here it must say so, and REQUIRE_AUDIT=1 makes that a failure.
audit: $(VENV)/.installed-dev
	@said=$$($(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off 2>&1); status=$$?; \
	if echo "$$said" | grep -qE "could not be audited|ConnectionError|Max retries"; then \
	  echo "audit: NOT DONE, no vulnerability database could be reached from here"; [ -z "$(REQUIRE_AUDIT)" ]; \
	else echo "$$said"; exit $$status; fi

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: | $(BIN)/python
	@$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 --group build --group dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 --group bench --constraint requirements.lock -o requirements-bench.lock

clean:
	rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
