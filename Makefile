# Everything runs in .venv, which is made anew when the dependencies change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo serve test test-all check docs bench torture mutants format clean

demo: $(READY)  ## run the samples as concurrent audits and show what the store kept
	$(BIN)/veritas-peewee demo
	@echo "make serve shows it in a browser"

serve: $(READY)  ## show what the demo has stored in a browser
	$(BIN)/veritas-peewee serve --open

test: check  ## every check and every test
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: check  ## the tests with all their cases, of which `make test` runs some (20 minutes)
	VERITAS_TESTS=all $(BIN)/python -m pytest -n 2 --dist loadfile

check: docs  ## format, lint, types, floors, the guide
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## the guide as HTML, in build/docs; its examples are run by the tests
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs

bench: .venv/.bench  ## measure the store against its peers (a few minutes)
	$(BIN)/python -m benchmarks

torture: $(READY)  ## kill, cut the power, fill the disk, flip bytes; root for some (20 minutes)
	$(BIN)/python -m torture

mutants: $(READY)  ## change the code in small ways, and see that the tests notice (an hour)
	$(BIN)/python -m mutants --promises
	$(BIN)/python -m mutants

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[cli,docs,test,web]' --constraint constraints.txt
	touch $@

.venv/.bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[bench]' --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
