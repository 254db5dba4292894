# The two commands are `make demo` and `make test`; each sets everything up first.
# PYTHON=3.13 chooses another version of CPython, ARGS="..." is passed on.

PYTHON ?= 3.14
ARGS ?=
BACKEND ?=
SETUP_PYTHON ?= python3

DEFAULT_PYTHON := 3.14
VERSION := $(patsubst python%,%,$(PYTHON))
VENV := $(if $(filter $(DEFAULT_PYTHON),$(VERSION)),.venv,.venv-$(VERSION))
PY := $(VENV)/bin/python

# Set by some machines for all programs. Byte code makes every child start faster; the others change what is imported.
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONOPTIMIZE PYTHONWARNINGS

.PHONY: help setup test test-all stateful teardowns demo bench-quick soak lint clean

help:
	@echo 'make demo         run the main job: a census of Python source by a tree of actors'
	@echo 'make test         lint, types, layers, then all tests, on the backends trio, subint and forkserver'
	@echo 'make test-all     that, the other ways to run actors, then make test on the other versions; an hour and more'
	@echo 'make stateful     50,000 random programs for two actors, in minutes; ARGS="--seed N" plays one again'
	@echo 'make teardowns    10,000 random ends of children of all kinds, in an hour; ARGS="--seed N" plays one again'
	@echo 'make bench-quick  the main figures, beside bare floors, in under two minutes'
	@echo 'make soak         cancel a tree of 84 actors a hundred times, and say how long that takes'
	@echo 'make lint         lint, types and layers only'
	@echo 'make setup        only the environment, which the others make when it is not there'
	@echo 'make clean        remove what make has made'
	@echo 'Options: PYTHON=3.13 (or 3.14, 3.15), ARGS="..." for the program or for pytest,'
	@echo '         BACKEND=subint (or forkserver) for the demo'

setup:
	@command -v $(SETUP_PYTHON) >/dev/null || { echo 'setup: no python3 on PATH; install any Python 3.8 or newer with pip' >&2; exit 1; }
	@$(SETUP_PYTHON) -m scripts.bootstrap '$(PYTHON)'

test: setup
	@scripts/check.sh $(VENV) test $(ARGS)

test-all: setup
	@scripts/check.sh $(VENV) all
	@for version in $(filter-out $(VERSION),3.13 3.14 3.15); do $(MAKE) --no-print-directory test PYTHON=$$version ARGS= || exit 1; done

stateful: setup
	@$(PY) -m tests.stateful $(ARGS)

teardowns: setup
	@$(PY) -m tests.teardowns $(ARGS)

lint: setup
	@scripts/check.sh $(VENV) lint

demo: setup
	@$(PY) examples/census.py $(if $(BACKEND),--backend $(BACKEND)) $(ARGS)

bench-quick: setup
	@$(PY) benchmarks/quick.py $(ARGS)

soak: setup
	@$(PY) benchmarks/soak.py $(ARGS)

clean:
	rm -rf .venv .venv-* .python .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
