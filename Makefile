# make demo: set up and run the main job on films made here.  make test: set up and run every check.
# make chaos: kill every part of a run at every point where it could hurt (13 min).  make partition: cut a node off for a minute.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: setup demo test chaos partition lint types clean

VENV := .venv
# Changes when what is to be installed changes; a second call finds it and installs nothing.
STAMP := $(VENV)/.ready-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@python=$$(bash find-python.sh) || exit 1; \
	echo "setting up $(VENV) with $$("$$python" --version) (a few minutes, about 6 GB, once)"; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV) \
	&& $(VENV)/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]' \
	&& touch $@

demo: setup
	@$(VENV)/bin/vsalign demo --folder demo

test: setup lint types
	@$(VENV)/bin/pytest

chaos: setup
	@$(VENV)/bin/pytest -m "chaos or not chaos" tests/end_to_end/test_chaos.py

partition: setup
	@$(VENV)/bin/pytest -m chaos tests/end_to_end/test_partition.py

lint: setup
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

types: setup
	@$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
