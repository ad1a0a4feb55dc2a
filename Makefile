# `make run` and `make test` are all a fresh machine needs; each creates .venv first.
PYTHON ?= python3
BIN := .venv/bin
# PyPI has llama-cpp-python as source alone. It is built on all cores, and once: pip keeps what it built.
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count())")

.PHONY: run test check lint types fast clean

run: .venv/run-installed
	$(BIN)/omni-edge run --image models/nano/picture.png --audio models/nano/question.flac --out reply.wav

test: .venv/dev-installed
	$(BIN)/python -m pytest

fast: .venv/dev-installed
	$(BIN)/python -m pytest -m "not slow"

check: lint types test

lint: .venv/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Type checkers cannot follow the editable install's import hook; build/types shows them the package as a tree.
types: .venv/dev-installed
	rm -rf build/types && mkdir -p build/types/omni_edge
	for d in apps export models quant runtime; do ln -s ../../../$$d build/types/omni_edge/$$d; done
	$(BIN)/pyright --pythonpath $(BIN)/python

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run-installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e .
	touch $@

# The CPU build of torch is asked for first: a plain "torch" may bring gigabytes of CUDA libraries.
.venv/dev-installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@ .venv/run-installed

clean:
	rm -rf .venv build dist *.egg-info
