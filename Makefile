# Everything runs through uv in the locked environment. Without uv on the PATH,
# pip puts one into .uv/, and nothing outside this folder changes.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
SETUP := $(filter .uv/bin/uv,$(UV))
RUN = $(UV) run --frozen --no-default-groups
ARGS ?=

# Bytecode is made once, with the installation: not by each process that imports.
export UV_COMPILE_BYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow docs bench bench-coverage bench-segments lint format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(SETUP) ## Analyse the push experiment; ARGS="..." is passed on
	$(RUN) python examples/push_experiment.py $(ARGS)

test: $(SETUP) ## Run the tests and doctests, as CI does; ARGS="..." goes to pytest
	$(RUN) --group test pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(SETUP) ## Run the tests marked slow (calibration, coverage, Spark and ibis)
	$(RUN) --group test --group engines pytest -m slow $(ARGS)

docs: $(SETUP) ## Build the documentation into docs/_build/html, examples run and links checked
	$(RUN) --group docs --group test sphinx-build -D plot_gallery=0 -b doctest docs docs/_build/doctest
	$(RUN) --group docs --group test sphinx-build -W --keep-going -b html docs docs/_build/html
	$(RUN) --group docs --group test python docs/check_links.py docs/_build/html

bench: $(SETUP) ## Measure speed against rivals, into docs/_data
	$(RUN) --group test --group bench python benchmarks/speed.py --output docs/_data $(ARGS)

bench-coverage: $(SETUP) ## Simulate the coverage of all intervals, into docs/_data (an hour)
	$(RUN) --group test --group bench python benchmarks/coverage.py --output docs/_data/coverage.csv $(ARGS)

bench-segments: $(SETUP) ## Simulate and time fits to segments, into docs/_data
	$(RUN) --group test python benchmarks/segments.py study --output docs/_data $(ARGS)
	$(RUN) --group test python benchmarks/segments.py speed --output docs/_data $(ARGS)

lint: $(SETUP) ## Check style, format and types
	$(RUN) --group lint ruff check .
	$(RUN) --group lint ruff format --check .
	$(RUN) --group lint mypy

format: $(SETUP) ## Fix style and format where that is safe
	$(RUN) --group lint ruff check --fix .
	$(RUN) --group lint ruff format .

clean: ## Remove caches and builds
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist docs/_build
	find skbayesiv tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

.uv/bin/uv:
	python3 -m pip install --quiet --disable-pip-version-check --target .uv uv
