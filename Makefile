# Everything that people do here. Each target sets up what it needs by itself (tools/setup) and may be run from a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# CLUSTER names a definition in FOUNDATION/clusters/; ARGS is handed on to the target's command.
CLUSTER ?= demo
FOUNDATION ?= inventories/local
ARGS ?=
CLOUD ?= aws
SEEDS ?= 3
# Every tenth seed kills real processes.
SEED ?= 9

playbook = FLOTILLA_FRONTEND=make ANSIBLE_STDOUT_CALLBACK=flotilla.kubernetes.phases tools/run ansible-playbook -i $(FOUNDATION) -e flotilla_cluster_name=$(CLUSTER)

# Every target is a name, none is a file.
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.* \#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

cluster: setup ## Make the cluster CLUSTER (default demo), or bring it to what its definition says
	@$(playbook) flotilla.kubernetes.cluster_apply $(ARGS)

cluster-status: setup ## Show the health of CLUSTER
	@$(playbook) flotilla.kubernetes.cluster_status $(ARGS)

cluster-delete: setup ## Delete CLUSTER and everything that was made for it
	@$(playbook) flotilla.kubernetes.cluster_delete -e flotilla_confirm=$(CLUSTER) $(ARGS)

kubeconfig: setup ## Renew your kubeconfig of CLUSTER; somebody's: ARGS="-e kubeconfig_user=jane -e kubeconfig_groups=dev"
	@$(playbook) flotilla.kubernetes.kubeconfig $(ARGS)

kubectl: ## Talk to CLUSTER: make -s kubectl ARGS="get nodes"
	@tools/kubectl $(FOUNDATION) $(CLUSTER) $(ARGS)

bundle: setup ## Build the bundle of CLUSTER's Kubernetes version: its binaries and images
	@$(playbook) flotilla.kubernetes.bundle_build $(ARGS)

setup: ## Install the OS packages and Python tools that are missing
	@tools/setup

setup-tests: ## Install what only tests need, too
	@tools/setup --tests

lint: setup ## Run the linters, the documentation checks and ansible-test sanity
	@tools/gates lint

unit: setup ## Run the unit tests (ARGS for pytest)
	@tools/gates unit -- $(ARGS)

integration: setup-tests ## Run the tests of modules and plugins against real programs
	@tools/gates integration -- $(ARGS)

integration-slow: setup-tests ## Run those that take minutes: runs over fleets that are killed and stopped, simulated clusters, and clusters on segments of NSX
	@tools/gates integration-slow -- $(ARGS)

acceptance-awx: setup-tests ## Build everything on the AWX of CONTROLLER_HOST, twice, and use it (FLOTILLA_AWX_VARIABLES: docs/awx.md)
	@tools/gates acceptance-awx -- $(ARGS)

molecule: setup ## Run the molecule scenarios
	@tools/gates molecule

contract: setup-tests ## Try the modules of CLOUD (aws, gcp, azure or vsphere) in good weather and SEEDS (3) times in bad, from SEED (9) on
	@tools/gates contract -- --cloud $(CLOUD) --seeds $(SEEDS) --seed $(SEED) $(ARGS)

contract-full: setup-tests ## Try the modules of CLOUD 100 times in bad weather, for at most 30 minutes; the next call goes on from there
	@tools/gates contract-full -- --cloud $(CLOUD) $(ARGS)

test: setup-tests ## Run lint, unit, integration, contract and molecule
	@tools/gates lint unit integration contract molecule

e2e: setup-tests ## Run the end-to-end tests on real clusters
	@tools/gates e2e -- $(ARGS)

preflight: setup-tests ## Try what upgrades look for on API servers and etcds of an older minor
	@tools/gates preflight -- $(ARGS)

e2e-full: setup-tests ## Run preflight, contract-full, and the end-to-end tests with all their cases
	@tools/gates preflight integration-slow
	@tools/gates contract-full -- --cloud $(CLOUD)
	@tools/gates e2e-full e2e-aws e2e-gcp e2e-azure e2e-vsphere e2e-backup e2e-rollback e2e-patch-os e2e-settings e2e-replace e2e-replace-load e2e-rotate e2e-rotate-ca e2e-adoption e2e-addons e2e-usable e2e-upgrade e2e-upgrade-unprotected e2e-upgrade-faults e2e-upgrade-midway e2e-kill-upgrade -- $(ARGS)

e2e-aws: setup-tests ## Run the end-to-end test of AWS on machines that are real
	@tools/gates e2e-aws -- $(ARGS)

e2e-gcp: setup-tests ## Run the end-to-end test of Google Cloud on machines that are real
	@tools/gates e2e-gcp -- $(ARGS)

e2e-azure: setup-tests ## Run the end-to-end test of Azure on machines that are real
	@tools/gates e2e-azure -- $(ARGS)

e2e-vsphere: setup-tests ## Run the end-to-end test of vSphere on machines that are real
	@tools/gates e2e-vsphere -- $(ARGS)

e2e-upgrade: setup-tests ## Upgrade a cluster of three and three by two minors under load
	@tools/gates e2e-upgrade -- $(ARGS)

e2e-backup: setup-tests ## Destroy the control plane of a cluster with 10,000 objects and restore it; ARGS="-k three" with three control planes
	@tools/gates e2e-backup -- $(ARGS)

e2e-rollback: setup-tests ## Upgrade a cluster, take the upgrade back and upgrade it again
	@tools/gates e2e-rollback -- $(ARGS)

e2e-patch-os: setup-tests ## Update the packages of a cluster's machines and let them boot again
	@tools/gates e2e-patch-os -- $(ARGS)

e2e-settings: setup-tests ## Bring new settings of kubelet and containerd to a cluster, batch by batch
	@tools/gates e2e-settings -- $(ARGS)

e2e-addons: setup-tests ## Install what runs beside Kubernetes in a cluster, use it and remove it again
	@tools/gates e2e-addons -- $(ARGS)

e2e-usable: setup-tests ## Use a new cluster with add-ons, upgrade it by two minors under load and use it again
	@tools/gates e2e-usable -- $(ARGS)

e2e-replace: setup-tests ## Upgrade a cluster whose workers are replaced, and kill the run on its way
	@tools/gates e2e-replace -- $(ARGS)

e2e-replace-load: setup-tests ## Upgrade a cluster whose workers are replaced two at a time, under load
	@tools/gates e2e-replace-load -- $(ARGS)

e2e-upgrade-unprotected: setup-tests ## Upgrade under load without the steps that keep it from being noticed: requests have to fail
	@tools/gates e2e-upgrade-unprotected -- $(ARGS)

e2e-rotate: setup-tests ## Let the certificates of a cluster of three and one grow old, and renew them under load
	@tools/gates e2e-rotate -- $(ARGS)

e2e-rotate-ca: setup-tests ## Replace the certificate authorities of a cluster of three and one, and kill the run once in each phase
	@tools/gates e2e-rotate-ca -- $(ARGS)

e2e-adoption: setup-tests ## Adopt a cluster of one and two that plain kubeadm made
	@tools/gates e2e-adoption -- $(ARGS)

e2e-upgrade-faults: setup-tests ## Upgrade a cluster with a canary, a check that does not hold and a worker out of reach
	@tools/gates e2e-upgrade-faults -- $(ARGS)

e2e-upgrade-midway: setup-tests ## Let one thing after another go wrong in the middle of an upgrade
	@tools/gates e2e-upgrade-midway -- $(ARGS)

e2e-kill-upgrade: setup-tests ## Kill one upgrade at five kinds of step, and let it go on each time
	@tools/gates e2e-kill-upgrade -- $(ARGS)

e2e-kill: setup-tests ## Kill one create at every event, for KILL_MINUTES (25); the next call goes on from there
	@tools/gates e2e-kill -- $(ARGS)

e2e-kill-fresh: setup-tests ## Kill three fresh clusters, each once
	@tools/gates e2e-kill-fresh -- $(ARGS)

bench: setup-tests ## Measure create, no-op and endpoint against their bars (ARGS: names of tests/benchmarks/bench_*.py)
	@tools/run tests/benchmarks/run $(ARGS)

build: setup ## Build the collection into build/
	@tools/run ansible-galaxy collection build --force --output-path build

clean: ## Remove what tests and builds left in this folder (the cache stays)
	@rm -rf build .ansible .pytest_cache .ruff_cache .hypothesis tests/output
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
