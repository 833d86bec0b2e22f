# Schoolgate. `make help` lists what there is.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What the tests and the benchmark drive: a browser, an upstream, DNS clients.
DEBIAN := chromium unbound dnsutils knot-dnsutils dnsperf lsof postgresql nftables iproute2 knot bind9 pdns-recursor
COMMANDS := chromium unbound dig kdig dnsperf lsof pg_ctlcluster nft ip knotd named pdns_recursor

.DEFAULT_GOAL := help
.PHONY: help up test test-postgresql check bench model equality fuzz fuzz-api kills format lock clean programs

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

up: $(STAMP) ## Start the resolver on 127.0.0.1:5300 and the portal on http://127.0.0.1:8080, with demo data
	@$(BIN)/schoolgate up --demo

test: $(STAMP) programs ## The whole suite, after installing what it needs
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)
	@$(MAKE) --no-print-directory test-postgresql

test-postgresql: $(STAMP) programs ## The portal's tests once more, over a PostgreSQL that they start
	@SCHOOLGATE_TEST_DATABASE=postgresql $(BIN)/python -m pytest -n auto --dist loadfile tests/portal $(ARGS)

check: $(STAMP) ## Lint, types, import law
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/python -m pytest -q tests/test_import_law.py

bench: $(STAMP) programs ## Side by side with Unbound, and from a click to the first allowed answer
	@$(BIN)/python -m tests.bench $(ARGS)

fuzz: $(STAMP) ## 100,000 hostile inputs for every parser (N=… for more)
	@for target in names policy flat base snapshot wire upstream lists queries bindings; do $(BIN)/python -m tests.fuzz.run $$target $${N:-100000} || exit 1; done

model: $(STAMP) ## A running worker, over UDP, against a naive model of the decision: 1,000,000 questions (N=…, SEED=…)
	@$(BIN)/python -m tests.resolver.wire_model -n $${N:-1000000} --seed $${SEED:-0}

equality: $(STAMP) programs ## Our answers beside Unbound's, 10,000 questions over signed and unsigned zones (N=… for more)
	@$(BIN)/python -m tests.resolver.equality -n $${N:-10000}

fuzz-api: $(STAMP) ## The API against its OpenAPI document, 200 examples an operation (N=… for more; WHO=rosa, amir or node alone: 4 to 6 min each)
	@SCHOOLGATE_EXAMPLES=$${N:-200} $(BIN)/python -m pytest -q --durations 3 --timeout 3600 tests/portal/test_openapi.py $${WHO:+-k $$WHO}

kills: $(STAMP) programs ## 1,000 random kills of every part under load, half of them over PostgreSQL (N=… each, SEED=…)
	@$(BIN)/python -m tests.flows.kill_loop --kills $${N:-500} $${SEED:+--seed $$SEED}
	@SCHOOLGATE_TEST_DATABASE=postgresql $(BIN)/python -m tests.flows.kill_loop --kills $${N:-500} $${SEED:+--seed $$SEED}

format: $(STAMP) ## Format the sources
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

lock: $(STAMP) ## Write requirements.txt anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet pip-tools
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --strip-extras --allow-unsafe --extra dev -o requirements.txt pyproject.toml

clean: ## Remove the environment and caches (never your data)
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Schoolgate needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "Creating the environment in $(VENV) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned dependencies (a minute or two, once) …"
	@set -o pipefail; PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --require-hashes -r requirements.txt | \
		sed -un 's/^Collecting \([^ ]*\).*/  \1/p; s/^Installing collected.*/  unpacking …/p' || \
		{ echo; echo "Installing failed. Without a network, or behind a proxy, see README: 'Installing offline'."; exit 1; }
	@echo "Installing Schoolgate …"
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -q --no-deps --no-build-isolation --no-index -e .
	@touch $@

programs:
	@missing=""; for one in $(COMMANDS); do command -v $$one >/dev/null || test -x /usr/sbin/$$one || missing="$$missing $$one"; done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing the programs that the tests drive:$$missing …"; \
			export DEBIAN_FRONTEND=noninteractive; \
			{ apt-get -qq update && apt-get -qq install -y --no-install-recommends $(DEBIAN); } >/tmp/schoolgate-apt.$$$$ 2>&1 || \
				{ tail -20 /tmp/schoolgate-apt.$$$$; rm -f /tmp/schoolgate-apt.$$$$; exit 1; }; \
			rm -f /tmp/schoolgate-apt.$$$$; \
		else \
			echo "Tests that drive these programs will be skipped:$$missing"; \
			echo "To run them all: sudo apt-get install $(DEBIAN)"; \
		fi; \
	fi
