# One verb each. `make demo` and `make test` set themselves up: they need Python >= 3.11, make and git.
PYTHON ?= $(shell scripts/find-python)
VENV := .venv
# Tests mostly wait for processes: two workers a core.
WORKERS ?= 4
CLUSTER_TESTS ?= tests/kubelet_contract tests/cluster
BIN := $(VENV)/bin
PACKAGES := libs/npu-core services/device-plugin services/feature-discovery services/metrics-exporter
# Tests write whole hosts, file by file: in memory where there is room, that takes a tenth of the time.
export TMPDIR ?= $(shell test -w /dev/shm && echo /dev/shm || echo /tmp)
# A shell that forbids compiled files would make every start of a program several times slower.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo images images-buildah base-image test-images cluster test-cluster cluster-life release-check manifests e2e explore test test-slow test-lowest test-pythons test-oracle test-prometheus test-schemas test-faults test-hostile soak test-soak mutation bench bench-compare scale golden cover lint format type arch reference proto proto-check lock clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## the virtual environment, with every package installed in place

$(VENV)/.ready: requirements/dev.txt $(PACKAGES:%=%/pyproject.toml)
	@test -n "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps $(PACKAGES:%=--editable %)
	@touch $@

demo: setup ## the services at work on a simulated node (KEEP=1 stays up)
	@$(BIN)/python -m tools.demo $(if $(KEEP),--keep)

test: setup ## the default test suite, about two minutes
	$(BIN)/python -m pytest -m "not slow" --numprocesses=$(WORKERS) --dist=worksteal $(ARGS)

test-slow: setup ## the slow tests, which `make test` leaves out
	$(BIN)/python -m pytest -m slow --numprocesses=$(WORKERS) --dist=worksteal $(ARGS)

test-lowest: setup ## the unit tests with the lowest versions that the packages allow of their direct dependencies
	scripts/test-lowest --numprocesses=$(WORKERS) $(ARGS)

test-pythons: ## the unit tests on every Python >= 3.11 that is installed (PYTHONS='3.12 3.13' names some)
	scripts/test-pythons --numprocesses=$(WORKERS) --dist=worksteal $(ARGS)

test-oracle: setup ## compare the library with the vendor's libraries on simulated hosts (root, Python 3.10)
	scripts/oracle-setup
	NPU_ORACLE=required $(BIN)/python -m pytest -m oracle tests/oracle $(ARGS)

test-prometheus: setup ## a real Prometheus scrapes the real exporter (needs Debian's apt-get, not root)
	scripts/prometheus-setup
	NPU_PROMETHEUS=required $(BIN)/python -m pytest -m prometheus tests/prometheus $(ARGS)

test-schemas: setup ## the manifests against the schemas of old Kubernetes releases
	PYTHON=$(BIN)/python scripts/schemas-setup
	NPU_SCHEMAS=required $(BIN)/python -m pytest tests/deployments/test_manifests_old_releases.py $(ARGS)

bench: setup ## measure the installed services and comparable programs: table, bench.json; about 6 minutes (Debian)
	scripts/prometheus-setup
	scripts/bench-setup
	$(BIN)/python -m tools.benchmarks $(ARGS)

bench-compare: setup ## compare the figures of bench.json (NEW=) with the figures of another run: OLD=file
	@test -n "$(OLD)" || { echo "which one? make bench-compare OLD=bench.old.json [NEW=bench.json]" >&2; exit 2; }
	@$(BIN)/python -m tools.benchmarks --compare "$(OLD)" --json "$(or $(NEW),bench.json)"

test-faults: setup ## the long fault schedule: 200 seeds of 30 steps each, about 20 minutes
	$(BIN)/python -m tools.faults --seeds 200 --steps 30 --jobs 2 $(ARGS)

test-hostile: setup ## attack the services' processes: connections, TLS, HTTP, passwords, files, gRPC, signals; minutes
	$(BIN)/python -m pytest -m hostile tests/hostile --numprocesses=$(if $(filter 0,$(WORKERS)),0,2) --dist=worksteal $(ARGS)

explore: setup ## every order of events on a small node, up to DEPTH=9 steps; some minutes
	$(BIN)/python -m tools.explore $(if $(DEPTH),--depth $(DEPTH)) $(ARGS)

soak: setup ## all three services for MINUTES (5) under faults: does their memory grow? (ARGS='--seed 1 --json FILE')
	@$(BIN)/python -m tools.soak --minutes $(or $(MINUTES),5) $(ARGS)

test-soak: setup ## 100000 collections of the exporter: do memory and open files grow? about 20 minutes
	NPU_SOAK=100000 $(BIN)/python -m pytest tests/contract/test_exporter_soak.py $(ARGS)

mutation: setup ## break modules on purpose, and list what no test notices; hours (ARGS='pure', 'edges', 'cores parse.text')
	nice $(BIN)/python -m tools.mutation $(ARGS)

images: ## the three images by docker buildx, for this machine
	REVISION="$$(git rev-parse HEAD)" docker buildx bake local $(ARGS)

images-buildah: setup ## the three images without Docker and without an image registry (Debian, root; scripts/images-setup)
	PYTHON=$(BIN)/python scripts/images-buildah $(SERVICE)

base-image: ## pin the base image of the build to what its tag names now (skopeo, a registry)
	scripts/images-setup skopeo
	$(PYTHON) scripts/base_image.py $(ARGS)

test-images: setup ## run the images of images-buildah in containers and test them (root)
	scripts/images-setup skopeo
	$(MAKE) --no-print-directory images-buildah
	NPU_IMAGES=required $(BIN)/python -m pytest -m images tests/deployments $(ARGS)

cluster: setup ## a real one-node Kubernetes on a simulated host, until Ctrl-C (Go, root, Debian; docs/cluster.md)
	scripts/cluster-setup
	scripts/images-setup
	$(MAKE) --no-print-directory images-buildah
	@$(BIN)/python -m tools.cluster $(ARGS)

test-cluster: setup ## test the services on a real Kubernetes (KUBERNETES=1.34|1.36|1.37 CONTAINERD=1.6|2; docs/cluster.md)
	scripts/cluster-setup prometheus
	scripts/images-setup
	$(if $(IMAGES_BUILT),,$(MAKE) --no-print-directory images-buildah)
	NPU_CLUSTER=required $(BIN)/python -m pytest -m cluster $(CLUSTER_TESTS) $(ARGS)

cluster-life: setup ## random events on a one-node Kubernetes for SECONDS=420, by SEED=0: is a core ever in two containers?
	scripts/cluster-setup
	scripts/images-setup
	$(if $(IMAGES_BUILT),,$(MAKE) --no-print-directory images-buildah)
	@$(BIN)/python -m tools.cluster.life --seconds $(or $(SECONDS),420) --seed $(or $(SEED),0) $(ARGS)

release-check: ## check that version, tag (TAG=), bake file, manifests and changelog of SERVICE agree
	@$(PYTHON) scripts/release_check.py $(SERVICE) $(if $(TAG),--tag $(TAG)) $(ARGS)

manifests: ## renew the overlays' copies of the manifests, and the rendered manifests (needs kubectl)
	scripts/manifests

e2e: setup ## the tests of test-cluster on a node that kind makes in Docker (KIND_IMAGE=); fails without Docker
	@$(BIN)/python -m tools.cluster.kind
	scripts/cluster-setup prometheus
	scripts/images-setup
	$(MAKE) --no-print-directory images-buildah
	NPU_CLUSTER=required NPU_CLUSTER_NODE=kind $(BIN)/python -m pytest -m cluster tests/cluster $(ARGS)

scale: setup ## the load of 5000 nodes: measured, simulated, and compared with docs/scale.md; a minute
	$(BIN)/python -m tools.scale $(ARGS)

golden: setup ## rewrite the files that hold what the programs print, after a change that is meant
	GOLDEN=write $(BIN)/python -m pytest -m "not slow" -q $$(grep -rlE "testkit.golden|GOLDEN" tests --include=test_*.py)

cover: setup ## the default suite with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: setup ## ruff: rules and format; hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint deployments/images/Dockerfile; else echo "no hadolint for this machine"; fi

format: setup ## rewrite to the format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: setup ## mypy, strict, over sources and tests
	$(BIN)/mypy

arch: setup ## the layers of docs/architecture.md, as import contracts
	$(BIN)/lint-imports

reference: setup ## rewrite docs/library-reference.md from the docstrings
	$(BIN)/python scripts/library_reference.py

proto: ## regenerate the code of the kubelet's protocols
	scripts/proto

proto-check: ## check that the committed generated code is what the protocols give
	scripts/proto --check

lock: setup ## recompile requirements/*.txt (hashes, no addresses)
	scripts/lock

clean: ## everything `make` made
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
