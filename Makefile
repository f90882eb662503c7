# Two commands set everything up on a fresh Debian machine: `make sync` and `make test`.

VENV     := .venv
PYTHON   := $(VENV)/bin/python
PYTEST   := $(PYTHON) -m pytest
BESIDE   := -n 2 --dist loadgroup
TARGETS  ?=
ARGS     ?=

.DEFAULT_GOAL := help
.PHONY: help sync test unit integration lint fmt check bench oracle crash demo clean

help:                ## Show what can be made
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  \1 \2/p;s/^\([a-z]*\):  *## \(.*\)/  \1 \2/p' $(MAKEFILE_LIST) | \
		awk '{ name = $$1; $$1 = ""; printf "  make %-12s%s\n", name, $$0 }'

$(VENV)/installed: pyproject.toml scripts/setup
	scripts/setup venv $(VENV)

$(VENV)/tested: $(VENV)/installed
	scripts/setup test $(VENV)

$(VENV)/developed: $(VENV)/installed
	scripts/setup dev $(VENV)

sync: $(VENV)/installed          ## Build the repository of the INFRA stack (TARGETS="d12.x86_64 d13.aarch64", ARGS=...)
	$(VENV)/bin/repobuild sync $(TARGETS) $(ARGS)

test: lint unit integration      ## Everything that CI runs

unit: $(VENV)/tested             ## Unit tests
	$(PYTEST) -q $(BESIDE) tests/unit $(ARGS)

integration: $(VENV)/tested      ## Tests with real apt, dpkg, nginx and the archive
	$(PYTEST) -q $(BESIDE) tests/integration $(ARGS)

lint: $(VENV)/developed          ## ruff, mypy, shellcheck
	$(VENV)/bin/ruff format --check repobuild scripts tests
	$(VENV)/bin/ruff check repobuild scripts tests
	$(VENV)/bin/mypy
	@if command -v shellcheck >/dev/null; then shellcheck scripts/setup .ci/run repobuild/data/install.sh; fi

fmt: $(VENV)/developed           ## Format the code
	$(VENV)/bin/ruff format repobuild scripts tests
	$(VENV)/bin/ruff check --fix repobuild scripts tests

check: lint unit                 ## What every commit passes

bench: $(VENV)/tested            ## Measure against the peers; fails when a figure is missed
	scripts/setup bench $(VENV)
	$(PYTHON) scripts/bench.py $(ARGS)

oracle: $(VENV)/tested           ## 200 random manifests against real apt, 24,000 jobs against real dnf
	REPOBUILD_ORACLE=200 $(PYTEST) -q -s tests/integration/test_apt_oracle.py tests/integration/test_dnf_oracle.py \
		tests/integration/test_proof_oracle.py

crash: $(VENV)/tested            ## Every crash point, not a sample
	REPOBUILD_CRASH=full $(PYTEST) -q tests/integration/test_crash.py

demo: $(VENV)/tested             ## Show an INFRA node live from the bundle, in namespaces without network (as root)
	$(PYTHON) scripts/demo

clean:               ## Remove the virtual environment and caches
	rm -rf $(VENV) .bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
