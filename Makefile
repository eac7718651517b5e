# make demo   set up, then compress the network that ships with slimc; results in demo/
# make test   set up, then the default test run (a few minutes)
# make slow   the slow tests on real models        make lint   ruff and mypy
# make clean  remove what these made

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test slow lint clean

demo: $(READY)
	$(BIN)/slimc demo demo

test: $(READY)
	$(BIN)/python -m pytest -n 2

slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The venv is made without pip and filled by the outer pip, so that no python3-venv package is needed.
$(READY): pyproject.toml
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
