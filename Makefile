# `make demo` and `make test`, each alone, set everything up on a fresh clone.
SHELL := /bin/bash
UV := $(shell command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1 && echo uv || echo .tools/uv/bin/uv)
RUN := $(UV) run --no-sync
DEMO ?= outputs/demo
# Compiled once, on installation: where PYTHONDONTWRITEBYTECODE is set, every command would compile torch anew.
export UV_COMPILE_BYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo check test wheel tiers mutants lint typecheck format docs reference results coverage clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.tools/uv/bin/uv: # a copy of uv of our own, where the machine has none that works
	@python3 -m venv .tools/uv && .tools/uv/bin/pip install --quiet uv

setup: $(if $(filter uv,$(UV)),,.tools/uv/bin/uv) ## install the locked environment into .venv; EXTRA=wandb adds an extra
	@$(UV) sync --quiet --locked --inexact $(addprefix --extra ,$(EXTRA))

demo: setup ## the whole pipeline on a synthetic hospital (about four minutes on two cores); then try clinragen demo --quick
	@$(RUN) clinragen demo --out $(DEMO) --overwrite

PYTEST := OMP_NUM_THREADS=1 $(RUN) pytest -q -n 2 --dist worksteal# one thread for each of two processes

check: setup ## the fast tests, while editing
	@$(PYTEST)

test: setup ## every test
	@$(PYTEST) --tier all

wheel: setup ## build the wheel into dist/; install and use it outside the checkout, without and with torch
	@UV=$(UV) $(RUN) python tools/check_wheel.py --out dist

tiers: setup ## measure again which tests are slow
	@$(PYTEST) --tier all --junitxml .pytest_cache/times.xml -o junit_duration_report=call
	@$(RUN) python tests/measure_tiers.py .pytest_cache/times.xml

mutants: setup ## mutation testing of modules by their own tests; MODULES="clinragen/data/series.py", SAMPLE=100
	@$(UV) sync --quiet --locked --inexact --group mutants
	@$(RUN) python tests/mutants.py --show $(addprefix --sample ,$(SAMPLE)) $(MODULES)

lint: setup ## style, import rules
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) lint-imports

typecheck: setup ## static types
	@$(RUN) pyright

format: setup ## rewrite files in the house style
	@$(RUN) ruff check --fix . ; $(RUN) ruff format .

docs: setup ## build the documentation site, strictly: outputs/documentation/site/index.html
	@$(RUN) python tools/documentation/pages.py outputs/documentation/pages
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --quiet --strict
	@echo "outputs/documentation/site/index.html"

reference: ## regenerate docs/modules.md
	@python3 tools/modules.py

results: setup ## run the experiments of docs/results.md again; OPTIONS="--data eicu-demo=PATH --minutes 5" (CONTRIBUTING.md)
	@$(RUN) python benchmarks/results.py $(OPTIONS)

coverage: setup ## tests with a coverage report
	@$(RUN) pytest -q --cov --cov-report=term-missing:skip-covered

clean: ## remove the environment, caches and outputs
	rm -rf .venv .tools .pytest_cache .ruff_cache .hypothesis outputs/*
