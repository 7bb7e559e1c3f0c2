# Everything runs through uv in the locked environment. Without uv on the PATH,
# pip puts one into .uv/, and nothing outside this folder changes.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
SETUP := $(filter .uv/bin/uv,$(UV))
RUN = $(UV) run --frozen --no-default-groups
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(SETUP) ## Analyse the push experiment; ARGS="..." is passed on
	$(RUN) python examples/push_experiment.py $(ARGS)

test: $(SETUP) ## Run the tests and doctests, as CI does; ARGS="..." goes to pytest
	$(RUN) --group test pytest $(ARGS)

test-slow: $(SETUP) ## Run the tests marked slow (calibration, coverage)
	$(RUN) --group test pytest -m slow $(ARGS)

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
