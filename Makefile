# What a person types. Everything is installed into .venv; nothing outside of this directory changes.
#
#   PYTHON   the Python to start from:       make demo PYTHON=python3.12
#   TORCH    the build of PyTorch to install: make demo TORCH="torch==2.13.0+cpu --index-url ..."
#            (the default takes what your package index calls torch 2.13.0; on many Linux machines that
#            is the CUDA build, which is large and runs on the CPU as well)
#   PYTEST   more options for the tests:     make test PYTEST="-m 'not slow' -x"
#   JOBS     how many tests run at once:     make test JOBS=1

PYTHON ?= python3
TORCH ?= torch==2.13.0
PYTEST ?=
JOBS ?= 2

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help demo test check golden bench docs clean
.DELETE_ON_ERROR:
.SUFFIXES:

help:
	@echo 'make demo     run the learning campaign of examples/learning in demo/'
	@echo 'make test     run all tests'
	@echo 'make check    linter, formatter, types, all tests'
	@echo 'make golden   write the expected scripts of tests/golden anew; read the difference'
	@echo 'make bench    measure: overheads, large campaigns'
	@echo 'make docs     build the documentation into public/'
	@echo 'make clean    remove what was installed and built; demo/ stays'

# Ends in demo/ with a report; typed again, it goes on where it stopped.
demo: .venv/.learning
	@test -d demo || { rm -rf demo.part && cp -R examples/learning demo.part && mv demo.part demo; }
	cd demo && ../$(BIN)/hpcflow run

# loadgroup: whoever is free gets one test, not several. Long ones are not waited for.
test: .venv/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(PYTEST)

# The tests come last: what takes a second is known first.
check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(PYTEST)

golden: .venv/.dev
	$(BIN)/python -m pytest -q tests/golden --regenerate
	@git --no-pager diff --stat -- tests/golden

bench: .venv/.learning
	$(BIN)/python -m benchmarks

docs: .venv/.docs
	$(BIN)/python docs/cli_reference.py
	$(BIN)/python docs/workflow_reference.py
	$(BIN)/python docs/site_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

clean:
	rm -rf .venv public build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp stands for one finished installation; an interrupted one is simply done again.
# torch is named on every line on which something asks for it, or pip may choose another build.

.venv/.learning: pyproject.toml .venv/.created
	@echo 'Installing hpcflow with ASE, PyTorch, MACE, OpenMM and tblite into .venv (once) ...'
	$(INSTALL) $(TORCH) -e '.[learning]'
	@touch $@

.venv/.dev: pyproject.toml .venv/.learning
	@echo 'Installing what the tests need into .venv (once) ...'
	$(INSTALL) $(TORCH) -e '.[learning,dev]'
	@touch $@

.venv/.docs: pyproject.toml .venv/.created
	$(INSTALL) -e '.[docs]'
	@touch $@

.venv/.created:
	@command -v $(PYTHON) >/dev/null || { echo 'There is no $(PYTHON) here. Install Python 3.10 or newer,' \
	  'or name yours: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo 'hpcflow needs Python 3.10' \
	  "or newer, and $(PYTHON) is $$($(PYTHON) --version). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot make virtual environments.' \
	  'On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@
