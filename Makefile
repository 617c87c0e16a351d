# make pretrain   train, score and picture SLAN on generated scenes
# make test       lint and test
# make tasks      fine-tune and score every downstream task from there: a page
#                 (SEED=0, SEED=1 ...: it prints how to lay them on one)
# Both set up everything they need in .venv first; nothing else is touched.
#   PRESET=paper  another preset than the default one      SEED=1  another seed
#   DATA_SET=scenes_hard  harder scenes                      STEPS=3000  longer
# make lint, make test-faults, make test-beam, make bench-setup, make bench, make
# clean: for developers. Input pipelines are compared too where there are
# photographs: make bench SOURCE=DIR

# The first interpreter of this list that is new enough.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,\
  $(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' \
    2>/dev/null)))
TORCH := torch==2.13.0

BIN := .venv/bin
BENCH_BIN := .venv-bench/bin
PIP_FLAGS := --quiet --disable-pip-version-check

DATA_SET ?= scenes
SCENES ?= runs/data/$(DATA_SET)
CONFIG = configs/pretrain.py:$(DATA_SET)$(if $(PRESET),$(comma)preset=$(PRESET))
RUN ?= runs/$(DATA_SET)$(if $(PRESET),-$(PRESET))$(if $(STEPS),-$(STEPS)steps)$\
$(if $(SEED),-seed$(SEED))
EVALUATIONS := retrieval grounding
comma := ,

# Large arrays are freed and asked for again at every step: keep the pages.
# Scoring after training finds what scoring during training compiled.
ENVIRONMENT := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 \
  JAX_COMPILATION_CACHE_DIR=$(CURDIR)/runs/compiled

# Downstream tasks, and the data sets of those that have one of their own.
TASKS := retrieval captioning vqa nlvr2 detection grounding
DATA_vqa := scenes_vqa
DATA_nlvr2 := scenes_nlvr2
ALL_SEEDS := runs/tasks$(if $(PRESET),-$(PRESET))$(if $(STEPS),-$(STEPS)steps)
TASK_RUNS ?= $(ALL_SEEDS)$(if $(SEED),-seed$(SEED))
# make tasks SCRATCH=1: the same without pre-training, beside it on the page.
SCRATCH_RUNS := $(TASK_RUNS)-scratch
TUNED := $(if $(SCRATCH),$(SCRATCH_RUNS),$(TASK_RUNS))
START = $(if $(SCRATCH),'--config.optimizer.frozen=()',\
  --config.init_from.run=$(RUN))
# Alone on the page while there is nothing to stand beside.
SHOWN = $(if $(SCRATCH),$(if $(wildcard $(TASK_RUNS)/*/eval),,scratch alone))
# What the pre-trained run is scored on as it is.
ZERO_SHOT := $(TASK_RUNS)/video_retrieval/eval/video_retrieval/metrics.json \
  $(foreach task,detection grounding,\
    $(TASK_RUNS)/zeroshot/eval/$(task)/metrics.json)
# The seeds that are there, with and without pre-training, as one table.
define TELL_SEEDS
runs=$$(ls -d $(ALL_SEEDS)-seed*[0-9] 2>/dev/null | paste -sd, -); \
  scratch=$$(ls -d $(ALL_SEEDS)-seed*-scratch 2>/dev/null | paste -sd, -); \
  test -n "$$runs" || { runs=$$scratch; scratch=; }; \
  echo "All seeds: $(BIN)/slan-tasks --runs $$runs$${scratch:+ --scratch}" \
    "$${scratch:+$$scratch }--output $(ALL_SEEDS)-seeds.html"
endef

.PHONY: tasks pretrain test test-faults lint setup setup-test bench bench-setup clean

pretrain: setup
	$(BIN)/python -m data.prepare $(DATA_SET) --out $(SCENES)
	$(ENVIRONMENT) $(BIN)/slan-train --config $(CONFIG) --workdir $(RUN) \
	  --config.data.dir=$(SCENES) $(if $(SEED),--config.seed=$(SEED)) \
	  $(if $(STEPS),--config.total_steps=$(STEPS))
	@$(MAKE) --no-print-directory \
	  $(EVALUATIONS:%=$(RUN)/eval/%/metrics.json) $(RUN)/calibration.json
	$(BIN)/slan-report --workdir $(RUN)

# A finished run leaves summary.json: what was scored since is not again.
$(RUN)/summary.json: ;

$(RUN)/eval/%/metrics.json: $(RUN)/summary.json
	$(ENVIRONMENT) $(BIN)/slan-eval --workdir $(RUN) --task $* \
	  --output $(@D)

$(RUN)/calibration.json: $(RUN)/summary.json
	$(ENVIRONMENT) $(BIN)/slan-calibrate --workdir $(RUN)

tasks: setup
	@test -n "$(SCRATCH)" -o -f $(RUN)/summary.json || \
	  $(MAKE) --no-print-directory pretrain
	@$(MAKE) --no-print-directory \
	  $(foreach task,$(TASKS),$(TUNED)/$(task)/eval/$(task)/metrics.json) \
	  $(if $(SCRATCH),,$(ZERO_SHOT))
	$(BIN)/slan-tasks $(if $(SHOWN),--runs $(SCRATCH_RUNS),\
	  --runs $(TASK_RUNS) --scratch $(SCRATCH_RUNS)) \
	  --output $(if $(SHOWN),$(SCRATCH_RUNS),$(TASK_RUNS))/report.html
	$(if $(filter $(ALL_SEEDS)-seed$(SEED),$(TASK_RUNS)),@$(TELL_SEEDS))

$(TUNED)/%/summary.json:
	$(BIN)/python -m data.prepare $(or $(DATA_$*),scenes) \
	  --out runs/data/$(or $(DATA_$*),scenes)
	$(ENVIRONMENT) $(BIN)/slan-train \
	  --config configs/finetune.py:$*$(if $(PRESET),$(comma)preset=$(PRESET)) \
	  --workdir $(@D) --config.data.dir=runs/data/$(or $(DATA_$*),scenes) \
	  $(START) $(if $(SEED),--config.seed=$(SEED))

define score_task
$(TUNED)/$(1)/eval/$(1)/metrics.json: $(TUNED)/$(1)/summary.json
	$$(ENVIRONMENT) $$(BIN)/slan-eval --workdir $(TUNED)/$(1) --task $(1) \
	  --output $$(@D)
endef
$(foreach task,$(TASKS),$(eval $(call score_task,$(task))))

# Never fine-tuned: the pre-trained run finds the clips.
$(TASK_RUNS)/video_retrieval/eval/video_retrieval/metrics.json:
	$(BIN)/python -m data.prepare scenes_clips --out runs/data/scenes_clips
	$(ENVIRONMENT) $(BIN)/slan-eval --workdir $(RUN) --task video_retrieval \
	  --data runs/data/scenes_clips --output $(@D)

# Before it was fine-tuned, on the data of those that were.
$(TASK_RUNS)/zeroshot/eval/%/metrics.json:
	$(BIN)/python -m data.prepare scenes --out runs/data/scenes
	$(ENVIRONMENT) $(BIN)/slan-eval --workdir $(RUN) --task $* \
	  --data runs/data/scenes --output $(@D)

# make pretrain has scored this, unless on other data, or the run is another's.
ifeq ($(SCENES) $(origin RUN),runs/data/scenes file)
$(TASK_RUNS)/zeroshot/eval/grounding/metrics.json: \
    $(RUN)/eval/grounding/metrics.json
	@mkdir -p $(@D)
	cp -R $(<D)/. $(@D)
endif

test: setup-test lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Kills twenty runs at random moments: make test kills three.
test-faults: setup-test
	SLAN_KILLS=20 $(BIN)/python -m pytest tests/faults/test_kills.py

test-beam: .venv-beam/setup.stamp
	.venv-beam/bin/python -m pytest -W default tests/data/test_pipeline.py

.venv-beam/setup.stamp: requirements.lock requirements-test.lock \
    requirements-beam.lock
	$(PYTHON) -m venv --clear .venv-beam
	.venv-beam/bin/python -m pip install $(PIP_FLAGS) --no-deps \
	  -r requirements.lock
	.venv-beam/bin/python -m pip install $(PIP_FLAGS) --no-deps \
	  -r requirements-test.lock
	.venv-beam/bin/python -m pip install $(PIP_FLAGS) --no-deps \
	  -r requirements-beam.lock
	@touch $@

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck launch/*.sh launch/*.sbatch .ci/run

setup: .venv/setup.stamp
setup-test: .venv/setup-test.stamp

.venv/venv.stamp:
	@test -n "$(PYTHON)" || { \
	  echo "No Python >= 3.11 found: install one, or say make PYTHON=..."; \
	  exit 2; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/setup.stamp: requirements.lock setup.py | .venv/venv.stamp
	@echo "Installing the locked packages into .venv ..."
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps -r requirements.lock
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@

.venv/setup-test.stamp: requirements-test.lock .venv/setup.stamp
	@echo "Installing the test packages, torch among them ..."
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps -r requirements-test.lock
	$(BIN)/python -m pip install $(PIP_FLAGS) $(TORCH)
	@touch $@

bench-setup: .venv-bench/setup.stamp

.venv-bench/setup.stamp: requirements.lock benchmarks/requirements.txt setup.py
	$(PYTHON) -m venv --clear .venv-bench
	@echo "Installing the peers into .venv-bench (about 5 GB) ..."
	$(BENCH_BIN)/python -m pip install $(PIP_FLAGS) --no-deps -r requirements.lock
	$(BENCH_BIN)/python -m pip install $(PIP_FLAGS) -c requirements.lock \
	  -r benchmarks/requirements.txt
	$(BENCH_BIN)/python -m pip install $(PIP_FLAGS) --no-deps \
	  --no-build-isolation -e .
	@touch $@

bench: bench-setup
	@mkdir -p runs/bench
	$(BENCH_BIN)/python -m benchmarks.neighbours \
	  --output runs/bench/neighbours.json
ifdef SOURCE
	$(BENCH_BIN)/python -m benchmarks.input --source $(SOURCE) --repeats 5 \
	  --output runs/bench/input.json
endif

clean:
	rm -rf .venv .venv-beam .venv-bench runs build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
