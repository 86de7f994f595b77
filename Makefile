VENV ?= .venv
PY   := $(VENV)/bin/python
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv engine demo test check bench clean

help: ## these lines
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml
	@bash scripts/python.sh
	@echo "venv: installing rackctl and its tools into $(VENV)"
	@python3 -m venv $(VENV)
	@$(PY) -m pip install -q -e '.[dev]'
	@touch $@

venv: $(VENV)/.ready ## a virtual environment with rackctl in it

engine: ## a working Docker engine and the base image
	@bash scripts/engine.sh
	@bash scripts/base-image.sh

demo: venv engine ## two virtual machines, power-off to check-in, with their timelines; then two behind BMCs
	@bash scripts/demo.sh

check: venv ## lint, format, types, import contracts
	@ruff check . && ruff format --check . && mypy && lint-imports
	@shellcheck scripts/*.sh .ci/run tests/fakes/*/docker

test: check engine ## everything, the real boots among them
	@bash scripts/test-tools.sh
	@bash scripts/test.sh

bench: venv engine ## the short benchmarks; RACK=DIR, a rack that is up, for those of the services
	@RACK="$(RACK)" bash bench/run.sh

clean: ## remove what rackctl made on this machine, its containers and images included
	@bash scripts/clean.sh
