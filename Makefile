# Everything runs in .venv, which is made when it is missing.
PYTHON ?= python3
BIN := .venv/bin

# What runs on the oldest torch allowed and on the one that crashed with AMX: devices and precisions, training, protecting, and a
# victim of each kind. It needs some of the extras only.
CORE_TESTS := tests/runtime tests/fit tests/protect tests/generator tests/losses tests/baselines/test_pgd*.py \
	tests/baselines/test_pixel_store.py tests/evaluation/test_victim*.py tests/evaluation/test_weighting*.py \
	tests/benchmarks/test_paper_tables.py::test_each_kind_of_victim_can_be_trained --ignore tests/runtime/test_repr.py
CORE_NEEDS := --editable ".[evaluation,plot,progress]" hypothesis pytest
# Python 3.10 where there is one.
OLDEST_PYTHON ?= $(shell for each in python3.10 $(HOME)/.pyenv/versions/3.10.*/bin/python $(PYTHON); do \
	$$each --version >/dev/null 2>&1 && echo $$each && break; done)
CRASHED := 2.14.1

.PHONY: demo test test-oldest test-crashed mutants lint docs build clean

demo: .venv/installed
	$(BIN)/python examples/quickstart.py

# COVERAGE=1 counts the branches of src that the tests take, and fails where they take too few.
WORKERS ?= 2
COUNTED := $(if $(COVERAGE),--cov --cov-report=term)

test: .venv/installed
	$(BIN)/python -m pytest -n $(WORKERS) $(COUNTED)

test-oldest: .venv-oldest/installed
	.venv-oldest/bin/python -m pytest $(CORE_TESTS)

test-crashed: .venv/installed
	@if $(BIN)/python -c 'import torch, sys; sys.exit(torch.__version__.split("+")[0] != "$(CRASHED)")'; \
	then echo "make test runs all tests on torch $(CRASHED) here"; \
	else $(MAKE) .venv-$(CRASHED)/installed && .venv-$(CRASHED)/bin/python -m pytest $(CORE_TESTS); fi

# For hours: breaks the code in 250 places, one at a time, and tells which of them no test notices.
mutants: .venv/installed
	$(BIN)/python benchmarks/mutants.py --jobs $(WORKERS)

lint: .venv/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html

build: .venv/installed-build
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python tests/distributions.py dist

clean:
	rm -rf .venv .venv-* dist docs/_build docs/notebooks docs/reference examples/output

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

# Without pip's cache, which would hold each of these releases, several gigabytes with CUDA's libraries, a second time.
.venv-oldest/installed: pyproject.toml tests/lowest.txt
	$(OLDEST_PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --no-cache-dir --constraint tests/lowest.txt $(CORE_NEEDS)
	touch $@

.venv-$(CRASHED)/installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv-$(CRASHED)
	.venv-$(CRASHED)/bin/python -m pip install --quiet --no-cache-dir torch==$(CRASHED) $(CORE_NEEDS)
	touch $@

.venv/installed-lint: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[lint]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

.venv/installed-build: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[build]"
	touch $@
