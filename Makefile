# Two commands do all the set-up: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# -c pins the development versions; a CPU build of this torch is enough for everything here.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Tests of pages drive Chromium, tests of programs use bubblewrap. Where they are missing, root on Debian or Ubuntu gets
# them; elsewhere the tests of pages are skipped, with the reason, and programs run behind the second wall.
PROGRAMS := { command -v chromium && command -v bwrap; } >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
	{ apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium bubblewrap; } || true

.PHONY: demo test lint types layers docs check clean

demo: $(VENV)/.installed
	$(BIN)/packtrain demo --work packtrain-demo --overwrite

# Test files are shared out over the processors; each test process computes with one thread, as they would disturb each other.
test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# The reference is made from the code, then the site is built into site/; a link or an anchor that leads nowhere is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/python scripts/build_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: test lint types layers docs

clean:
	rm -rf $(VENV) packtrain-demo packtrain-demo.partial site

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "packtrain needs Python 3.11 or newer, found " + sys.version'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py src/packtrain/diff/kernels.c $(VENV)/bin/python
	@echo "installing packtrain and what it needs into $(VENV): a few minutes, most of them for torch"
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt hatch_build.py src/packtrain/diff/kernels.c $(VENV)/bin/python
	@echo "installing packtrain and what the tests need into $(VENV): a few minutes, most of them for torch"
	$(INSTALL) -e '.[test]'
	$(PROGRAMS)
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt $(VENV)/.installed
	$(INSTALL) -e '.[docs]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(VENV)/.installed-test
	$(INSTALL) -e '.[test,dev]'
	touch $@
