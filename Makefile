# Every verb sets up what it needs: a virtual environment in .venv with exactly the locked packages.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# pytorch-metric-learning 2.9.0, which losses and miners are timed against, lies apart: pytorch-adapt needs an older one.
PML := .venv/bench/.installed
export WANDB_SILENT ?= true
# Tests at a time, each of one thread: with more, small tensors wait for threads rather than work.
PROCESSES ?= 2
TESTS := env OMP_NUM_THREADS=1 $(BIN)/pytest -q --numprocesses $(PROCESSES) --dist loadscope

.PHONY: demo test test-all check fix bench bench-gpu browser crash faults lock audit coverage docs fuzz mutants

demo: $(STAMP)  ## the transfer on generated street digits and scikit-learn's real ones; no download
	$(BIN)/python -m experiments.demo

test: $(STAMP)  ## style, floors, and the quick tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(TESTS) -m "not slow"

test-all: check browser  ## everything: types too, the slow tests, and the quick ones with shapes checked at run time
	$(TESTS)
	$(TESTS) -m "not slow" --jaxtyping-packages=domainmetric,data_prep,tests.shapes.check

docs: $(STAMP)  ## the site of the documentation in docs/_build/html, without network; a warning is an error
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

browser:  ## Chromium for the tests of the report page, where it is missing and can be installed
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		  apt-get install -y -qq chromium fonts-dejavu-core >/dev/null; } || \
		echo "Chromium is not here and could not be installed: the browser tests will be skipped."

crash: $(STAMP)  ## disturbs short runs at every operation on the disk, and 1,000 times by SIGKILL: all must end the same
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.crash

faults: $(STAMP)  ## injects every known fault and tells what caught it; then 300 healthy runs, in which no alarm may be raised
	env OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.faults

check: $(STAMP)  ## style, types and floors, without running anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

bench: $(PML)  ## everything that is timed on the CPU (minutes; nothing else should run)
	$(BIN)/python -m experiments.benchmarks.startup
	$(BIN)/python -W ignore -m experiments.benchmarks.step
	$(BIN)/python -W ignore -m experiments.benchmarks.step --recipes full dann_mmd --name step_full
	PYTHONPATH=.venv/bench $(BIN)/python -m experiments.benchmarks.triplets
	$(BIN)/python -m experiments.benchmarks.matching
	$(BIN)/python -m experiments.benchmarks.embedding
	$(BIN)/python -m experiments.benchmarks.preparation
	$(BIN)/python -m experiments.benchmarks.augmentation
	$(BIN)/python -m experiments.benchmarks.growth
	$(BIN)/python -m experiments.benchmarks.trust

bench-gpu: $(PML)  ## steps, views, growth, losses, miners and whole sets on a GPU; says so where there is none
	@$(BIN)/python -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else \
		'There is no CUDA here, so that nothing was measured: torch finds no GPU.')"
	$(BIN)/python -W ignore -m experiments.benchmarks.step --device cuda --precision bf16 --recipes full dann_mmd dann_both
	$(BIN)/python -m experiments.benchmarks.augmentation --device cuda
	$(BIN)/python -m experiments.benchmarks.growth --device cuda
	PYTHONPATH=.venv/bench $(BIN)/python -m experiments.benchmarks.triplets --device cuda
	$(BIN)/python -m experiments.benchmarks.whole_sets --device cuda --precision bf16

fix: $(STAMP)  ## format, and mend what can be mended without thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(STAMP)  ## lines of domainmetric and data_prep that all tests reach, children's included: at least 95%
	$(BIN)/coverage erase
	env OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -q --numprocesses $(PROCESSES) --dist loadscope $(ONLY)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

mutants: $(STAMP)  ## whether tests notice small changes of losses, miners, anchors, metrics and geometry: at least 85%
	env OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutation --count 200 --seed 0

fuzz: $(STAMP)  ## a million damaged inputs for each reader, guided by coverage; goes on where it was stopped
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz

lock:  ## all dependencies anew, with hashes; Lightning's compromised releases come in by no way
	echo 'lightning!=2.6.2,!=2.6.3' | $(BIN)/uv pip compile -q --universal --generate-hashes --extra dev --no-header \
		--no-annotate --constraint - --output-file requirements.lock pyproject.toml

audit: $(STAMP)  ## known vulnerabilities of the locked packages; says so where it could not ask
	$(BIN)/python -m tests.safety.audit

$(PML): $(STAMP) experiments/benchmarks/requirements.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --target .venv/bench --require-hashes --no-deps \
		-r experiments/benchmarks/requirements.txt
	@touch $(PML)

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "domainmetric needs Python 3.11 or newer, but $(PYTHON) is: $$($(PYTHON) --version 2>&1)."; \
		echo "Name a newer one, such as: make $(or $(MAKECMDGOALS),test) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >.venv/uv.lock
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r .venv/uv.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-build-isolation --no-deps -e .
	@touch $(STAMP)
