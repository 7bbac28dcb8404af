# What development needs. Each target works from a fresh clone; `make check` is what CI runs.
PYTHON ?= python3
BIN = .venv/bin

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

install: .venv/ready

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The package is the root folder, whatever that is called; mypy finds it by its name through a link.
types: .venv/ready
	link=$$(mktemp -d) && ln -s "$(CURDIR)" $$link/nettrain && cd $$link && \
	"$(CURDIR)/$(BIN)/mypy" --config-file nettrain/pyproject.toml --no-namespace-packages -p nettrain

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) types
	$(BIN)/pytest

versions:
	.ci/versions

build: .venv/ready
	$(BIN)/pip wheel -q --no-deps -w dist .

bench: .venv/ready
	$(BIN)/pip install -q -e '.[bench]'
	$(BIN)/python benchmarks/side_by_side.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/zoo.py

.PHONY: bench install format types check versions build
