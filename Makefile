# `make demo` and `make test` need Python 3.11 or 3.12, git and make; everything else they install in .venv.
# From the command line alone, as in `make demo CORES=2`: a shell's VENV may be somebody else's.
# The first Python that can make an environment: some names start nothing, and Debian's lacks ensurepip.
PYTHON := $(shell for name in python3.11 python3.12; do \
  if $$name -c "import ensurepip" 2>/dev/null; then echo $$name; exit; fi; done; echo python3)
VENV   := .venv
CORES  := all
TARGET := results/table1.csv
BENCH  := all
RUN    :=
SET    :=
ARGS   :=
# With one of these pip would install, or Python look, elsewhere.
unexport PIP_PREFIX PIP_PYTHON PIP_ROOT PIP_TARGET PIP_USER PYTHONHOME
# With this each job and each process of the tests would compile our modules again.
unexport PYTHONDONTWRITEBYTECODE
# Snakemake needs a home, which a user id without a name (in a container) may not have.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/.snakemake/home
endif

# Paths may have spaces: absolute without $(abspath), which splits at them, and quoted in recipes.
BIN  := $(if $(filter /%,$(firstword $(VENV))),,$(CURDIR)/)$(VENV)/bin
space := $(subst ,, )
DONE := $(subst $(space),\ ,$(VENV))/installed
# Each job has its own fixed number of threads (see the rules), whatever the machine has.
# The logger `stages` prints a line when a stage starts and ends (workflow/logger).
SNAKEMAKE := PATH="$(BIN):$$PATH" OMP_NUM_THREADS=1 PYTHONPATH="$(CURDIR)/workflow/logger" \
  snakemake --logger stages --cores $(CORES)

.SILENT: demo run $(DONE)

.PHONY: demo run predict card test bench lint format docs lock miniature-models clean

demo: $(DONE)  ## install, then run the main job on the embedded miniature
	$(SNAKEMAKE) results/table1.csv
	PYTHONPATH=workflow/scripts "$(BIN)/python" -m countclip.report.terminal

run: $(DONE)  ## build any target: make run TARGET=results/report.html ARGS="--configfile mine.yaml"
	$(SNAKEMAKE) $(TARGET) $(ARGS)

predict: $(DONE)  ## count in pictures of your own: make predict ARGS="--help"
	@PYTHONPATH=workflow/scripts "$(BIN)/python" -m countclip.evaluation.predict $(ARGS)

card: $(DONE)  ## a folder for the hub: make card RUN=results/training/log_sched/seed1, or SET=main
	@PYTHONPATH=workflow/scripts "$(BIN)/python" -m countclip.report.card \
	  $(if $(RUN),--run "$(RUN)") $(if $(SET),--set "$(SET)") $(ARGS)

test: $(DONE)  ## all tests, those of one file one after another
	PATH="$(BIN):$$PATH" python -m pytest -n auto --dist loadfile --no-loadscope-reorder

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

miniature-models: $(DONE)  ## train the three small models anew and put them into resources/
	$(SNAKEMAKE) $(patsubst %,results/miniature_models/%/recipe.json,detector clip reading_clip)
	cp -r results/miniature_models/* resources/miniature/

docs: $(DONE)  ## config/README.md from the schema, the README's diagram from the rules
	PYTHONPATH=workflow/scripts "$(BIN)/python" -m countclip.settings.config_docs
	PATH="$(BIN):$$PATH" python docs/draw_pipeline.py

lock: $(DONE)  ## resolve requirements.in for 3.11 and later; torch pins its own CUDA packages, on Linux only
	"$(BIN)/pip" install --quiet uv
	"$(BIN)/uv" pip compile requirements.in --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command "make lock" --output-file requirements.txt \
	  $$(for name in cuda-bindings cuda-pathfinder cuda-toolkit triton nvidia-cublas \
	    nvidia-cuda-cccl nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 \
	    nvidia-cufft nvidia-cufile nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 \
	    nvidia-curand nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx; \
	    do echo --no-emit-package $$name; done)
	sed -i '/^      - /d' environment.yml
	sed -n '/^[a-z]/s/.*/      - "&"/p' requirements.txt >> environment.yml

$(DONE): requirements.txt
	@if [ -n "$$(ls -A "$(VENV)" 2>/dev/null)" ] && ! [ -e "$@" ] && ! [ -e "$(VENV)/by-make" ]; then \
	  echo "$(VENV) is there, and make did not make it: nothing is installed over it. Name another" \
	    "folder (make $(MAKECMDGOALS) VENV=/path/to/new) or remove this one." >&2; exit 1; fi
	@version="$$("$(PYTHON)" --version 2>&1)"; case "$$version" in "Python 3.11."*|"Python 3.12."*) ;; *) \
	  echo "make needs Python 3.11 or 3.12 (img2dataset does not run on 3.13), and $(PYTHON) is neither" \
	    "($$(echo "$$version" | head -n 1)): install one, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12." \
	    "Or let conda bring it: conda env create -f environment.yml" >&2; exit 1;; esac
	@echo "installing into $(VENV), once: about 3 minutes and 7 GB on Linux, longer on a slow connection"
	@mkdir -p "$(VENV)" && touch "$(VENV)/by-make"  # an installation that is cut short is make's too
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/pip" install -qq --no-compile --disable-pip-version-check -r requirements.txt
	@echo "compiling the packages: about half a minute"
	@# On all cores, and kept even where PYTHONDONTWRITEBYTECODE is set: each job would compile again.
	@# Some packages ship files for other Pythons, which do not compile and are not imported.
	@"$(BIN)/python" -m compileall -qq -j 0 "$(VENV)/lib" >/dev/null 2>&1 || true
	@touch "$@"

clean:  ## remove results; the environment stays
	rm -rf results logs .snakemake
