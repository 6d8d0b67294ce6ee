# What a person or a machine does with this checkout. Recipes call scripts; nothing is decided here.
# The instance that up, down and images work on; every setting of `bin/holdfast --help` can be given as HOLDFAST_… too.
DATA_DIR ?= /var/lib/holdfast
RUN_DIR ?= /run/holdfast
# Whose images `make images` builds: folders of examples/.
EXAMPLES ?= website-monitor
NODE := node_modules/.bin/node
# What the types were stripped from is kept, as bin/holdfast does: the tests start some hundred processes.
MOCHA := NODE_COMPILE_CACHE=$(CURDIR)/node_modules/.cache/holdfast $(NODE) node_modules/mocha/bin/mocha.js
HOLDFAST := HOLDFAST_DATA_DIR=$(DATA_DIR) HOLDFAST_RUN_DIR=$(RUN_DIR) bin/holdfast

.PHONY: help setup setup-tests up down images test lint format bench chaos crash crds
.DEFAULT_GOAL := help

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## what Holdfast needs on this machine (as root; Debian 12 or 13): packages, cgroups, Node and npm packages
	@deploy/setup/setup

setup-tests: setup ## besides, unpack the programs that the tests and benchmarks use into .tools/
	@deploy/setup/setup --tests

up: images ## run holdfast in the foreground with the website monitor, and show what happens
	@$(HOLDFAST) up --live --apply examples/website-monitor

down: setup ## stop holdfast and its containers, and clean up the host; objects and images stay
	@$(HOLDFAST) down

images: setup ## the images of EXAMPLES (default website-monitor), imported into the store of DATA_DIR
	@$(NODE) examples/build-images.ts --data-dir $(DATA_DIR) --run-dir $(RUN_DIR) $(EXAMPLES:%=--example %)

test: setup-tests ## everything: lint, types, and all suites with real parts
	@$(MAKE) --no-print-directory lint
	@$(MOCHA)

lint: setup ## format, lint rules and types
	@node_modules/.bin/biome check .
	@node_modules/.bin/tsc --noEmit

format: setup ## put the sources into the house format
	@node_modules/.bin/biome check --write .

bench: setup-tests ## measure starts, restarts, bursts and memory, side by side with dockerd
	@$(NODE) test/bench/main.ts

chaos: setup-tests ## random faults hit 30 containers for SECONDS (600) while a checker looks on; SEED=N does the same again
	@$(NODE) test/chaos/main.ts $(SEED:%=--seed %) $(SECONDS:%=--seconds %) $(if $(KINDS),--kinds '$(KINDS)') $(REPORT:%=--report '%')

crash: setup-tests ## kill a daemon before every step of what it does, and of recovering (STEPS=all: also those that others stand for)
	@$(NODE) test/crash/main.ts $(STEPS:%=--steps %) $(SEED:%=--seed %) $(if $(SCENARIOS),--scenarios '$(SCENARIOS)')

crds: setup ## generate crds/types.ts from the definitions in crds/
	@$(NODE) crds/generate.ts
