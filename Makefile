# Every set-up step is behind these targets: on a fresh machine `make demo` and `make test` need nothing before them.

PYTHON ?= python3
BIN := .venv/bin
# pytest: two processes, a file's tests in one of them, for they may share a virtual board.
# One that crashes ends the run: pytest-xdist may wait for ever for the tests that another was to take over.
PYTEST_ARGS ?= -n 2 --dist loadfile --max-worker-restart 0
# Settings from outside would hide the core package that set-up puts into .platformio.
unexport PLATFORMIO_CORE_DIR PLATFORMIO_PACKAGES_DIR PLATFORMIO_PLATFORMS_DIR

CXX_SOURCES = $(shell find firmware tests bench -name generated -prune -o -type f \( -name '*.cpp' -o -name '*.hpp' \) -print)
TIDY_SOURCES = $(shell find firmware/src firmware/link firmware/engine firmware/federation firmware/hal/host -name '*.cpp')
TIDY_PROGRAMS = firmware/generated/tidy_int8 firmware/generated/tidy_float32
TIDY_FLAGS = -std=c++17 -xc++ -Ifirmware -DFTTE_HOST -DFTTE_ENV='"host"' -DFTTE_PLAN_ID='{0,0,0,0,0,0,0,0}' \
             -DFTTE_BAUD=115200 -DFTTE_CORE_HZ=1000000000 -DFTTE_HSE_HZ=0 -DFTTE_CHUNK_BYTES=1024

.DEFAULT_GOAL := help
.PHONY: help demo test check bench kernels claims nightly soak docs docs-serve format firmware setup setup-develop wheel clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup  ## a virtual rack trains a shared model: table, plots and report
	@$(BIN)/bench run demo

test: setup-develop  ## all tests
	@$(BIN)/python -m pytest -q $(PYTEST_ARGS) $(TESTS)

check: setup-develop  ## ruff, mypy, clang-format, clang-tidy; no kernel dearer than reports/baseline/kernels.json
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@echo clang-format
	@clang-format --dry-run -Werror $(CXX_SOURCES)
	@echo clang-tidy
	@$(BIN)/bench plan demo-cnn --name tidy_int8 --json > /dev/null
	@$(BIN)/bench plan demo-cnn --dtype float32 --name tidy_float32 --json > /dev/null
	@clang-tidy --quiet $(TIDY_SOURCES) -- $(TIDY_FLAGS) -I$(firstword $(TIDY_PROGRAMS))
	@set -e; for program in $(TIDY_PROGRAMS); do clang-tidy --quiet $$program/program.cpp -- $(TIDY_FLAGS) -I$$program; done
	$(BIN)/python -m bench.benchmarks.kernels --check

bench: setup-develop  ## the figures of docs and README: hours on two cores, goes on where it was stopped
	$(BIN)/python -m bench.benchmarks.memory
	$(BIN)/python -m bench.benchmarks.training
	$(BIN)/python -m bench.benchmarks.gradients
	$(BIN)/python -m bench.benchmarks.report

kernels: setup-develop  ## what each kernel costs on each core: instructions, modelled cycles, bytes
	$(BIN)/python -m bench.benchmarks.kernels

claims: setup-develop  ## FTTE's claims on simulated clients: under an hour on two cores; SWEEPS=1 for every study, some hours; STUDIES="bits …" for some
	$(BIN)/python -m bench.claims $(if $(SWEEPS),--sweeps,$(if $(STUDIES),--studies $(STUDIES)))

nightly: setup  ## a matrix of experiments, compared with earlier nights; ends with 1 if anything became worse
	@$(BIN)/bench nightly

soak: setup-develop  ## ten thousand faults on purpose on the default rack; COUNT=1000 SEED=7 for others
	$(BIN)/bench soak --count $(or $(COUNT),10000) --seed $(or $(SEED),1)

docs: setup-develop  ## the user documentation as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: docs  ## the same at http://127.0.0.1:8000, where its search works
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000

format: setup-develop  ## puts all sources into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	clang-format -i $(CXX_SOURCES)

firmware: setup  ## the firmware of every board
	$(BIN)/pio run

setup:  ## what `make demo` needs: system packages, .venv, PlatformIO
	@$(PYTHON) -m setup

setup-develop:  ## what `make test` and `make check` need
	@$(PYTHON) -m setup --develop

wheel: setup-develop  ## a wheel in dist/ that carries firmware, platform and default rack
	@rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build

clean:  ## removes builds and caches
	rm -rf .pio .cache build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis compile_commands.json
	find bench firmware hosts setup tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean  ## removes what set-up made in this folder as well
	rm -rf .venv .platformio .setup ftte_bench.egg-info
