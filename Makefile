# `make lab` opens the course, `make test` runs every check; both set up .venv first, and skip that when nothing changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB := $(VENV)/.lab-installed
SITE := $(VENV)/.site-installed
DEV := $(VENV)/.dev-installed

.PHONY: help lab check test notebooks site bench gpu figures clean
.DEFAULT_GOAL := help

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F '|' '{ printf "%-16s %s\n", $$1, $$2 }'

lab: $(LAB) ## Open the course in JupyterLab.
	@$(BIN)/lnlib lab

# One thread a process: two workers with two threads each would fight for two cores.
check test: export OMP_NUM_THREADS = 1
check: $(DEV) ## Lint, format, types and the quick unit tests, in three minutes.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -m "not slow" tests/unit

test: $(DEV) ## Lint, format, types, unit tests, every notebook, browser tests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@browser=$$($(BIN)/python scripts/ensure_browser.py) && export BROWSER_PATH="$$browser" && set -x && \
	$(BIN)/pytest -n 2 tests/unit && \
	ATEN_CPU_CAPABILITY=default $(BIN)/pytest -n 2 -m rounding tests/unit && \
	$(BIN)/pytest -n 2 --dist loadfile --nbval-lax --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks && \
	$(BIN)/pytest tests/browser

notebooks: $(DEV) ## Run all lessons and save them with their outputs.
	$(BIN)/python scripts/save_notebooks.py

site: $(SITE) ## Build the course as a web site that opens from its folder, build/site.
	$(BIN)/python -m website

bench: $(DEV) ## Measure speed and memory; one table, also as JSON.
	$(BIN)/python -m tests.benchmarks

gpu: $(DEV) ## On a CUDA machine: test every method there, run the lessons, measure; writes tests/gpu/results.
	$(BIN)/python -m tests.gpu

figures: $(LAB) ## Regenerate all figures on the bundled digits.
	$(BIN)/lnlib figures

clean: ## Remove the environment, caches and built files; runs, figures and data stay.
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is what a half-made environment lacks, so an interrupted set-up starts again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("lnlib needs Python 3.11 or newer, got %d.%d; name a newer one: make lab PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)

$(LAB): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install -c constraints.txt -e ".[lab]"
	@touch $@

$(SITE): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install -c constraints.txt -e ".[site]"
	@touch $(LAB) $@

# What the tests need includes what the course and the site need.
$(DEV): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install -c constraints.txt -e ".[dev]"
	@touch $(LAB) $(SITE) $@
