# One word for each thing a person does with the project. Everything below needs only Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# Two for each core: many tests wait for processes they started, and each worker costs seconds to collect them.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(2 * (os.cpu_count() or 1), 16))')
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# What installs a list of pinned libraries, each checked against its hash.
INSTALL ?= $(PIP) install --quiet --require-hashes --requirement
PINNED := --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The suite starts hundreds of processes of ours: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo serve test test-deep test-ci check types lint format bench bench-once conformance constraints clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.user ## Start a portal over real upstreams, run three programs through it, show what happened
	@$(BIN)/codemode demo

serve: $(VENV)/.user ## Leave the demo portal running for your own client
	@$(BIN)/codemode demo --serve

test: $(VENV)/.developer ## Everything needed, then the suite with a tenth of its large matrices of cases
	$(PYTEST)

test-deep: $(VENV)/.developer ## The same with every case of the large matrices
	$(PYTEST) -m ""

# For continuous integration: a test that fails runs once more, alone, and is named when it passes then.
test-ci: $(VENV)/.developer
	@.ci/tests $(PYTEST)

check: lint types ## Lint, format and strict types

lint: $(VENV)/.developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developer
	$(BIN)/mypy

format: $(VENV)/.developer ## Let ruff rewrite the files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.developer ## One table: ours, the peers in the same run, ratios first
	$(BIN)/python -m benchmarks

bench-once: $(VENV)/.developer ## The same scripts once, untimed, so that they cannot rot
	$(BIN)/python -m benchmarks --once

conformance: $(VENV)/.developer ## The official MCP conformance suite through the portal, three runs
	$(BIN)/python -m tests.portal.endpoint.conformance

constraints: $(VENV)/.developer ## Resolve again and pin every library with its hashes
	$(BIN)/python -c 'import runpy; print(runpy.run_path("sandbox/guest/build.py")["ZIGLANG"])' \
	  | $(BIN)/uv pip compile - $(PINNED) --output-file constraints-build.txt
	$(BIN)/uv pip compile pyproject.toml $(PINNED) --extra tokens --extra build --output-file constraints.txt
	$(BIN)/uv pip compile pyproject.toml $(PINNED) --all-extras --constraint constraints.txt --output-file constraints-dev.txt

clean: ## Remove what was built here (the caches of the user stay)
	rm -rf $(VENV) dist build sandbox/guest/*.wasm sandbox/guest/NOTICE portal/pages/vendored/*.js portal/pages/vendored/*.css portal/pages/vendored/*.LICENSE

$(BIN)/python:
	@echo "Making $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV)

# The guest is compiled first and on its own, because it shows its progress and pip does not.
sandbox/guest/guest.wasm: $(BIN)/python $(wildcard sandbox/guest/*.c sandbox/guest/*.h sandbox/guest/*.cpp sandbox/guest/build.py sandbox/guest/intl_tables.py)
	@$(BIN)/python sandbox/guest/build.py --is-cached || { \
	  echo "Downloading the compiler for the guest (about 100 MB, needed only this once) ..."; \
	  $(INSTALL) constraints-build.txt; }
	@$(BIN)/python sandbox/guest/build.py
	@touch $@

# Without a network the pages do without these scripts, and the next make tries again.
portal/pages/vendored/htmx.min.js: $(BIN)/python portal/pages/vendor.py
	@$(BIN)/python portal/pages/vendor.py

# Every library is pinned with its hash; the project itself is then linked in without resolving anything again.
$(VENV)/.user: $(BIN)/python pyproject.toml constraints.txt sandbox/guest/guest.wasm | portal/pages/vendored/htmx.min.js
	@echo "Installing the portal and its libraries ..."
	@$(INSTALL) constraints.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q -j 0 codemode portal sandbox stubs
	@touch $@

$(VENV)/.developer: $(VENV)/.user constraints-dev.txt
	@echo "Installing the developers' tools ..."
	@$(INSTALL) constraints-dev.txt
	@touch $@
