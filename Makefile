# Every target makes its own virtual environment below .venv/ and works on a fresh machine.

PYTHON ?= python3
PIP_FLAGS := --quiet --disable-pip-version-check -c constraints.txt
# One process a core, one thread each.
PARALLEL := -n auto --dist loadfile
ONE_THREAD := OMP_NUM_THREADS=1
# A tiny model has nothing for a second thread to do, and nothing to fetch.
TINY := $(ONE_THREAD) HF_HUB_OFFLINE=1
GATED := tasks/microworld.py --solver vlmguard --temperature 0 --seed 0 --log-dir logs/gate --display plain \
	--no-log-realtime --no-score-display
STAMPED := pyproject.toml constraints.txt

.PHONY: help test test-all test-integrations check pyright dist bench bench-gpu demo matrix baseline gate readme screenshot clean

test: .venv/test/ready  ## all tests
	$(ONE_THREAD) .venv/test/bin/pytest $(PARALLEL) $(ARGS)

test-all:  ## all tests on each supported Python that this machine has
	@tested=0; for version in 3.11 3.12 3.13; do \
		python$$version -c 'import sys' 2>/dev/null || { echo "python$$version: not on this machine, skipped"; continue; }; \
		echo "== python$$version"; tested=1; \
		$(MAKE) --no-print-directory PYTHON=python$$version VENV=.venv/test-$$version test-version || exit 1; \
	done; test $$tested = 1 || { echo "none of Python 3.11, 3.12, 3.13 found" >&2; exit 1; }

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*  ## /\1	/p' Makefile | expand -t 20

.PHONY: test-version
test-version: $(VENV)/ready
	$(ONE_THREAD) $(VENV)/bin/pytest $(PARALLEL) $(ARGS)

test-integrations: .venv/integrations/ready  ## those with a real LiteLLM gateway and LangChain
	$(ONE_THREAD) .venv/integrations/bin/python -m pytest tests/integrations $(ARGS)

check: .venv/check/ready  ## ruff, import contracts and mypy --strict, on the working tree
	.venv/check/bin/ruff check .
	.venv/check/bin/ruff format --check .
	.venv/check/bin/lint-imports --no-cache --no-logo
	.venv/check/bin/mypy -p vlmguard

pyright: .venv/check/ready  ## what an editor says of the types
	.venv/check/bin/pip install $(PIP_FLAGS) 'pyright[nodejs]'
	.venv/check/bin/pyright --pythonpath .venv/check/bin/python

# Left behind, `inspect list tasks` would read the copies in build/.
dist: .venv/check/ready  ## sdist and wheel
	.venv/check/bin/python -m build
	rm -rf build src/vlmguard.egg-info

bench: .venv/bench/ready  ## speed, as ratios measured in one run: docs/benchmarks.md
	.venv/bench/bin/python tests/support/benchmarks.py $(ARGS)

# Without a network, on a machine's own torch: WHEELS=FOLDER, see the top of the script.
bench-gpu: $(if $(WHEELS),,.venv/bench/ready)  ## a 7B model on one GPU, at most 8 minutes
	PYTHON=$(if $(WHEELS),$(PYTHON),.venv/bench/bin/python) WHEELS=$(WHEELS) tests/bench/gpu.sh $(ARGS)

demo: .venv/demo/ready  ## the microworld: all defenses on one target, ends in a leaderboard page
	$(TINY) .venv/demo/bin/vlmguard microworld demo $(ARGS)

matrix: .venv/demo/ready  ## the same on five targets, at two levels of competence
	$(TINY) .venv/demo/bin/vlmguard microworld matrix $(ARGS)

# Two runs that agree sample by sample make the baseline deterministic: no loss needs a proof then.
baseline: .venv/test/ready  ## renew the baseline of the gate, after a change for the better
	rm -rf logs/gate
	$(TINY) .venv/test/bin/inspect eval $(GATED)
	$(TINY) .venv/test/bin/inspect eval $(GATED)
	.venv/test/bin/vlmguard gate logs/gate --baseline results/baseline.json.gz --update

gate: .venv/test/ready  ## fail if the microworld got worse than the baseline
	rm -rf logs/gate
	$(TINY) .venv/test/bin/inspect eval $(GATED)
	.venv/test/bin/vlmguard gate logs/gate --baseline results/baseline.json.gz

readme: .venv/test/ready  ## the pages' tables: benchmarks and defenses from their cards, docs/scale.md's
	.venv/test/bin/python -m vlmguard.results.catalogue README.md $(wildcard docs/*.md)
	.venv/test/bin/python -m vlmguard.results.scale docs/scale.md

screenshot: demo .venv/test/ready  ## the front page's picture of the board; needs Chromium
	.venv/test/bin/python tests/docs/screenshot.py logs/microworld-demo/leaderboard.html

clean:
	rm -rf .venv build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache

# No training and no tools for development: half the packages of the others.
.venv/demo/ready: $(STAMPED)
	@echo "installing into .venv/demo: some minutes"
	$(PYTHON) -m venv .venv/demo
	.venv/demo/bin/pip install $(PIP_FLAGS) -e .
	touch $@

# The packages of .venv/test are looked up there: a second copy of torch would be most of the time.
.venv/integrations/ready: .venv/test/ready tests/integrations/requirements.txt
	.venv/test/bin/python -m venv --without-pip .venv/integrations
	.venv/test/bin/python tests/integrations/borrow.py .venv/integrations
	.venv/integrations/bin/python -m pip install $(PIP_FLAGS) -r tests/integrations/requirements.txt
	touch $@

.venv/%/ready: $(STAMPED)
	@echo "installing into .venv/$*: some minutes"
	$(PYTHON) -m venv .venv/$*
	.venv/$*/bin/pip install $(PIP_FLAGS) -e '.[train,ray,dev]'
	touch $@
