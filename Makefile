# Needs only make and Python 3.11+. Everything else goes into .venv; a second run finds it there.
#   make demo    record a spoken conversation, end to end
#   make test    run the test suite, beside itself; ARGS=-n0 for one process, and for a debugger
#   make serve   run the server in the foreground
#   make bench   measure it against its budgets
#   make faults  kill it, freeze it, break its disk, and listen to what is left; under ten minutes
#   make faults-long  the same with 200 kills and every k-th call of the system
#   make hostile attack it at every bound while another app records; under five minutes
#   make lint    what CI checks besides the tests

.DEFAULT_GOAL := help
.PHONY: help demo test serve bench faults faults-long hostile lint
MAKEFLAGS += --no-print-directory

VENV ?= .venv
PY := $(VENV)/bin/python
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet

# Name an interpreter with `make demo PYTHON=/path/to/python3.11`; else the first of these that is new enough.
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)

# Most of the suite waits: for calls in real time, for servers that start. Four workers keep two cores busy.
WORKERS ?= 4

# Each worker reads all 600 files of code and tests. What they were compiled to is kept (beside them, where git does not
# look), also where the environment says not to: else each worker, and each server that a test starts, compiles them anew.
unexport PYTHONDONTWRITEBYTECODE

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.installed
	@$(PY) -m wavstream demo

serve: $(VENV)/.installed
	@exec $(PY) -m wavstream serve $(ARGS)

test: $(VENV)/.installed-test
	@$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

bench: $(VENV)/.installed-test
	@$(PY) -m bench.run $(ARGS)

faults: $(VENV)/.installed-test
	@$(PY) -m bench.faults $(ARGS)

faults-long: $(VENV)/.installed-test
	@$(PY) -m bench.faults --long --show $(ARGS)

hostile: $(VENV)/.installed-test
	@$(PY) -m bench.hostile $(ARGS)

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

# A stamp is newer than pyproject.toml once its packages are in.
$(VENV)/.installed: pyproject.toml | $(VENV)/.python
	@echo "Installing wavstream and what it needs into $(VENV) (once; about a minute)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/.python
	@echo "Installing wavstream and what its tests need into $(VENV) (once; about a minute)"
	@$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.python
	@echo "Installing wavstream and its development tools into $(VENV) (once; about a minute)"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

# A virtual environment that works and is new enough is kept; anything else at its place is made anew.
$(VENV)/.python:
	@new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if $(PY) -c "$$new_enough" 2>/dev/null && $(PY) -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for python in $(CANDIDATES); do \
	    "$$python" -c "$$new_enough" 2>/dev/null || continue; \
	    if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	        echo "$$python cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; \
	    fi; \
	    "$$python" -m venv --clear $(VENV) && touch $@; exit; \
	done; \
	echo "wavstream needs Python 3.11 or newer, and none of these is: $(CANDIDATES). Install one, or name it: make demo PYTHON=/path/to/python3.11" >&2; \
	exit 1
