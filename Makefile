# Every target works as the first command on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test quick lab coverage mutants check bench docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python demo.py

test: setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m "not lab"

quick: setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m "not slow and not lab"

# What repeats `make test` on more architectures, processors and cases.
lab: setup
	-$(BIN)/arbex emulators
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m lab

# Slower than `make test`, since every line that runs is recorded.
coverage: setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal --cov --cov-report term --cov-report html

mutants: setup
	$(BIN)/python -m tests.mutants

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks.edge

# Material for MkDocs announces its successor at every build; the variable keeps the output to what concerns the pages.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf demo site htmlcov $(VENV)
