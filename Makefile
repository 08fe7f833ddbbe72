# Every target installs what it needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup lock generate format lint cluster-build cluster-up cluster-down cluster-status images demo test unit e2e clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## .venv with everything from the lock file, and the command .venv/bin/quanary

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock: $(STAMP)  ## resolve pyproject.toml into requirements/*.txt with hashes
	$(BIN)/python -m venv .venv/uv && .venv/uv/bin/pip install --quiet uv
	for each in "operator:" "runtime:--extra runtime" "dev:--extra runtime --extra dev"; do \
	  .venv/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --no-emit-index-url \
	    --python-version 3.11 $${each#*:} pyproject.toml -o requirements/$${each%%:*}.txt; done
	echo hatchling | .venv/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --python-version 3.11 - -o requirements/build.txt
	printf 'moto[s3]\nflask\nflask-cors\n' | .venv/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url --python-version 3.11 - -o requirements/stores.txt
	.venv/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --python-version 3.11 tests/conformance/kserve.in -o tests/conformance/kserve.txt

generate: $(STAMP)  ## CRD, its copy in the chart, docs/reference.md, docs/report.schema.json and the gRPC messages
	$(BIN)/python -m quanary.api.crd
	$(BIN)/python -m quanary.wire.schema
	$(BIN)/python -m quanary.server.rpc.generate

format: $(STAMP)  ## rewrite in the project's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(STAMP)  ## format, lint, types and import rules, changing nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

cluster-up: $(STAMP)  ## a real one-node Kubernetes from packages; prints its kubeconfig (CLUSTER=existing uses KUBECONFIG)
	$(BIN)/python -m e2e.cluster up

cluster-down: $(STAMP)  ## end it and leave nothing behind
	$(BIN)/python -m e2e.cluster down

cluster-status: $(STAMP)  ## what of it runs
	$(BIN)/python -m e2e.cluster status

images: cluster-up  ## build the images and load them into the cluster
	$(BIN)/python -m e2e.cluster image --target operator --tag quanary/operator:dev
	$(BIN)/python -m e2e.cluster image --target runtime --tag quanary/runtime:dev
	$(BIN)/python -m e2e.cluster image --target test-runtime --tag quanary/test-runtime:dev

demo: $(STAMP)  ## watch a model be served, quantized, certified, shifted, and bad ones be stopped; writes out/demo.json
	$(BIN)/python -m e2e.demo

cluster-build: $(STAMP)  ## its programs and images, starting nothing
	$(BIN)/python -m e2e.cluster build

unit: cluster-build  ## tests that need no cluster
	$(BIN)/pytest tests -m "not cluster"

e2e: $(STAMP)  ## tests on the cluster
	$(BIN)/pytest e2e

test: lint cluster-up  ## everything: format, lint, types, imports, unit, API server, cluster
	$(BIN)/pytest tests e2e

clean:  ## remove what was made here (not the cache of the cluster)
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
