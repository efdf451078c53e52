# make run      a whole night on the bundled ml-latest-small (CONF=… for another situation, ARGS='train.dim=64' to override)
# make test     linters, types, import contracts, tests (PYTEST_ARGS='-k audit' to choose)
# make test-extended  what changes seldom or takes long: a real cluster, full disks, benchmarks, the search, calibrations,
#               training by two workers, kills; an audit of the packages and dbt, where an index is reachable
# make faults   200 kills, 50 publishes under readers, 100,000 damaged lines of each kind of source, 1,000 damaged
#               configurations; make test has short ones of them
# make bench    the side-by-side measurements (NAMES='nightly' for one of them)
# make docs     conf/nightly.yaml, its JSON schema and docs/configuration.md, from the settings classes
# make site     dist/site: the pages of docs/, with screenshots of a night's report; it loads nothing from other hosts
# make package  dist/: the wheel, and a packed environment for a cluster's executors (EXTRAS=executor,train: with torch)
# make setup    installs what a night needs into .venv; the targets above do this too, and repeat it only if
#               pyproject.toml or requirements.lock has changed
# make lock     writes the newest versions that pyproject.toml allows into requirements.lock
# make clean    removes .venv, builds and caches, but not the lake

PYTHON ?= python3
CONF ?= conf/ml-latest-small.yaml
NAMES ?= nightly train
EXTRAS ?= executor

BIN := .venv/bin
PIP_ONLY := install --disable-pip-version-check -qq
PIP_INSTALL := -m pip $(PIP_ONLY)
# Installs like PIP_INSTALL, and tells each download with its size; the rest of pip's words are in .venv/pip.log.
pip_told = { $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off $(1) 2>&1; echo $$? > .venv/.status; } \
	| tee .venv/pip.log | awk '/^ *Downloading / && !/\.metadata/ { printf "  %d. %s %s %s\n", ++n, $$2, $$3, $$4 } \
	/^Installing collected/ { print "  installing " NF - 3 " packages" } /^ERROR/ { print } { fflush() }' >&2; \
	exit $$(cat .venv/.status)
RUN_EXTRAS := spark,train,retrieve,store,warehouse,report,fetch
TEST_EXTRAS := bench,connect,tune,delta,iceberg,postgres,store,observe,dev
TEST_DEBIAN := postgresql libpostgresql-jdbc-java chromium chromium-driver

comma := ,
PACKED_ENV := .venv-$(subst $(comma),-,$(EXTRAS))
# Tools that work beside kgspark, each with packages that must not decide the versions of ours. Version 1.12 of dbt-core
# needs a parser that no index has.
OTHERS := audit dbt mlflow airflow dagster
AUDIT := pip-audit
DBT := 'dbt-core>=1.10.5,<1.12' dbt-duckdb
MLFLOW := 'mlflow-skinny>=3' numpy psutil pyarrow pyyaml pydantic rich typer
AIRFLOW := 'apache-airflow>=3'
DAGSTER := dagster

PACKED := dist/kgspark-$(subst $(comma),-,$(EXTRAS)).tar.gz
SOURCES := pyproject.toml $(shell find src -name '*.py' -o -name '*.properties' -o -path '*/templates/*') \
	$(wildcard conf/*.* tests/data/ml-latest-small/*)

.DEFAULT_GOAL := help
.PHONY: help setup setup-test run test test-extended faults bench docs site package lock clean

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

setup: .venv/.run
setup-test: .venv/.test

run: .venv/.run
	@$(BIN)/kgspark nightly $(CONF) $(ARGS)

test: .venv/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-extended: .venv/.test .venv/.jars $(PACKED_ENV)/.installed $(OTHERS:%=.venv-%/.tried)
	$(BIN)/pytest -m extended $(PYTEST_ARGS)

faults: .venv/.test
	KGSPARK_FAULTS=full $(BIN)/pytest -m faults $(PYTEST_ARGS)

bench: .venv/.test
	@for name in $(NAMES); do $(BIN)/kgspark bench $$name --json || exit 1; done

docs: .venv/.run
	@$(BIN)/python -m kgspark.settings_docs

package: $(PACKED)

site: .venv/.test
	@rm -rf dist/images
	@$(BIN)/kgspark nightly conf/ml-latest-small.yaml lake=dist/lake > dist/site.log 2>&1 && \
		$(BIN)/python docs/report_images.py $$(ls -t dist/lake/runs/*/report.html | head -n 1) dist/images || \
		echo "No screenshots of the report: $$(tail -n 1 dist/site.log)" >&2
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kgspark needs Python 3.11 or newer; choose one with: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.run: .venv/.created pyproject.toml requirements.lock
	@echo "Setting up .venv, step 1 of 2: Spark, torch, tgraphx, FAISS (several GB, some minutes the first time)" >&2
	@$(call pip_told,-c requirements.lock -e '.[$(RUN_EXTRAS)]')
	@echo "Setting up .venv, step 2 of 2: recording Spark's classes, so that every later start takes seconds less (about a minute, once)" >&2
	@KGSPARK_RECORD_CLASSES=1 $(BIN)/kgspark nightly conf/ml-latest-small.yaml lake=.venv/lake train.epochs=1 \
		publish.beat_popularity=false > .venv/recording.log 2>&1 \
		|| echo "No archive of classes: $$(tail -n 1 .venv/recording.log)" >&2
	@rm -rf .venv/lake
	@touch $@

.venv/.test: .venv/.run
	@echo "Setting up .venv for tests and benchmarks" >&2
	@$(call pip_told,-c requirements.lock -e '.[$(TEST_EXTRAS)]')
	@dpkg --status $(TEST_DEBIAN) >/dev/null 2>&1 || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(TEST_DEBIAN); } > .venv/apt.log 2>&1 || \
		echo "Not installed: $(TEST_DEBIAN). Tests that need them are skipped ($$(tail -n 1 .venv/apt.log))" >&2
	@touch $@

# Spark's connector for S3, out of a large wheel, for the tests of a cluster whose lake is in a store.
.venv/.jars: .venv/.test
	@$(BIN)/python -m pip download -qq --disable-pip-version-check --no-deps --dest .venv/wheel \
		bodo-iceberg-connector==2026.10 && PYTHONPATH=tests $(BIN)/python tests/s3a.py .venv/wheel/bodo_*.whl || \
		echo "No index: the connector for S3 is not tested" >&2
	@rm -rf .venv/wheel
	@touch $@

# Without an index, the tests that need such a tool are skipped.
.venv-audit/.tried: PACKAGES = $(AUDIT)
.venv-dbt/.tried: PACKAGES = $(DBT)
.venv-mlflow/.tried: PACKAGES = $(MLFLOW)
.venv-airflow/.tried: PACKAGES = $(AIRFLOW)
.venv-dagster/.tried: PACKAGES = $(DAGSTER)
$(OTHERS:%=.venv-%/.tried): .venv/.created requirements.lock
	@echo "Setting up $(@D)" >&2
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python $(PIP_INSTALL) $(PACKAGES) || echo "No index: tests that need $(@D) are skipped" >&2
	@touch $@

# Building the wheel needs neither Spark nor torch, so they are not installed here.
.venv/.pack: .venv/.created requirements.lock
	@$(BIN)/python $(PIP_INSTALL) -c requirements.lock build setuptools venv-pack
	@touch $@

# Files that setuptools left from an earlier build would go into the wheel, even modules that were removed since.
dist/.wheel: .venv/.pack $(SOURCES)
	@rm -rf build dist/kgspark-*.whl
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist . > .venv/wheel.log 2>&1 || \
		{ cat .venv/wheel.log >&2; exit 1; }
	@touch $@

# Packages change seldom and take long to install, so they are kept; only the wheel is installed again per archive.
$(PACKED_ENV)/.installed: pyproject.toml requirements.lock | dist/.wheel
	@echo "Setting up $(PACKED_ENV) for a cluster's executors" >&2
	@$(BIN)/python -m venv --clear --without-pip $(PACKED_ENV)
	@$(BIN)/python -m pip --python $(PACKED_ENV) $(PIP_ONLY) -c requirements.lock "$$(ls dist/kgspark-*.whl)[$(EXTRAS)]"
	@touch $@

$(PACKED): $(PACKED_ENV)/.installed dist/.wheel
	@$(BIN)/python -m pip --python $(PACKED_ENV) $(PIP_ONLY) --no-deps --force-reinstall dist/kgspark-*.whl
	@$(BIN)/venv-pack --quiet --force --compress-level 1 --prefix $(PACKED_ENV) --output $@ \
		--exclude '*/pandas/tests/*' --exclude '*/pyarrow/tests/*'
	@chmod 644 $@
	@ls -sh dist/kgspark-*.whl $@

# A fresh environment without constraints contains exactly the packages that pyproject.toml needs.
lock:
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python $(PIP_INSTALL) -e '.[$(RUN_EXTRAS),$(TEST_EXTRAS)]'
	{ sed -n '/^#/p' requirements.lock; \
		.venv-lock/bin/python -m pip freeze --all --exclude-editable --exclude pip; } > .venv-lock/requirements.lock
	mv .venv-lock/requirements.lock requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-* build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache spark-warehouse metastore_db derby.log
	find src tests jobs -name __pycache__ -type d -prune -exec rm -rf {} +
