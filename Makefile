# `make` alone prints what there is. Every target brings about what it needs, from nothing but python3 (3.11 to 3.13).
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

help: ## Print what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo
	@echo "  make run PORT=8000 DATA_DIR=var     make demo IMAGES=folder OUTPUT=results.csv"

setup: .venv/bin/uv ## Make or mend the environment in .venv (every other target makes it by itself)
	$(SYNC)
	@touch .venv/.runtime

setup-training: .venv/bin/uv ## Add what training needs (TensorFlow)
	$(SYNC) --group training
	@touch .venv/.runtime

run: .venv/.runtime ## Serve on 127.0.0.1 (PORT, DATA_DIR)
	@exec .venv/bin/pneumoscreen serve --port $(PORT) --data-dir "$(DATA_DIR)"

demo: .venv/.runtime ## Screen the synthetic samples, or IMAGES=folder, and print the table (OUTPUT=file.csv)
	@.venv/bin/pneumoscreen demo $(if $(IMAGES),--images "$(IMAGES)") $(if $(OUTPUT),--output "$(OUTPUT)")

check: .venv/.development ## Lint, format, types, import contracts, lock file, known vulnerabilities
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(UV) lock --check --quiet
	.venv/bin/python -m fuzz.dependencies

# Tests start hundreds of servers and commands, and each would compile a thousand modules again (3 s) where the
# environment forbids Python to keep what it compiled, as container images do.
test test-long: export PYTHONDONTWRITEBYTECODE :=

test: .venv/.development ## Run every test but the long ones, browser and real servers included
	.venv/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not lab and not long"

test-long: .venv/.development ## Run what takes long: the training lab, and servers that hang, stop or run under load
	.venv/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "lab or long"

bench: .venv/.development benchmarks/peers/.venv/.ready ## Measure machine, system and peers against every target (BENCH="--quick", BENCH=report)
	.venv/bin/python -m benchmarks $(BENCH)

screenshots: .venv/.development ## Take the pictures of the README anew (Chromium on the PATH)
	.venv/bin/python -m benchmarks.screenshots

chaos: .venv/.development ## Hurt the real stack while it screens and account for every image (CHAOS="--quick --stack embedded")
	.venv/bin/python -m chaos $(CHAOS)

fuzz: .venv/.development ## Send 10,000 hostile files and hostile requests, print what became of them (FUZZ="--files 1000 --seed 2")
	.venv/bin/python -m fuzz $(FUZZ)

audit: .venv/.development ## Look up known vulnerabilities of the locked dependencies, where an index answers
	.venv/bin/python -m fuzz.dependencies

translations: .venv/.development ## Collect the texts of the pages into the catalogs of shared/languages/translations
	.venv/bin/python -m web.languages.collect

train: setup-training ## Train the default model on ../shared/data/chest_xray/train
	.venv/bin/pneumoscreen train

secrets: ## Make the random secrets that docker-compose.yml reads, once
	@$(PYTHON) cli/serving/compose_secrets.py secrets

lock: .venv/bin/uv ## Write uv.lock anew after a change of pyproject.toml
	$(UV) lock

clean: ## Remove the environment and every cache; data folders stay
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
