# Every target makes its own virtual environment below .venv/ and works on a fresh machine.

PYTHON ?= python3
PIP_FLAGS := --quiet --disable-pip-version-check -c constraints.txt
# One process a core, one thread each. (`python -m pytest` would put the folder on the path, and
# with it the .egg-info of the editable install, from which Inspect derives other names.)
PARALLEL := -n auto --dist loadfile
ONE_THREAD := OMP_NUM_THREADS=1
STAMPED := pyproject.toml constraints.txt

.PHONY: test test-all check bench clean

test: .venv/test/ready  ## all tests
	$(ONE_THREAD) .venv/test/bin/pytest $(PARALLEL) $(ARGS)

test-all:  ## all tests on each supported Python that this machine has
	@tested=0; for version in 3.11 3.12 3.13; do \
		python$$version -c 'import sys' 2>/dev/null || { echo "python$$version: not on this machine, skipped"; continue; }; \
		echo "== python$$version"; tested=1; \
		$(MAKE) --no-print-directory PYTHON=python$$version VENV=.venv/test-$$version test-version || exit 1; \
	done; test $$tested = 1 || { echo "none of Python 3.11, 3.12, 3.13 found" >&2; exit 1; }

.PHONY: test-version
test-version: $(VENV)/ready
	$(ONE_THREAD) $(VENV)/bin/pytest $(PARALLEL) $(ARGS)

check: .venv/check/ready  ## ruff and mypy --strict
	.venv/check/bin/ruff check .
	.venv/check/bin/ruff format --check .
	.venv/check/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	rm -rf build
	.venv/check/bin/mypy -p vlmguard

bench: .venv/bench/ready  ## speed, as ratios measured in one run
	@for script in tests/bench/*.py; do echo "== $$script"; .venv/bench/bin/python $$script || exit 1; done

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/%/ready: $(STAMPED)
	$(PYTHON) -m venv .venv/$*
	.venv/$*/bin/pip install $(PIP_FLAGS) -e '.[train,dev]'
	touch $@
