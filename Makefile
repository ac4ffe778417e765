# Two commands matter: `make demo` and `make test`. They need Python 3.11+, make and a package index; `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
LOCK_ARGS ?=

BIN := $(VENV)/bin
SETUP := $(VENV)/.setup-done

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup check format test demo bench docs lock clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: $(SETUP) ## make the virtual environment from requirements.lock (done once, and again when that changes)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and \`$(PYTHON)\` is not that. Name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "==> making the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "\`$(PYTHON) -m venv\` failed. On Debian and Ubuntu it is a package of its own: python3-venv." >&2; exit 1; }

$(SETUP): requirements.lock pyproject.toml hatch_build.py | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	@echo "==> installing $$(grep -cE '^[A-Za-z0-9]' requirements.lock) locked packages, each checked against its hash (a minute or two)"
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@echo "==> installing the project itself"
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "==> ready"

check: setup ## style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup ## all tests, on SQLite and PostgreSQL (server binaries come from the lock)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

demo: setup ## run the starter workspace over some simulated days, into a sandbox
	$(BIN)/python -m orchestrator.cli demo

bench: setup ## print speeds beside the floors of this machine
	$(BIN)/python -m benchmarks

docs: setup ## build the documentation site into site/, with strict links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The lock has hashes and no host names: whatever index pip is set up for serves it. LOCK_ARGS=--upgrade takes newer releases.
lock: $(BIN)/python ## write requirements.lock anew from pyproject.toml (needs uv, which it installs)
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --disable-pip-version-check uv
	$(BIN)/python -m uv pip compile pyproject.toml --group dev --extra parquet --extra pdf --extra push --extra sftp --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links $(LOCK_ARGS) -o requirements.lock

clean: ## remove the virtual environment, builds and caches (never a database)
	rm -rf $(VENV) site build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find orchestrator channels tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
