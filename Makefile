# `make demo` and `make test` need Python 3.11, git and make; everything else they install in .venv.
PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV   ?= .venv
CORES  ?= all
TARGET ?= results/table1.csv
BENCH  ?= all

BIN  := $(abspath $(VENV))/bin
DONE := $(VENV)/installed
# Each job has its own fixed number of threads (see the rules), whatever the machine has.
# The logger `stages` prints a line when a stage starts and ends (workflow/logger).
RUN  := PATH="$(BIN):$$PATH" OMP_NUM_THREADS=1 PYTHONPATH=workflow/logger \
  snakemake --logger stages --cores $(CORES)

.SILENT: demo run $(DONE)

.PHONY: demo run predict test bench lint format docs lock miniature-models clean

demo: $(DONE)  ## install, then run the main job on the embedded miniature
	$(RUN) results/table1.csv
	PYTHONPATH=workflow/scripts "$(BIN)/python" -m countclip.report.terminal

run: $(DONE)  ## build any target: make run TARGET=results/figures/class_frequency_main.svg
	$(RUN) $(TARGET)

predict: $(DONE)  ## count in pictures of your own: make predict ARGS="--help"
	@PYTHONPATH=workflow/scripts $(BIN)/python -m countclip.evaluation.predict $(ARGS)

test: $(DONE)  ## all tests
	PATH="$(BIN):$$PATH" python -m pytest

BENCHES := $(filter-out common,$(notdir $(basename $(wildcard perf/*.py))))

bench: $(DONE)  ## measure side by side: make bench BENCH=filter, or all of them
	PATH="$(BIN):$$PATH" sh -ec 'for name in $(BENCH:all=$(BENCHES)); do \
	  python perf/$$name.py; done'

lint: $(DONE)
	PATH="$(BIN):$$PATH" sh -ec 'ruff check . && ruff format --check . && \
	  snakefmt --check Snakefile workflow && snakemake --lint && \
	  PYTHONPATH=workflow/scripts lint-imports --no-logo && hadolint container/Dockerfile'

format: $(DONE)
	PATH="$(BIN):$$PATH" sh -ec 'ruff check --fix . && ruff format . && snakefmt Snakefile workflow'

miniature-models: $(DONE)  ## train the two small models anew and put them into resources/
	$(RUN) results/miniature_models/detector/recipe.json results/miniature_models/clip/recipe.json
	cp -r results/miniature_models/detector results/miniature_models/clip resources/miniature/

docs: $(DONE)  ## config/README.md from the schema, the README's diagram from the rules
	PYTHONPATH=workflow/scripts $(BIN)/python -m countclip.runtime.config_docs
	PATH="$(BIN):$$PATH" python docs/draw_pipeline.py

lock: $(DONE)  ## resolve requirements.in; torch pins its own CUDA packages, on Linux only
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile requirements.in --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command "make lock" --output-file requirements.txt \
	  $$(for name in cuda-bindings cuda-pathfinder cuda-toolkit triton nvidia-cublas \
	    nvidia-cuda-cccl nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 \
	    nvidia-cufft nvidia-cufile nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 \
	    nvidia-curand nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx; \
	    do echo --no-emit-package $$name; done)
	sed -i '/^      - /d' environment.yml
	sed -n '/^[a-z]/s/.*/      - "&"/p' requirements.txt >> environment.yml

$(DONE): requirements.txt
	@case "$$($(PYTHON) --version 2>&1)" in "Python 3.11."*) ;; *) \
	  echo "make needs Python 3.11, which all packages are locked for, and $(PYTHON) is not it:" \
	    "install it, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11." \
	    "Or let conda bring it: conda env create -f environment.yml" >&2; exit 1;; esac
	@echo "installing into $(VENV), once: some minutes, and 7 GB on Linux"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --no-compile --disable-pip-version-check -r requirements.txt
	@# On all cores, and kept even where PYTHONDONTWRITEBYTECODE is set: each job would compile again.
	@# Some packages ship files for other Pythons, which do not compile and are not imported.
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

clean:  ## remove results; the environment stays
	rm -rf results logs .snakemake
