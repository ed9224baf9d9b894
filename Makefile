# What a person does with this repository. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Debian's own Python first: a version manager's may lack what a virtual environment needs.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
WORKERS ?= 2
KILLS ?= 20
ORDERS ?= 500
CASES ?= 200

# Relative: make cannot handle targets whose absolute path contains a space.
VENV := .venv
READY := $(VENV)/.ready
# Marks an environment that this Makefile created, and may therefore clear.
OWNED := $(VENV)/.created-by-make-setup
# Every part of the tests writes a JUnit XML file into this folder.
REPORTS := .state/test-reports
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export LC_ALL := C.UTF-8

DISTRIBUTIONS := files/shared files/master files/worker
SETTINGS := $(DISTRIBUTIONS:%=%/pyproject.toml)

.PHONY: help
help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1|/' | column -t -s '|'

# --- the farm ------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## Boot test machines, deploy a farm on them, benchmark a clip (WORKERS=2)
	ansible-playbook playbooks/machines-up.yml --extra-vars machines_workers=$(WORKERS)
	ansible-playbook --inventory inventories/local site.yml
	ansible-playbook --inventory inventories/local run-benchmark.yml

.PHONY: demo-down
demo-down: setup ## Remove the test machines and all that the demo left, but for its results
	ansible-playbook playbooks/machines-down.yml --extra-vars '{"test_machines_remove_images": true}'
	rm -rf .secrets/local .state/local

.PHONY: inventory
inventory: ## Copy the example inventory for machines of your own (NAME=prod)
	@test -n "$(NAME)" || { echo 'Say what it is to be called: make inventory NAME=prod' >&2; exit 2; }
	@test ! -e "inventories/$(NAME)" || { echo 'inventories/$(NAME) is there already.' >&2; exit 2; }
	cp -a inventories/example "inventories/$(NAME)"
	sed -i 's/^farm_name: example$$/farm_name: $(NAME)/' "inventories/$(NAME)/group_vars/all/50_example.yml"
	@echo 'Write your machines into inventories/$(NAME)/hosts.yml.'

# --- setting up ----------------------------------------------------------------------------

.PHONY: setup
setup: $(READY) ## Install the locked tools into .venv

$(READY): requirements-dev.txt requirements-uv.txt pyproject.toml $(SETTINGS)
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is older than Python 3.11. Name a newer one: make PYTHON=/path/to/python3' >&2; exit 2; }
	@test ! -e $(VENV) || test -e $(OWNED) || test -e $(READY) || \
		{ echo '$(CURDIR)/$(VENV) exists and was not created by make setup. Move it away first.' >&2; exit 2; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2> /dev/null || { \
		echo 'Installing the Debian package python3-venv'; \
		$(SUDO) apt-get update --quiet --quiet; \
		$(SUDO) apt-get install --yes --quiet --quiet --no-install-recommends python3-venv; }
	@echo 'Installing the locked tools of requirements-dev.txt into .venv'
	'$(PYTHON)' -m venv --clear $(VENV)
	@touch $(OWNED)
	$(PIP) --require-hashes --requirement requirements-uv.txt
	$(UV) --require-hashes --requirement requirements-dev.txt || $(PIP) --require-hashes --requirement requirements-dev.txt
	$(UV) --no-deps --no-build-isolation $(DISTRIBUTIONS:%=--editable %)
	$(VENV)/bin/python -m compileall -q -j 2 $(VENV)/lib/python*/site-packages/{$(COMPILED)}
	@touch $(READY)

# What every test process imports: else each of them would compile it in a new checkout.
COMPILED := ansible,_pytest,cryptography,httpx,hypothesis,litestar,schemathesis,sqlalchemy

PIP = $(VENV)/bin/python -m pip install --quiet
# Several times faster than pip. It does not read pip's configuration: where only that names a package
# index, the installation falls back to pip.
UV = $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --native-tls

.PHONY: lock
lock: setup ## Lock what each part needs, with hashes (UPGRADE=--upgrade for the newest)
	for part in shared master worker; do \
		$(UV_COMPILE) "files/$$part/pyproject.toml" --output-file "files/$$part/requirements.txt"; \
	done
	$(UV_COMPILE) --group dev --group bench pyproject.toml $(SETTINGS) --output-file requirements-dev.txt
	sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt > requirements-uv.txt

UV_COMPILE = uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header --no-emit-package ffmpeg-rtmp-shared

# --- tests ---------------------------------------------------------------------------------

.PHONY: test
test: ## Run every check and every test (needs root or sudo, half an hour)
	@rm -rf '$(REPORTS)'
	@started_s=$$(date +%s); result=0; \
		{ $(MAKE) test-fast && $(MAKE) test-slow && $(MAKE) test-farm; } || result=$$?; \
		python tests/run_summary.py '$(REPORTS)' --started-s "$$started_s"; \
		exit "$$result"

# The linters keep a processor busy while the tools of the tests are fetched.
.PHONY: test-fast
test-fast: setup ## Run the checks and the tests that need no machines
	@$(MAKE) --no-print-directory --jobs=4 --output-sync=target test-tools $(LINTERS) $(UNIT_TESTS)

.PHONY: lint
lint: setup ## Run the linters and the type checker
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(LINTERS)

LINTERS := lint-ansible lint-types lint-python lint-imports lint-yaml
.PHONY: $(LINTERS)
lint-ansible: setup
	ansible-lint --offline --profile production
lint-types: setup
	mypy --package ffrtmp_shared --package ffrtmp_master --package ffrtmp_worker
lint-python: setup
	ruff format --check .
	ruff check .
lint-imports: setup
	lint-imports
lint-yaml: setup
	yamllint --strict .

# `worksteal` gives each process neighboring tests, which share what their modules start.
PYTEST := python -m pytest --quiet --dist worksteal
UNIT_TESTS := test-unit-worker test-unit-master

# Two groups side by side: their tests share nothing, and a process imports only what its group needs.
.PHONY: test-unit $(UNIT_TESTS)
test-unit: test-tools ## Run the tests of the parts, without those that are marked as slow
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(UNIT_TESTS)
test-unit-worker: test-tools
	@mkdir -p '$(REPORTS)'
	$(PYTEST) --numprocesses 1 -m 'not slow and not deep' --junitxml='$(REPORTS)/unit-worker.xml' files/worker
test-unit-master: test-tools
	@mkdir -p '$(REPORTS)'
	$(PYTEST) --numprocesses 2 -m 'not slow and not deep' --junitxml='$(REPORTS)/unit-master.xml' \
		files/shared files/master tests

.PHONY: test-slow
test-slow: test-tools ## Run master and agent together, streams in real time and other slow tests
	@mkdir -p '$(REPORTS)'
	$(PYTEST) --numprocesses 4 -m 'slow and not deep' --junitxml='$(REPORTS)/slow.xml'

.PHONY: test-deep
test-deep: test-tools ## Run the slow tests, many more cases, and upgrades from the last release (ORDERS=500 CASES=200)
	@mkdir -p '$(REPORTS)'
	FFRTMP_TEST_ORDERS=$(ORDERS) FFRTMP_TEST_CASES=$(CASES) \
		$(PYTEST) --numprocesses 3 -m 'deep or property' --junitxml='$(REPORTS)/deep.xml'
	molecule test --scenario-name upgrade
	molecule test --scenario-name upgrade_ha

.PHONY: test-crash
test-crash: test-tools ## Kill the master 20 times under load and look for what is missing (KILLS=20)
	FFRTMP_TEST_KILLS=$(KILLS) python -m pytest --quiet --capture=no tests/queue/test_crash.py

.PHONY: test-tools
test-tools: setup
	ansible-playbook tests/tools.yml

.PHONY: test-farm
test-farm: setup ## Deploy a farm on test machines and look at it (molecule)
	molecule test --scenario-name default
	molecule test --scenario-name combined

.PHONY: test-ha
test-ha: setup ## Deploy a farm on PostgreSQL with two masters, kill one, upgrade, restore (molecule)
	molecule test --scenario-name ha

# --- figures -------------------------------------------------------------------------------

.PHONY: bench-master
bench-master: setup ## Measure the master beside other queues, write docs/performance.md (ONLY=cycles QUICK=1)
	PYTHONPATH="$(CURDIR)/tests" python -m bench master $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

.PHONY: bench-worker
bench-worker: setup test-tools ## Measure what agent and exporters cost, write docs/overhead.md (ONLY=exporters QUICK=1)
	PYTHONPATH="$(CURDIR)/tests" python -m bench worker $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))
