# Everything runs in .venv, which is made anew when the dependencies change; with another Python, as
# in `make PYTHON=python3.13 test`, in a folder of its own.
PYTHON ?= python3
PYTHONS ?= python3.11 python3.12 python3.13
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The same with PyPI's pysqlite3, whose SQLite is newer than most Pythons' own.
NEW := $(VENV)-sqlite/bin
NEW_READY := $(VENV)-sqlite/.ready
# An environment of its own, as large as all the rest: pandas, polars, DuckDB, Datasette.
TOOLS := .venv-tools/.ready
TESTS = -m pytest -n 2 --dist loadfile --no-loadscope-reorder
DIFFERENT = tests/catalog tests/migrations/test_both_sqlites.py \
	tests/maintenance/test_lacking_means.py tests/maintenance/test_prune_undated.py \
	tests/queries/test_odd_stored_values.py tests/store/test_refused_commits.py -k "not server"

.PHONY: audit demo serve test test-all test-installed test-sqlite test-sqlite-quick test-pythons \
	test-without-posix tools check docs bench torture torture-sqlite mutants format clean

demo: $(READY)  ## run the samples as concurrent audits and show what the store kept
	$(BIN)/veritas-peewee demo
	@echo "make serve shows it in a browser"

serve: $(READY)  ## show what the demo has stored in a browser
	$(BIN)/veritas-peewee serve --open

# Where bytecode is not kept, every worker and every child process compiles all that it imports.
test test-all: export PYTHONDONTWRITEBYTECODE =

test: check  ## every check and every test
	$(BIN)/python $(TESTS)

test-all: check  ## the tests with all their cases, of which `make test` runs some (20 minutes)
	VERITAS_TESTS=all $(BIN)/python $(TESTS)

# The sdist is unpacked, the wheel made of it, and the tests find the package where that installs it.
test-installed: $(READY)  ## every test with the package as the wheel of the sdist installs it
	rm -rf build/installed dist
	$(BIN)/python -m build --outdir dist .
	mkdir -p build/installed
	tar -xzf dist/*.tar.gz -C build/installed --strip-components 1
	rm -r build/installed/veritas_peewee
	$(PYTHON) -m venv build/installed/.venv
	build/installed/.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		"$$(ls dist/*.whl)[cli,docs,test,web]" --constraint constraints.txt
	ln -s "$$(build/installed/.venv/bin/python -c 'import sysconfig; \
		print(sysconfig.get_path("purelib"))')/veritas_peewee" build/installed/veritas_peewee
	cd build/installed && .venv/bin/python $(TESTS)

test-sqlite: $(NEW_READY)  ## every test with the SQLite of PyPI's pysqlite3
	$(NEW)/python $(TESTS)

test-sqlite-quick: $(NEW_READY)  ## those tests that have found differences (a minute)
	$(NEW)/python $(TESTS) $(DIFFERENT)

test-pythons:  ## every test with each of several Pythons: make test-pythons PYTHONS="python3.12 …"
	set -e; for python in $(PYTHONS); do \
		$(MAKE) PYTHON=$$python .venv-$$(basename $$python)/.ready; \
		.venv-$$(basename $$python)/bin/python $(TESTS); \
	done

tools: $(TOOLS)  ## what people open the file with; once it is there, the tests try it (750 MB)

test-without-posix: $(READY)  ## the tests on Linux with what only POSIX has taken away (20 minutes)
	PYTHONPATH=tests/windows_simulated $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -k "not server"

# Strict, for with no answer about a package it would say that nothing is known against it.
audit:  ## whether anything is known against the pinned versions; asks a service on the internet
	$(PYTHON) -m venv --clear .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	.venv-audit/bin/pip-audit --strict --require-hashes --disable-pip \
		--requirement requirements-hashed.txt

check: docs  ## format, lint, types, floors, the guide
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 veritas_peewee
	$(BIN)/lint-imports

docs: $(READY)  ## the guide as HTML, in build/docs; its examples are run by the tests
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs

bench: $(VENV)/.bench  ## measure the store against its peers (a few minutes)
	$(BIN)/python -m benchmarks

torture: $(READY)  ## kill, cut the power, fill the disk, flip bytes; root for some (20 minutes)
	$(BIN)/python -m torture

torture-sqlite: $(NEW_READY)  ## the same with the SQLite of PyPI's pysqlite3
	$(NEW)/python -m torture

mutants: $(READY)  ## change the code in small ways, and see that the tests notice (an hour)
	$(BIN)/python -m mutants --promises
	$(BIN)/python -m mutants

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@test ! -L $(VENV) || { echo "$(VENV) is a link, and what it leads to would be emptied:" \
		"remove the link, or give make a VENV of its own" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[cli,docs,test,web]' --constraint constraints.txt
	touch $@

# What is installed already is not installed again.
$(NEW_READY): $(READY)
	$(BIN)/python -m venv --clear $(VENV)-sqlite
	$(NEW)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[sqlite]' --constraint constraints.txt
	$(BIN)/python -c 'import sys, sysconfig; \
		print(f"import site; site.addsitedir({sysconfig.get_path(sys.argv[1])!r})")' purelib \
		> "$$($(NEW)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rest.pth"
	for program in pytest uvicorn; do \
		sed '1s|.*|#!$(abspath $(NEW))/python|' $(BIN)/$$program > $(NEW)/$$program; \
		chmod +x $(NEW)/$$program; \
	done
	touch $@

$(TOOLS): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-tools
	.venv-tools/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[cli,tools]' --constraint constraints.txt
	touch $@

$(VENV)/.bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[bench]' --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv .venv-* build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
