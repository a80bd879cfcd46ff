# Everything runs in .venv, which is made when it is missing and left alone while the requirements stay the same.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
SOURCES := momo tools configs tests benchmarks $(wildcard projects) setup.py

.PHONY: demo app study-table4 benchmark test test-all lint format docs clean

# Real data, three short training stages, figures: about 15 minutes on two CPU cores. `make demo SEED=1` draws anew.
SEED ?= 0
demo: $(INSTALLED)
	$(VENV)/bin/python tools/demo/run.py --seed $(SEED)

# A page to try the demo's model on, at http://127.0.0.1:7860; `make app APP='CONFIG CHECKPOINT --images FOLDER'` for another.
app: $(INSTALLED)
	$(VENV)/bin/python -c 'import gradio' 2>/dev/null || $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[app]'
	$(VENV)/bin/python tools/app.py $(APP)

# Every task of the demo's data after each training stage, the paper's Table 4 in small: the demo and half an hour more.
study-table4: $(INSTALLED)
	$(VENV)/bin/python tools/study/table4.py --seed $(SEED)

# Speed and memory beside other projects, each target met or missed: under 20 minutes on two idle CPU cores. Peers that
# cannot be installed are rows that say so.
benchmark: $(INSTALLED)
	-$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/benchmarks.txt
	$(VENV)/bin/python benchmarks/speed.py --out work_dirs/speed.json

# The fast tests.
test: $(INSTALLED)
	$(VENV)/bin/python -m pytest

# All tests, those that take long or start several processes too.
test-all: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m ""

lint: $(INSTALLED)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)

# The site, in build/site; a dead link or anchor is an error.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet

# Leaves .venv, data and work_dirs.
clean:
	rm -rf build dist *.egg-info .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(INSTALLED): setup.py $(wildcard requirements/*.txt)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV); the first time, this fetches some gigabytes'
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[tests,demo,doctor,docs]'
	touch $@
