# Two commands do everything, set-up included:
#   make run     the main job: python run.py +experiment=llama_decode
#   make test    ruff, mypy and the tests
# `make test-llm` adds the tests on the small real language model (installs CPU torch).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?= +experiment=llama_decode
PIP := $(BIN)/python -m pip install --quiet --constraint requirements.lock
# On both cores; one worker where pytest-xdist sees a single core.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile

.PHONY: run test test-llm lint clean

run: $(VENV)/run.stamp
	$(BIN)/python run.py $(ARGS)

test: lint
	$(PYTEST) -m "not llm"

test-llm: $(VENV)/llm.stamp
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m llm tests

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(BIN)/python pyproject.toml requirements.lock
	$(PIP) --editable .
	@echo "compiling the kernels once (half a minute; their machine code is cached)"
	$(BIN)/python run.py +experiment=llama_decode budget.trials=6 tracking=none quiet=true \
		out_dir=$(VENV)/warm_up >/dev/null
	touch $@

$(VENV)/dev.stamp: $(BIN)/python pyproject.toml requirements.lock
	$(PIP) --editable ".[dev,postgres,ray]"
	touch $@

$(VENV)/llm.stamp: $(VENV)/dev.stamp
	$(PIP) --editable ".[dev,llm]"
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
