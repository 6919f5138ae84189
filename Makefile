# The main jobs, one word each. Needs GNU make 3.81 or newer and Python 3.11 or newer, nothing else.

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
OLDEST  := .venv-oldest
OLDEST_PYTHON ?= 3.11
INTEROP := .venv-interop
WORKERS ?= 2
PROFILE ?= $(if $(wildcard data/full/manifest.json),full)

.PHONY: help setup demo report pseudomasks fit ablation robustness app bench test test-oldest interop container faults fuzz lint docs space clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PROFILE=demo|full   configs for the targets from pseudomasks to report; full if data/full exists"
	@echo "  PHOTOS=folder       photos that report shows predictions for (default: the demo's test split)"
	@echo "  PYTHON=python3.12   interpreter for .venv"
	@echo "  WORKERS=2           number of test processes"

# ---------------------------------------------------------------------------------------------------- installation

setup: $(STAMP) ## create .venv and install the package with its tools; instant when up to date

$(STAMP): pyproject.toml
	@rm -f $@ # an install that fails leaves no stamp
	@candidates="$(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)"; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 && exit; \
	for python in $$candidates; do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec "$$python" -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "No Python 3.11 or newer that can make a virtual environment (tried: $$candidates)." >&2; \
	echo "Debian and Ubuntu: sudo apt install python3-venv. Elsewhere, name one: make setup PYTHON=/path/to/python3" >&2; \
	exit 1
	$(BIN)/python -m pip install --editable '.[dev,docs]'
	@touch $@

# -------------------------------------------------------------------------------------------------------- the jobs

demo: ## the whole pipeline on packaged photos, minutes on a CPU; writes runs/demo/report.html
	@$(MAKE) --no-print-directory PROFILE=demo report

ifeq ($(filter demo full,$(PROFILE)),)

pseudomasks fit ablation robustness app report:
	@echo "No data/full/manifest.json (see data/README.md). Without data: make $@ PROFILE=demo" >&2
	@exit 2

else

# Results are files that follow their configs and inputs; after a change in the source code, make clean.
# index.json and fit.json are written last, so a run that was cut off is taken up again.
RUN         := runs/$(PROFILE)
# The demo's second test set is forged in ways that its student has not seen.
UNSEEN      := $(if $(filter demo,$(PROFILE)),runs/demo/unseen/manifest.json)
MANIFEST    := $(if $(filter demo,$(PROFILE)),runs/demo/data,data/full)/manifest.json
INDEX       := $(RUN)/pseudomasks/index.json
AUDIT       := $(RUN)/pseudomasks/audit.json
FITTED      := $(RUN)/fit/fit.json
CHECKPOINT  := $(RUN)/fit/checkpoints/best.ckpt
SCORES      := $(RUN)/test/scores.json
ROBUSTNESS  := $(RUN)/robustness/robustness.json
PREDICTIONS := $(RUN)/predictions/predictions.json
# The photos of the page's pictures: a folder, or a list; the demo's are those of its test split.
PHOTOS      ?= $(if $(filter demo,$(PROFILE)),"[$$(echo $(RUN)/data/images/test-* | tr ' ' ,)]")
# The loggers belong to training: a test that used them too would write over its curves.
QUIETLY     := --trainer.logger false
# A run that was stopped goes on from its last checkpoint; one that ended, before its config changed, starts anew.
RESUME       = $(or $(if $(wildcard $@),,$(if $(wildcard $(@D)/checkpoints/last.ckpt),--ckpt_path last)),$(REPLACE))
# make knows that what is there is older than its config or inputs.
REPLACE     := --overwrite
# Exit code 3: done, but for some inputs, which were listed. The job goes on without them.
GO_ON       := || [ $$? -eq 3 ]

pseudomasks: $(INDEX) ## stage one: coarse boxes to pseudo-masks in HDF5 shards

fit: $(FITTED) ## stage two: distil the student from the pseudo-masks

# The command knows which of its runs are there; the demo's studies make their own, smaller images.
ablation: $(if $(filter full,$(PROFILE)),$(INDEX)) | $(STAMP) ## the paper's experiments over seeds, with a table and a figure for each question
	$(BIN)/boxpromptiml ablation --config configs/studies/$(PROFILE).yaml

robustness: $(ROBUSTNESS) ## scores under blur, noise, JPEG, resizing, gamma and sharing, level by level

app: | $(STAMP) ## web app: try the student, review its pseudo-masks; FOLDER=photos to draw boxes there
	$(BIN)/boxpromptiml app $(if $(wildcard $(CHECKPOINT)),--checkpoint $(CHECKPOINT)) \
	  $(if $(wildcard $(INDEX)),--cache $(dir $(INDEX))) $(if $(FOLDER),--photos $(FOLDER))

report: $(AUDIT) $(SCORES) $(if $(PHOTOS),$(PREDICTIONS)) ## one HTML page about a run; also prints the main scores
	$(BIN)/boxpromptiml report --run $(RUN) $(GO_ON)

runs/demo/data/manifest.json: configs/synthesis/demo.yaml | $(STAMP)
	$(BIN)/boxpromptiml synthesize --config $< $(GO_ON)

runs/demo/unseen/manifest.json: configs/synthesis/demo_unseen.yaml | $(STAMP)
	$(BIN)/boxpromptiml synthesize --config $< $(GO_ON)

# The sets have to be fetched by hand. Without them a manifest that was made in another way is left alone.
ifeq ($(wildcard data/raw),)
data/full/manifest.json:
	@echo "No $@ and no data/raw; see data/README.md for the sets to put there" >&2
	@exit 2
else
data/full/manifest.json: configs/data/full.yaml | $(STAMP)
	$(BIN)/boxpromptiml mixture --config $< $(REPLACE) $(GO_ON)
	@touch -c $@ # one of the same content was left as it is
endif

$(INDEX): configs/pseudomasks/$(PROFILE).yaml $(MANIFEST) | $(STAMP)
	$(BIN)/boxpromptiml pseudomasks --config $< $(GO_ON)

$(AUDIT): $(INDEX)
	$(BIN)/boxpromptiml audit --cache $(<D) $(REPLACE) $(GO_ON)

$(FITTED): configs/$(PROFILE).yaml $(wildcard configs/base/training.yaml) $(INDEX) | $(STAMP)
	$(BIN)/boxpromptiml fit --config $< $(RESUME)

$(SCORES): $(FITTED) $(UNSEEN)
	$(BIN)/boxpromptiml test --config configs/$(PROFILE).yaml $(QUIETLY) --ckpt_path $(CHECKPOINT) $(REPLACE) $(GO_ON)

$(ROBUSTNESS): configs/robustness/$(PROFILE).yaml $(FITTED)
	$(BIN)/boxpromptiml robustness --config $< $(REPLACE) $(GO_ON)

$(PREDICTIONS): $(FITTED)
	$(BIN)/boxpromptiml predict --checkpoint $(CHECKPOINT) --images $(PHOTOS) --out $(@D) $(REPLACE) $(GO_ON)

endif

# --------------------------------------------------------------------------------------------------- the benchmarks

SUBJECTS := $(filter-out table training_photos training_recipe,$(basename $(notdir $(wildcard benchmarks/*.py))))

bench: $(STAMP) ## compare our code with the obvious alternative; tables in benchmarks/results; ONLY=synthesis for one
	@for subject in $(or $(ONLY),$(SUBJECTS)); do $(BIN)/python benchmarks/$$subject.py || exit; done

# ------------------------------------------------------------------------------------------------------- the checks

test: $(STAMP) ## run the tests, without network; ARGS='-k boxes' passes arguments to pytest
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-oldest: $(OLDEST)/.installed ## run the tests with the oldest Python and packages that pyproject.toml allows; ARGS as for test
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

$(OLDEST)/.installed: pyproject.toml | $(STAMP)
	@rm -f $@
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv venv --seed --clear --python $(OLDEST_PYTHON) $(OLDEST)
	$(BIN)/python -m uv pip install --python $(OLDEST)/bin/python --resolution lowest-direct --editable '.[dev]'
	@touch $@

interop: $(INTEROP)/.installed ## compare IMDLBenCo's scores of the released student with ours, in a separate environment
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/stage2/inference/test_imdlbenco.py $(ARGS)

# IMDLBenCo needs numpy below 2, which this project does not support. If it cannot be installed, its test is skipped.
$(INTEROP)/.installed: pyproject.toml | $(STAMP)
	@$(BIN)/python -m venv --clear $(INTEROP) && $(INTEROP)/bin/python -m pip install --quiet imdlbenco \
	  && $(INTEROP)/bin/python -m pip install --quiet --no-deps . && touch $@ \
	  || { rm -rf $(INTEROP); echo "IMDLBenCo cannot be installed here, for the reason above." >&2; }

container: space ## build and test both Dockerfiles without Docker; needs Linux, root, debootstrap
	$(BIN)/python deploy/container.py check Dockerfile
	$(BIN)/python deploy/container.py check dist/space/Dockerfile

faults: $(STAMP) ## kill, starve and damage stage one a few hundred times; fails if anything is lost
	OMP_NUM_THREADS=1 $(BIN)/python tests/fault_injection/campaign.py --out benchmarks/results/fault_injection.md

fuzz: $(STAMP) ## feed damaged files and requests to every reader; fails if one crashes, hangs or gives no clear error
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[fuzz]' \
	  || echo "Atheris cannot be installed here; the campaign goes on without coverage guidance." >&2
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz.py --out benchmarks/results/fuzz.md $(ARGS)

lint: $(STAMP) ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP) ## build the documentation site, site/index.html; fails on any warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

space: $(STAMP) ## make dist/space, a folder to upload as a Hugging Face Space
	rm -rf dist/space && mkdir -p dist/space && cp deploy/space/* dist/space
	$(BIN)/python -m hatchling build -t wheel -d dist/space

clean: ## remove caches and runs/demo; data, other runs and .venv stay
	rm -rf runs/demo build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . \( -path ./.venv -o -path ./.git -o -path ./data \) -prune -o -name __pycache__ -prune -exec rm -rf {} +
