# Everything a newcomer or a CI run calls. Each target installs and builds what it needs first; nothing is done twice.
JOBS ?= $(shell nproc)
BUILD := build
# Where another environment than .venv is wanted: make VENV=/path/to/venv SETUP=true build
VENV ?= $(CURDIR)/.venv
SETUP ?= scripts/setup.sh

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-peers test-memory build setup lint format dev-tools bench asan tsan fuzz soak clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup:
	@$(SETUP)

build: setup $(BUILD)/build.ninja ## Build graft and graft-engine into build/bin
	@cmake --build $(BUILD) -j $(JOBS)

$(BUILD)/build.ninja: | setup
	@cmake --preset release -DGRAFT_VENV="$(VENV)"

demo: build ## Fine-tune a real small model on real e-mails, serve it, prompt it
	@$(VENV)/bin/python3 -m scripts.demo

test: build ## Build and run every test
	@GRAFT_PYTHON="$(VENV)/bin/python3" scripts/test.sh

test-fast: build ## Build and run the fast unit tests
	@ctest --test-dir $(BUILD) --output-on-failure -L fast -j 2

test-peers: build ## Compare exported files with llama.cpp's own tools (builds llama.cpp, a quarter of an hour)
	@GRAFT_PYTHON="$(VENV)/bin/python3" bench/setup serve
	@$(VENV)/bin/python3 -m pytest -q -rP -m peers tests/peers

test-memory: build ## 1 GB of rows within 512 MB of memory (DATA_MEMORY_GB=1; some minutes, 5 GB of disk)
	@$(VENV)/bin/python3 scripts/data_memory.py

bench: build ## Compare training, serving and tokenising with their peers (idle machine, half an hour)
	@bench/setup train && bench/setup serve
	@bench/run train --json $(BUILD)/bench-train.json
	@bench/run serve --json $(BUILD)/bench-serve.json
	@bench/run tokenizer --json $(BUILD)/bench-tokenizer.json

dev-tools:
	@$(SETUP) dev-tools

lint: dev-tools build ## Check the format of every source file, and clang-tidy on changed ones
	@scripts/lint.sh

format: dev-tools ## Format every source file
	@git ls-files --cached --others --exclude-standard '*.cc' '*.h' | xargs -r clang-format-19 -i

asan: setup ## Unit tests under AddressSanitizer and UBSan
	@cmake --preset asan -DGRAFT_VENV="$(VENV)" && cmake --build --preset asan -j $(JOBS) && ctest --preset asan

tsan: setup ## Unit tests of the rooms without torch under ThreadSanitizer
	@cmake --preset tsan -DGRAFT_VENV="$(VENV)" && cmake --build --preset tsan -j $(JOBS) && ctest --preset tsan

# FUZZ_SECONDS is for each program; two run at a time. FUZZ_ONLY='gguf_fuzz csv_fuzz' picks some.
FUZZ_SECONDS ?= 20
FUZZ_ONLY ?=

fuzz: setup dev-tools ## Run the fuzzers of every parser for a short time (FUZZ_SECONDS=3600: an hour each)
	@cmake --preset fuzz -DGRAFT_VENV="$(VENV)" && cmake --build --preset fuzz -j $(JOBS)
	@scripts/fuzz.sh "$(FUZZ_SECONDS)" $(FUZZ_ONLY)

SOAK_SECONDS ?= 600

soak: build ## A real engine under mixed load, good clients and bad ones (SOAK_SECONDS=600)
	@$(VENV)/bin/python3 -m tests.soak.soak --seconds $(SOAK_SECONDS) --json $(BUILD)/soak.json

clean: ## Remove what was built; what was installed stays
	@rm -rf $(BUILD) build-debug build-asan build-tsan build-fuzz
