# `make run` needs Python 3.11 to 3.13, make and a package index; everything else comes from the locked wheels.

PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
	&& { echo "$$name"; break; }; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --no-header
CLIENT := sdk/python/pyproject.toml -o requirements/client

.PHONY: help run install test lint e2e bench screenshots lock
.DEFAULT_GOAL := help

help: ## list what make can do
	@sed -n 's/^\([a-z0-9]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	|| sed -n 's/^\([a-z0-9]*\):.*## /  make \1: /p' $(MAKEFILE_LIST)

run: install ## install if needed, start everything, serve until Ctrl-C
	@exec $(BIN)/python manage.py up $(ARGS)

install: .venv/.base-installed ## make .venv with everything that running needs

test: .venv/.test-installed ## all tests, on embedded servers of their own
	$(BIN)/python -m pytest $(ARGS)

e2e: .venv/.test-installed ## the tests that drive a browser, and nothing else
	$(BIN)/python -m pytest -m browser $(ARGS)

lint: .venv/.test-installed ## style, types, and migrations that are missing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file sdk/python/pyproject.toml
	$(BIN)/python manage.py makemigrations --check --dry-run

bench: .venv/.test-installed ## every benchmark; the figures to keep stand in benchmarks/README.md
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; \
	$(BIN)/python -m "benchmarks.$$(basename "$$script" .py)" $(ARGS) || exit 1; done

screenshots: .venv/.test-installed ## the README's pictures anew, of the demo's data
	$(BIN)/python -m tools.screenshots $(ARGS)

lock: .venv/.base-installed ## compile the locked requirements anew from pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) --python-version 3.11 $(ARGS) pyproject.toml -o requirements/base.txt
	$(COMPILE) --python-version 3.11 $(ARGS) -c requirements/base.txt --group test pyproject.toml -o requirements/test.txt
	$(COMPILE) --python-version 3.11 $(ARGS) $(addprefix --extra ,openai anthropic langchain opentelemetry) $(CLIENT)-adapters.txt
	$(COMPILE) --python-version 3.11 $(ARGS) --extra litellm $(CLIENT)-litellm.txt
	$(COMPILE) --python-version 3.9 $(ARGS) --resolution lowest-direct $(CLIENT)-oldest.txt

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "AgentLoop needs Python 3.11, 3.12 or 3.13: name it with make PYTHON=/path/to/python." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	echo "$(PYTHON) cannot make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }

.venv/.base-installed: requirements/base.txt | .venv/bin/python
	@echo "Installing what AgentLoop needs into .venv: a minute or two, this once."
	@$(INSTALL) -r requirements/base.txt
	@touch $@

.venv/.test-installed: requirements/test.txt requirements/base.txt | .venv/bin/python
	@$(INSTALL) -r requirements/test.txt
	@touch $@ .venv/.base-installed
