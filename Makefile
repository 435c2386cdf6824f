# `make` prints this help. PYTHON is any Python from 3.11 on; everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help
help: ## print this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: quickstart
quickstart: install ## the whole way on this machine; CAMVID=DIR uses that CamVid, CAMVID=download fetches it
	@CAMVID="$(CAMVID)" $(BIN)/roadbed quickstart

.PHONY: test
test: install ## all tests that a laptop can run (some need CAMVID=DIR and say so)
	@$(BIN)/python -m pytest -n 2 --dist loadscope

.PHONY: test-gpu
test-gpu: install ## the tests that need NVIDIA GPUs: CUDA, bf16, and with two of them NCCL and SyncBatchNorm
	@$(BIN)/python -m pytest tests/gpu -m gpu

.PHONY: test-cluster
test-cluster: install ## the tests on a cluster with KubeRay's operator; KUBECONFIG=FILE says which
	@KUBECONFIG="$(KUBECONFIG)" $(BIN)/python -m pytest tests/cluster -m cluster

.PHONY: test-all
test-all: install ## all tests, and those that break runs for minutes (some 20 more)
	@$(BIN)/python -m pytest -m "not gpu and not cluster"

.PHONY: check
check: install ## ruff, mypy --strict, import contracts, links in the docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/unit/test_docs.py

.PHONY: format
format: install ## put the source in its format
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

.PHONY: lock
lock: ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --extra local --extra engines --group dev --universal --python-version 3.11 \
		--no-header --no-annotate --upgrade -o requirements.lock

.PHONY: clean
clean: ## remove what quickstart made, but for the virtual environment
	@if [ -x $(BIN)/roadbed ]; then $(BIN)/roadbed local down; fi
	rm -rf .roadbed quickstart

.PHONY: install
install: $(VENV)/installed ## the virtual environment with everything pinned

$(VENV)/installed: requirements.lock pyproject.toml tests/kube_tools.py
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "roadbed needs Python 3.11 or newer, " + sys.executable + " is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (torch and ray: some minutes and 7 GB the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@# A test compares scores with it. By itself, for it asks for a release of `typing` that no Python of today can install.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps cityscapesscripts==2.3.0 pyquaternion==0.9.9
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@# The tests of the chart render it with the real helm, and those of k8s/ with kubectl's kustomize.
	@$(BIN)/python tests/kube_tools.py $(BIN)
	@touch $@
