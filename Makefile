# Everything a fresh Debian machine needs: `make demo` and `make test`. See README.md.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# A real display where there is one, a virtual one otherwise.
SCREEN := $(if $(DISPLAY)$(WAYLAND_DISPLAY),,xvfb-run -a -s "-screen 0 1600x1000x24")

.PHONY: demo test test-slow lint format clean

demo: $(VENV)/.installed
	sh tools/system-packages.sh display
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY),)
	$(SCREEN) $(PY) -m napari_hmkd.widgets.demo --out demo
else
	$(PY) -m napari_hmkd.widgets.demo
endif

# A file of tests to each core; torch's own threads would only be in each other's way.
ON_ALL_CORES := OMP_NUM_THREADS=1 $(SCREEN) $(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore tests/benchmarks

test: $(VENV)/.installed-test
	sh tools/system-packages.sh display
	$(ON_ALL_CORES) -m "not slow"

test-slow: $(VENV)/.installed-test
	sh tools/system-packages.sh display
	$(ON_ALL_CORES) -m slow
	# What is timed runs alone.
	$(SCREEN) $(PY) -m pytest tests/benchmarks

lint: $(VENV)/.installed-test
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	rm -rf build/types && mkdir -p build/types
	cp -r src/napari_hmkd build/types/ && cp -r training build/types/napari_hmkd/training
	MYPYPATH=build/types $(PY) -m mypy

format: $(VENV)/.installed-test
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

$(VENV)/bin/python:
	sh tools/system-packages.sh python $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml napari.yaml | $(VENV)/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[all]"
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	# pytest-qt is no part of the test extra: without a Qt binding it stops pytest, and the core has none.
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[all,test]" "pytest-qt>=4.4"
	touch $@

clean:
	rm -rf $(VENV) demo build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
