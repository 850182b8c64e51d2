# Everything runs in .venv, which is made when it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint docs build clean

demo: .venv/installed
	$(BIN)/python examples/quickstart.py

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

build: .venv/installed-build
	$(BIN)/python -m build

clean:
	rm -rf .venv dist docs/_build docs/notebooks docs/reference examples/output

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

.venv/installed-lint: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[lint]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

.venv/installed-build: .venv/installed
	$(BIN)/python -m pip install --quiet build
	touch $@
