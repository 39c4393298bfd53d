# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

PYTHON ?= python3.11
UV := .uv/bin/uv
# Where a folder of wheels is configured for pip (a CPU build of torch, say), uv is told of it too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export HF_HUB_OFFLINE ?= 1
# The environments are ours: without their bytecode every process compiles torch and Prefect anew, half a minute each time.
unexport PYTHONDONTWRITEBYTECODE
# The two environments are made side by side.
MAKEFLAGS += -j2

# Said where a package index does not answer; pip's and uv's own words stand above it.
UNREACHABLE = { echo "the packages cannot be installed (see above); check the network, or the index that pip is configured for, and run the same command again" >&2; exit 4; }

.PHONY: help demo test soak check docs lock label-studio install browser database peers clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: install label-studio ## the main job, end to end, on real photos (LIVE=1: a small polite crawl of iNaturalist)
	@.venv/bin/python -m flows.demo $(if $(LIVE),--live) $(DEMO_ARGS)

test: install label-studio browser database check ## everything: gates, unit, server, browser and demo tests
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

soak: install label-studio browser database ## the long tests, on loopback only, two hours at most: 10,000 photos and 100 kills, the demo killed at every point, Prefect's servers away
	@timeout 7200 .venv/bin/python -m pytest --soak -n 2 --dist loadfile -rP -p no:cacheprovider $(PYTEST_ARGS)

check: install ## ruff, mypy strict, import layers, generated documents
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	PYTHONPATH=pipeline:. .venv/bin/lint-imports
	$(UV) pip check --python .venv/bin/python

docs: install ## write the generated pages of docs/reference
	@.venv/bin/python docs/generate.py

install: .venv/.installed ## the project's environment, .venv

label-studio: .venv-label-studio/share/empty/label_studio.sqlite3 ## the Label Studio server's own environment

peers: .venv-peers/.installed ## the other tools that bench/ compares with, in .venv-peers

browser: | $(UV) ## Chromium, and what its driver needs, for the browser tests (Debian)
	@if ! command -v chromium >/dev/null || ! ls /usr/lib/*/libatomic.so.1 >/dev/null 2>&1; then
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium libatomic1 >/dev/null
	  else
	    echo "Chromium or the libatomic that its driver needs is not installed, so browser tests cannot run; install Debian's packages chromium and libatomic1" >&2
	  fi
	fi

database: | browser ## PostgreSQL and strace for the journal's tests (Debian)
	@if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || ! command -v strace >/dev/null; then
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql strace >/dev/null
	  else
	    echo "PostgreSQL or strace is not installed, so some tests of the journal will be skipped; install Debian's packages postgresql and strace to run them" >&2
	  fi
	fi

$(UV):
	@if ! command -v $(PYTHON) >/dev/null; then
	  echo "$(PYTHON) is not installed; install Debian's python3 and python3-venv, or name another with PYTHON=" >&2; exit 4
	fi
	if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
	  else
	    echo "$(PYTHON) has no ensurepip; install Debian's package python3-venv and run again" >&2; exit 4
	  fi
	fi
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --retries 2 uv==0.13.9 || $(UNREACHABLE)

.venv/.installed: pyproject.toml constraints.txt | $(UV)
	@echo "installing the project into .venv" >&2
	[ -x .venv/bin/python ] || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip install --quiet --python .venv/bin/python -e '.[all]' --group dev -c constraints.txt || $(UNREACHABLE)
	touch $@

.venv-label-studio/.installed: constraints-label-studio.txt | $(UV)
	@echo "installing Label Studio into .venv-label-studio" >&2
	[ -x .venv-label-studio/bin/python ] || $(UV) venv --quiet --python $(PYTHON) .venv-label-studio
	$(UV) pip install --quiet --python .venv-label-studio/bin/python label-studio==1.23.2 -c constraints-label-studio.txt || $(UNREACHABLE)
	touch $@

# Migrating takes a minute of CPU: once here, so that no first start has to.
.venv-label-studio/share/empty/label_studio.sqlite3: .venv-label-studio/.installed
	@rm -rf $(@D)
	mkdir -p $(@D)
	if ! env -i PATH="$$PATH" SECRET_KEY=unused LABEL_STUDIO_BASE_DATA_DIR="$$PWD/$(@D)" LABEL_STUDIO_COLLECT_ANALYTICS=false \
	    LABEL_STUDIO_LATEST_VERSION_CHECK=false LABEL_STUDIO_SENTRY_DSN= LABEL_STUDIO_FRONTEND_SENTRY_DSN= .venv-label-studio/bin/python \
	    .venv-label-studio/lib/python3*/site-packages/label_studio/manage.py migrate --verbosity 0 >.venv-label-studio/migrate.log 2>&1; then
	  rm -f $@; echo "Label Studio cannot make its database; its words are in .venv-label-studio/migrate.log" >&2; exit 4
	fi
	touch $@

.venv-peers/.installed: bench/peers.in constraints-peers.txt | $(UV)
	@echo "installing the peers into .venv-peers" >&2
	[ -x .venv-peers/bin/python ] || $(UV) venv --quiet --python $(PYTHON) .venv-peers
	$(UV) pip install --quiet --python .venv-peers/bin/python -r bench/peers.in -c constraints-peers.txt || $(UNREACHABLE)
	touch $@

lock: $(UV) ## compute the constraints files anew
	@env -u UV_FIND_LINKS $(UV) pip compile --quiet pyproject.toml -c constraints.in --extra all --group dev --no-annotate --no-header -o constraints.txt
	echo label-studio==1.23.2 | env -u UV_FIND_LINKS $(UV) pip compile --quiet - --no-annotate --no-header -o constraints-label-studio.txt
	env -u UV_FIND_LINKS $(UV) pip compile --quiet bench/peers.in --no-annotate --no-header -o constraints-peers.txt

clean: ## remove environments and the demo's workspace
	@rm -rf .venv .venv-label-studio .venv-peers .uv demo
