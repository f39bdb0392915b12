# Two commands: `make run` sets everything up and runs the main job, `make test` sets up and tests.

PYTHON ?= $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(python) -c 'import sys, venv, ensurepip; print("$(python)") if sys.version_info >= (3, 11) else None' \
	2>/dev/null)))
VENV := .venv
ARGS ?= task=dna model=mamba
# One process a core and one thread a process: teams of threads that share cores wait for each other. Bytecode is
# kept even where the environment says not to: else each process compiles the package and all tests again.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --dist worksteal
# Slow tests of `make test-slow`: so many seconds, in an order that is another one each day.
SECONDS := 150
SEED := $(shell date +%F)

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-all test-kills test-studies lint docs tables results gpu-report setup clean

help:
	@echo "make run [ARGS='task=... model=... key=value']   set up and run; by default $(ARGS)"
	@echo "make test                                        set up and run the fast tests"
	@echo "make test-slow [SECONDS=150] [SEED=...]          run slow tests for a while, in an order drawn by SEED"
	@echo "make test-kills                                  run what kills, breaks and garbles: the kill matrix, chaos, fuzzing"
	@echo "make test-studies                                run every study at scale=smoke"
	@echo "make test-all                                    run all tests (half an hour on two cores)"
	@echo "make lint                                        set up and run ruff and mypy"
	@echo "make docs                                        set up and build the documentation, into build/site"
	@echo "make tables                                      set up and renew the tables of docs/{keys,zoo,pytorch}.md"
	@echo "make results                                     set up and renew the pages of docs/results from its exports"
	@echo "make gpu-report                                  measure all that needs a GPU (9 minutes), into docs/triton.md"
	@echo "make setup                                       set up only: .venv with seqsuite in it"

run: $(VENV)/.with-samples
	$(VENV)/bin/seqsuite run $(ARGS)

test: $(VENV)/.with-dev
	$(PYTEST) -m "not slow"

# Status 124 says that the time was over before a test had failed, which is what it is for.
test-slow: $(VENV)/.with-dev
	timeout --signal=INT --kill-after=30 $(SECONDS) \
		env $(PYTEST) -x -m slow --order-seed $(SEED) || test $$? -eq 124

test-kills: $(VENV)/.with-dev
	$(PYTEST) -m slow tests/experiments/test_kills.py tests/experiments/executors/test_chaos.py \
		tests/experiments/config/test_fuzz.py tests/tasks/sources/test_fuzz.py tests/models/test_untrusted_folders.py

# Every study of a paper at its smallest scale, from the command to the picture.
test-studies: $(VENV)/.with-dev
	$(PYTEST) -m slow tests/commands/test_reproduce.py -k smallest_scale

test-all: $(VENV)/.with-dev
	$(PYTEST)

lint: $(VENV)/.with-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(VENV)/.with-docs
	$(VENV)/bin/sphinx-build -W --keep-going -q -b html docs build/site
	@echo "The documentation is in build/site/index.html."

tables: $(VENV)/.with-dev
	$(VENV)/bin/python docs/reference.py
	$(VENV)/bin/python -m seqsuite.models.zoo docs/zoo.md
	$(PYTEST) -q tests/models/test_t*.py --junitxml=build/citizenship.xml
	$(VENV)/bin/python -m seqsuite.models.citizenship docs/pytorch.md build/citizenship.xml

results: $(VENV)/.with-dev
	$(VENV)/bin/python docs/render_results.py

gpu-report: $(VENV)/.with-dev
	$(VENV)/bin/python -m seqsuite.bench.gpu_report --out docs/gpu_report.json
	$(VENV)/bin/python -m seqsuite.bench.gpu_report --out docs/gpu_report.json --tables docs/triton.md

setup: $(VENV)/.with-dev

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "seqsuite needs Python 3.11 or newer with venv" \
		"(on Debian and Ubuntu: apt install python3-venv); or say which: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.with-samples: pyproject.toml | $(VENV)/bin/python
	@echo "Installing seqsuite into $(VENV): PyTorch and the samples take about 6 GB and a few minutes."
	$(VENV)/bin/python -m pip install --quiet --editable '.[samples]'
	@touch $@

$(VENV)/.with-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing seqsuite into $(VENV): PyTorch, samples and tools take about 6 GB and a few minutes."
	$(VENV)/bin/python -m pip install --quiet --editable '.[samples,bench,dev]'
	@touch $@ $(VENV)/.with-samples

$(VENV)/.with-docs: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[samples,docs]'
	@touch $@

clean:
	rm -rf $(VENV)
