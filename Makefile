# One command each; everything it needs is installed by itself into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Images set this to stay small; here every process of hundreds would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=
# As pip does: networks that look into TLS have an authority of their own, which the system knows and uv does not.
export UV_SYSTEM_CERTS ?= 1

.PHONY: demo test check bench format clean

demo: .venv/.runtime  ## the main job with nothing configured: emulator, daemon, signed webhooks
	@$(BIN)/omics-poller demo

test: $(INSTALLED)  ## everything that CI runs: format, lint, types, import layers, all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -n 4 --dist worksteal

check: $(INSTALLED)  ## what one runs all day: all but the tests that start servers and commands
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -q -m "not service"

format: $(INSTALLED)  ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)  ## measure ourselves against the alternatives, in one run
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.uv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	@touch $@

.venv/.runtime: .venv/.uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --constraint constraints.txt --editable .
	@touch $@

$(INSTALLED): .venv/.runtime
	$(BIN)/uv pip install --quiet --compile-bytecode --constraint constraints.txt --editable ".[testing]" --group dev
	@touch $@
