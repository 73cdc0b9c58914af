# Millrace: `make run` for a first look, `make test` for everything. The work is done by the scripts in scripts/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test dependencies build install install-extension check-extension check-recovery \
        check-program check-examples bench clean

PREFIX ?= /usr/local
EXAMPLE ?= examples/picture.yaml

help:  ## show this table of contents
	@sed -n -E 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p; s/^##@ (.*)/\n\1/p' Makefile | \
	  awk -F '\t' 'NF == 2 { printf "  make %-18s %s\n", $$1, $$2; next } { print }'

##@ The two commands
run: dependencies  ## install what is missing, build, start the database, run a workflow (EXAMPLE=file)
	@$(MAKE) --no-print-directory build install-extension
	bin/millrace run $(EXAMPLE)
	@[ $(EXAMPLE) != examples/picture.yaml ] || echo "The picture: $(CURDIR)/examples/output/picture/index.html"

test: dependencies  ## every test there is; the closing line counts them
	@scripts/test.sh

##@ Build and install
dependencies:  ## install what the system lacks (says what and why)
	@scripts/install-dependencies.sh

build:  ## the program, as bin/millrace
	@scripts/build-program.sh

install-extension:  ## the extension, into the newest PostgreSQL server (PG_CONFIG=path for another)
	@scripts/install-extension.sh

install: build install-extension  ## the extension, and the program into PREFIX/bin (PREFIX=/usr/local)
	@source scripts/lib.sh && as_root install -D bin/millrace $(DESTDIR)$(PREFIX)/bin/millrace

##@ Parts of the tests
check-extension: install-extension  ## regression tests and isolation specs, on both tiers
	@scripts/check-extension.sh

check-recovery: install-extension  ## restart, crash, dump and upgrade of a server
	@scripts/check-recovery.sh

check-program: build install-extension  ## the Swift packages, against real servers
	@scripts/check-program.sh

check-examples: build install-extension  ## each example, run to its end
	@scripts/check-examples.sh

##@ More
bench: build install-extension  ## all that docs/performance.md publishes (RECORDINGS=directory of WfFormat files to replay, too)
	Benchmarks/all.sh $(if $(RECORDINGS),--recordings "$(RECORDINGS)")

clean:  ## remove what was built; the embedded database in .millrace stays
	rm -rf .build bin
	@$(MAKE) --no-print-directory -C extension clean PG_CONFIG="$$(source scripts/lib.sh && require_pg_config)"
