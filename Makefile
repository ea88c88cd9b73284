# `make` alone lists the targets. Every target installs what it needs, starting from nothing but python3 (3.11 to 3.13).
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(foreach v,python3 python3.12 python3.11 python3.13,$(if $(shell $(v) -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,14))' 2>/dev/null && echo yes),$(v))))
UV_VERSION := 0.13.8
UV := .venv/bin/uv
SYNC = UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --frozen --inexact --quiet

PORT ?= 8000
DATA_DIR ?= var
IMAGES ?=
OUTPUT ?=
PYTEST_WORKERS ?= 2
CHAOS ?=
FUZZ ?=
BENCH ?=

.PHONY: help setup setup-training run demo check test test-long bench screenshots chaos fuzz audit translations train secrets lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo
	@echo "  make run PORT=8000 DATA_DIR=var     make demo IMAGES=folder OUTPUT=results.csv"

setup: .venv/bin/uv ## Create or repair the environment in .venv (other targets do so when needed)
	$(SYNC)
	@touch .venv/.runtime

setup-training: .venv/bin/uv ## Install TensorFlow, which only training needs
	$(SYNC) --group training
	@touch .venv/.runtime

run: .venv/.runtime ## Serve on 127.0.0.1 (PORT, DATA_DIR)
	@exec .venv/bin/pneumoscreen serve --port $(PORT) --data-dir "$(DATA_DIR)"

demo: .venv/.runtime ## Screen the synthetic samples, or IMAGES=folder, and print the table (OUTPUT=file.csv)
	@.venv/bin/pneumoscreen demo $(if $(IMAGES),--images "$(IMAGES)") $(if $(OUTPUT),--output "$(OUTPUT)")

check: .venv/.development ## Check lint, format, types, import contracts, lock file and known vulnerabilities
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(UV) lock --check --quiet
	.venv/bin/python -m fuzz.dependencies

# Tests start hundreds of servers and commands. Where the environment forbids Python to write bytecode, as container
# images do, each of them would compile a thousand modules again (3 s).
test test-long: export PYTHONDONTWRITEBYTECODE :=

test: .venv/.development ## Run all tests but the slow ones, with a browser and real servers
	.venv/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not lab and not long"

test-long: .venv/.development ## Run the slow tests: training, and servers that hang, stop or run under load
	.venv/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "lab or long"

bench: .venv/.development benchmarks/peers/.venv/.ready ## Benchmark this machine, PneumoScreen and its peers (BENCH="--quick", BENCH=report)
	.venv/bin/python -m benchmarks $(BENCH)

screenshots: .venv/.development ## Retake the screenshots in the README (needs Chromium on the PATH)
	.venv/bin/python -m benchmarks.screenshots

chaos: .venv/.development ## Start a real stack, inject faults and account for every image (CHAOS="--quick --stack embedded")
	.venv/bin/python -m chaos $(CHAOS)

fuzz: .venv/.development ## Send 10,000 hostile files and hostile requests, and report the results (FUZZ="--files 1000 --seed 2")
	.venv/bin/python -m fuzz $(FUZZ)

audit: .venv/.development ## Look up known vulnerabilities of the locked dependencies, if a package index answers
	.venv/bin/python -m fuzz.dependencies

translations: .venv/.development ## Update the catalogs in shared/languages/translations with the texts of the pages
	.venv/bin/python -m web.languages.collect

train: setup-training ## Train the default model on ../shared/data/chest_xray/train
	.venv/bin/pneumoscreen train

secrets: ## Generate the secrets for docker-compose.yml, unless they exist
	@$(PYTHON) cli/serving/compose_secrets.py secrets

lock: .venv/bin/uv ## Update uv.lock after a change to pyproject.toml
	$(UV) lock

clean: ## Remove the environment and all caches, but no data
	rm -rf .venv benchmarks/peers/.venv benchmarks/peers/mlserver/.venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv/bin/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and was not found. Set PYTHON=/path/to/python3."; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"

.venv/.runtime: pyproject.toml uv.lock | .venv/bin/uv
	$(SYNC)
	@touch $@

benchmarks/peers/.venv/.ready: benchmarks/peers/pyproject.toml benchmarks/peers/uv.lock | .venv/bin/uv
	$(UV) sync --frozen --quiet --project benchmarks/peers
	UV_PROJECT_ENVIRONMENT=mlserver/.venv $(UV) sync --frozen --quiet --project benchmarks/peers --no-default-groups --group mlserver
	@touch $@

.venv/.development: pyproject.toml uv.lock | .venv/bin/uv
	$(SYNC) --all-groups --no-group gpu
	@touch $@ .venv/.runtime
