# make run     everything on this machine, with a demo shop (DEMO=0 without)
# make test    the whole suite but what is marked slow; TEST_DATABASE=postgresql: on a PostgreSQL of its own
# make check   linters, types, templates, deploy settings, migrations
# make bench   figures (some: BENCH="--only ingest --jobs 20000"); make screenshots: the pictures in docs/
# make lock    the locks anew from the .in files (uv is installed from PyPI)
#
# PYTHON=… chooses the Python that .venv is made from; else the newest suitable one is taken.

SHELL := /bin/sh
BIN := .venv/bin
DEMO ?= 1
TEST_DATABASE ?= sqlite
# Tests wait more than they work, so two run at a time; each of the two has its own Redis and database.
TEST_PROCESSES ?= 2
PYTEST ?=
BENCH ?=

.PHONY: run test slow-test check bench screenshots lock

run:
	@sh scripts/make-environment run
	@DEMO=$(DEMO) exec $(BIN)/python manage.py up

test:
	@sh scripts/make-environment test
	@TEST_DATABASE=$(TEST_DATABASE) exec $(BIN)/python -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadfile $(PYTEST)

slow-test:
	@sh scripts/make-environment test
	@TEST_DATABASE=$(TEST_DATABASE) exec $(BIN)/python -m pytest -m slow --timeout 1200 -n $(TEST_PROCESSES) --dist loadfile $(PYTEST)

check:
	@sh scripts/make-environment test
	@BIN=$(BIN) sh scripts/check

bench:
	@sh scripts/make-environment test
	@sh scripts/make-environment bench
	@exec $(BIN)/python -m benchmarks $(BENCH)

screenshots:
	@sh scripts/make-environment test
	@exec $(BIN)/python scripts/screenshots.py

lock:
	@sh scripts/make-environment run
	@$(BIN)/python scripts/lock.py
