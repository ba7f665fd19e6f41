# Needs only make and Python 3.11+. Everything else goes into .venv; a second run finds it there.
#   make demo    record a spoken conversation, end to end
#   make test    run the test suite, beside itself; ARGS=-n0 for one process, and for a debugger
#   make node    install the package ws, for the tests that stream with Node; without it they are skipped
#   make serve   run the server in the foreground
#   make bench   measure it against its budgets; ARGS=--budgets for all that must hold, five runs of each
#   make profile where its CPU goes at 1,000 legs: a flame graph in build/
#   make faults  kill it, freeze it, break its disk, and listen to what is left; under ten minutes
#   make faults-long  the same with 200 kills and every k-th call of the system
#   make faults-cluster  three nodes with real servers, 60 kills of nodes and of NATS; twenty minutes
#   make hostile attack it at every bound while another app records; under five minutes
#   make lint    what CI checks besides the tests
#   make package build sdist and wheel, and run the demo from the wheel, outside of this folder
#   make console build the console's page from its sources; needs Node, which nobody else does
#   make pictures look at the console with a browser, and keep how it looks for the documents
#   make lock    write requirements/*.lock anew after a change of pyproject.toml; ARGS=--upgrade for the newest of all

.DEFAULT_GOAL := help
.PHONY: help demo test node serve bench profile faults faults-long faults-cluster hostile lint package console pictures lock
MAKEFLAGS += --no-print-directory

VENV ?= .venv
PY := $(VENV)/bin/python
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet
UV := $(VENV)/bin/uv

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

test: $(VENV)/.installed-dev
	@$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

# Not in tests/: what is installed there would be read as a part of the project.
NODE := build/node
node: $(NODE)/.installed

$(NODE)/.installed: tests/node/package-lock.json
	@mkdir -p $(NODE) && cp tests/node/package.json tests/node/package-lock.json $(NODE)
	@npm ci --silent --no-audit --no-fund --prefix $(NODE)
	@touch $@

bench: $(VENV)/.installed-dev
	@$(PY) -m bench.run $(ARGS)

profile: $(VENV)/.installed-dev
	@$(PY) -m bench.profile $(ARGS)

faults: $(VENV)/.installed-dev
	@$(PY) -m bench.faults $(ARGS)

faults-long: $(VENV)/.installed-dev
	@$(PY) -m bench.faults --long --show $(ARGS)

faults-cluster: $(VENV)/.installed-dev
	@$(PY) -m bench.faults --only cluster --long --show $(ARGS)

hostile: $(VENV)/.installed-dev
	@$(PY) -m bench.hostile $(ARGS)

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

# The wheel is built from what the sdist holds, and sees neither this folder nor the packages of $(VENV).
PACKAGE := build/package
package: $(VENV)/.installed-build
	@rm -rf $(PACKAGE) && mkdir -p $(PACKAGE)/sdist $(PACKAGE)/empty
	@$(PY) -m hatchling build -t sdist -d $(PACKAGE)
	@tar -xzf $(PACKAGE)/wavstream-*.tar.gz -C $(PACKAGE)/sdist --strip-components=1
	@cd $(PACKAGE)/sdist && $(abspath $(PY)) -m hatchling build -t wheel -d ..
	@$(PY) -m venv $(PACKAGE)/venv
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(PACKAGE)/venv/bin/python -m pip install --quiet --require-hashes -r requirements/server.lock
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(PACKAGE)/venv/bin/python -m pip install --quiet --no-deps $(PACKAGE)/wavstream-*.whl
	@cd $(PACKAGE)/empty && env -u PYTHONPATH ../venv/bin/wavstream demo

# The built files are committed, so that nobody needs Node but who changes the page. The same sources give the same bytes.
# It is built in a copy, so that the package's folder never holds what npm installs.
CONSOLE := build/console
console:
	@rm -rf $(CONSOLE)/src && mkdir -p $(CONSOLE) && cp -R wavstream/console/source/. $(CONSOLE)
	@cd $(CONSOLE) && npm ci --silent --no-audit --no-fund && npm run --silent build -- --outDir $(abspath wavstream/console/static)

pictures: $(VENV)/.installed-dev
	@CONSOLE_PICTURES=1 $(PY) -m pytest -q -n 2 tests/acceptance/test_console_page.py tests/acceptance/test_console_transcripts.py

# One resolution, of everything; the smaller locks are cut out of it. They hold for Python 3.11 and newer on every
# system, keep their versions but for ARGS=--upgrade, and name no index: the one of who installs is asked.
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --no-config --universal --generate-hashes --python-version 3.11
lock: $(VENV)/.installed-build
	@$(LOCK) $(ARGS) pyproject.toml --all-extras --group build -o requirements/dev.lock
	@$(LOCK) pyproject.toml --extra cluster --extra postgres --extra store -c requirements/dev.lock -o requirements/server.lock
	@$(LOCK) --group build -c requirements/dev.lock -o requirements/build.lock

# A stamp is newer than pyproject.toml and its lock once its packages are in.
$(VENV)/.installed-build: requirements/build.lock | $(VENV)/.python
	@$(PIP) --require-hashes -r requirements/build.lock
	@touch $@

$(VENV)/.installed: pyproject.toml requirements/server.lock $(VENV)/.installed-build
	@echo "Installing wavstream and what it needs into $(VENV) (once; about a minute)"
	@$(PIP) --require-hashes -r requirements/server.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml requirements/dev.lock $(VENV)/.installed-build
	@echo "Installing wavstream, what its tests need and its development tools into $(VENV) (once; about a minute)"
	@$(PIP) --require-hashes -r requirements/dev.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.installed

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
