# What a person or a machine does with this checkout. Recipes call scripts; nothing is decided here.
# DATA_DIR and RUN_DIR choose the instance whose image store `make images` fills.
DATA_DIR ?= /var/lib/holdfast
RUN_DIR ?= /run/holdfast
NODE := node_modules/.bin/node

.PHONY: help setup setup-tests images
.DEFAULT_GOAL := help

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## what Holdfast needs on this machine (as root; Debian 12 or 13): packages, cgroups, Node and npm packages
	@deploy/setup/setup

setup-tests: setup ## besides, unpack the programs that the tests and benchmarks use into .tools/
	@deploy/setup/setup --tests

images: setup ## the images of examples/website-monitor, imported into the store of DATA_DIR
	@$(NODE) examples/build-images.ts --data-dir $(DATA_DIR) --run-dir $(RUN_DIR)
