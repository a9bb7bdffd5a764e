# recording-gateway: `make` lists what there is.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
JOBS ?= 4
AGAIN ?=

BIN := $(VENV)/bin
LOCKS := requirements
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --require-virtualenv
LOCKED = --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links $(ARGS)
COMPILE = $(BIN)/uv pip compile pyproject.toml $(LOCKED)
COMPILE_GROUP = $(BIN)/uv pip compile $(LOCKED) --group

# program:package, from Debian
TEST_TOOLS := curl:curl wget:wget aria2c:aria2 ffmpeg:ffmpeg mpv:mpv chromium:chromium redis-server:redis-server \
	nginx:nginx ss:iproute2
BENCH_TOOLS := nginx:nginx haproxy:haproxy caddy:caddy wrk:wrk ss:iproute2
KEYS_TOOLS := nginx:nginx wrk:wrk ss:iproute2 redis-server:redis-server
SOAK_TOOLS := nginx:nginx ss:iproute2

# Tests start hundreds of processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench bench-quick bench-keys soak lock format clean tools

help: ## list these
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## start everything on loopback and print lines to paste; ARGS="--port 9000 --once"
	@$(BIN)/recording-gateway demo $(ARGS)

test: $(VENV)/test.stamp tools ## run the tests against real parts; ARGS="tests/http -k range"; JOBS=0 in one process; AGAIN=1 tries failures once more
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS) || { [ $$? = 1 ] && [ -n "$(AGAIN)" ] && \
		$(BIN)/pytest --last-failed --last-failed-no-failures none --maxfail 1 $(ARGS); }

check: $(VENV)/test.stamp ## format, lint, types, import rules, Dockerfile, locks
	@echo "ruff format";  $(BIN)/ruff format --check .
	@echo "ruff check";   $(BIN)/ruff check .
	@echo "mypy";         $(BIN)/mypy
	@echo "lint-imports"; $(BIN)/lint-imports
	@echo "hadolint";     $(BIN)/hadolint Dockerfile
	@echo "locks";        $(BIN)/python requirements/check.py && $(BIN)/uv pip check --quiet --python $(BIN)/python

bench: $(VENV)/test.stamp ## compare with nginx, haproxy, caddy and others, ten minutes; ARGS="--only ranges --seed 1"
	@$(LOCKS)/debian.sh "make $@" $(BENCH_TOOLS)
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/test.stamp ## the same in two minutes, for a first look
	@$(LOCKS)/debian.sh "make $@" $(BENCH_TOOLS)
	@$(BIN)/python -m bench --size quick $(ARGS)

bench-keys: $(VENV)/test.stamp ## what turning each tuning key costs or gains, ten minutes; ARGS=2 for fewer rounds
	@$(LOCKS)/debian.sh "make $@" $(KEYS_TOOLS)
	@$(BIN)/python -m bench.keys $(ARGS)

soak: $(VENV)/test.stamp ## half an hour at 70 % of what the gateway can, everything counted three times; ARGS="--minutes 5 --rate 500"
	@$(LOCKS)/debian.sh "make soak" $(SOAK_TOOLS)
	@$(BIN)/python -m bench.soak $(ARGS)

format: $(VENV)/test.stamp ## put the code into its one format
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lock: $(VENV)/test.stamp ## pin the dependencies anew after a change of pyproject.toml; ARGS=--upgrade takes newer ones
	@$(COMPILE) --all-extras --group build --group lock -o $(LOCKS)/test.lock
	@$(COMPILE) --extra demo --group build -c $(LOCKS)/test.lock -o $(LOCKS)/demo.lock
	@$(COMPILE) -c $(LOCKS)/test.lock -o $(LOCKS)/runtime.lock
	@$(COMPILE_GROUP) build -c $(LOCKS)/test.lock -o $(LOCKS)/build.lock
	@$(COMPILE_GROUP) install -o $(LOCKS)/pip.lock
	@$(BIN)/python $(LOCKS)/check.py

tools: # players and servers from Debian that tests run
	@$(LOCKS)/debian.sh "make test" $(TEST_TOOLS)

clean: ## remove the virtual environment, the demo's state and caches
	@if [ -f .demo/postgres.path ]; then rm -rf "$$(cat .demo/postgres.path)"; fi
	@if [ -f .bench/postgres.path ]; then rm -rf "$$(cat .bench/postgres.path)"; fi
	rm -rf $(VENV) .demo .bench .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is older than Python 3.11; install one and say PYTHON=python3.11" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "make: no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) --require-hashes -r $(LOCKS)/pip.lock || echo "Going on with what came with it: $$($(BIN)/python -m pip --version)"

$(VENV)/%.stamp: $(LOCKS)/%.lock pyproject.toml | $(BIN)/python
	@echo "Installing $< into $(VENV)"
	@$(PIP) --no-deps --require-hashes -r $<
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
