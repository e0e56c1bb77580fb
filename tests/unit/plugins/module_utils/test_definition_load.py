# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading definitions: what comes out, and the exact text of what is wrong."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DEMO = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: demo
cloud: local
kubernetes_version: "1.36.3"
control_plane:
  count: 3
pools:
  - name: workers
    count: 2
network:
  plugin: flannel
local:
  network_cidr: 172.30.86.0/24
"""
HEAD = "plugin: flotilla.kubernetes.cluster\nschema: 1\n"
PATH = Path("/foundation/clusters/demo.yml")


def definition(text=DEMO, path=PATH):
    return load.Loader(read=lambda _path: text).load(path).definition


def errors(text, path=PATH):
    """Return the lines of the error, each without the folder."""
    with pytest.raises(DefinitionErrors) as caught:
        load.Loader(read=lambda _path: text).load(path)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{len(lines)} error{'s' if len(lines) > 1 else ''} in cluster definitions:"
    return [line.replace("/foundation/clusters/", "") for line in lines]


def changed(old, new):
    assert DEMO.count(old) == 1
    return DEMO.replace(old, new)


def write(folder, **files):
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_everything_that_was_left_out_has_its_default():
    assert definition() == {
        "schema": 1,
        "name": "demo",
        "foundation": "foundation",
        "file": "/foundation/clusters/demo.yml",
        "addons": {"own": []},
        "labels": {},
        "cloud": "local",
        "checks": [],
        "kubernetes_version": "1.36.3",
        "control_plane": {
            "count": 3,
            "machine": {},
            "zones": ["local"],
            "labels": {},
            "taints": [],
            "extra_args": {"kube-apiserver": {}, "kube-controller-manager": {}, "kube-scheduler": {}},
        },
        "pools": [
            {
                "name": "workers",
                "count": 2,
                "machine": {},
                "zones": ["local"],
                "labels": {},
                "taints": [],
                "rollout": {"strategy": "in_place", "max_unavailable": 1, "drain_timeout": "10m", "canary": False, "soak": "0s"},
            }
        ],
        "image": {"family": "debian-13"},
        "network": {"plugin": "flannel", "pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/12"], "manifests": []},
        "api_endpoint": {
            "provider": "cloud",
            "address": None,
            "interface": None,
            "port": 6443,
            "visibility": "private",
            "allowed_cidrs": [],
            "dns_name": None,
        },
        "access": {
            "ssh_user": "flotilla",
            "ssh_private_key_file": None,
            "ssh_public_keys": [],
            "allowed_cidrs": [],
            "address": "private",
            "bastion": None,
        },
        "site": {
            "proxy": {"no_proxy": []},
            "ca_files": [],
            "registry_mirrors": [],
            "ntp_servers": [],
            "dns": {"servers": [], "search": []},
        },
        "security": {
            "encryption_at_rest": True,
            "audit": {"enabled": True, "max_age_days": 30, "max_backups": 10, "max_size_mib": 100},
            "pod_security": {"enforce": "baseline", "warn": "restricted", "audit": "restricted", "exempt_namespaces": []},
            "tls_min_version": "1.2",
        },
        "authentication": {"oidc": []},
        "policies": {"namespaces": [], "cluster_roles": [], "cluster_role_bindings": []},
        "bundle": {"source": "auto", "directory": None, "architectures": ["amd64"], "delivery": {"method": "push"}},
        "local": {"network_cidr": "172.30.86.0/24", "egress": "allow"},
    }


def test_two_definitions_share_no_default():
    first, second = definition(), definition()
    first["pools"][0]["labels"]["a"] = "b"
    assert second["pools"][0]["labels"] == {}
    assert definition()["control_plane"]["labels"] == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "count: 3",
            "count: 4",
            "demo.yml:7: control_plane.count: is 4; allowed: 1, 3, 5 or 7, because etcd needs a majority, "
            "so 4 machines survive no more failures than 3.",
        ),
        (
            "count: 3",
            "count: 9",
            "demo.yml:7: control_plane.count: is 9; allowed: 1, 3, 5 or 7, because more members make etcd slower, not safer.",
        ),
        (
            "  - name: workers",
            "  - nane: workers",
            'demo.yml:9: pools[0].nane: unknown key; did you mean "name"? Known here: count, image, labels, machine, name, rollout, '
            "taints, zones.",
        ),
        (
            "kubernetes_version:",
            "pod_cidrs: [10.0.0.0/8]\nkubernetes_version:",
            "demo.yml:5: pod_cidrs: unknown key; it belongs to network.pod_cidrs. Known here: access, addons, api_endpoint, "
            "authentication, "
            "aws, azure, backup_store, bundle, checks, class, cloud, control_plane, existing, gcp, image, kind, kubernetes_version, "
            "labels, local, name, "
            "network, nsx, plugin, policies, pools, schema, security, site, vsphere.",
        ),
        (
            "plugin: flannel\n",
            "pod_cidrs: [172.30.0.0/16]\n",
            "demo.yml:14: local.network_cidr: is 172.30.86.0/24 and overlaps with network.pod_cidrs[0] (172.30.0.0/16); "
            "choose networks that have no address in common.",
        ),
        (
            "plugin: flannel\n",
            "pod_cidrs: [10.0.0.1/16]\n",
            "demo.yml:12: network.pod_cidrs[0]: is 10.0.0.1/16, which is not how the network is written; write 10.0.0.0/16.",
        ),
        (
            "plugin: flannel\n",
            "pod_cidrs: [10.244.0.0/22]\n",
            "demo.yml:12: network.pod_cidrs[0]: is 10.244.0.0/22 and has room for 4 nodes (a /24 each), but the cluster has 5; "
            "choose a /21 or larger.",
        ),
        (
            "plugin: flannel\n",
            "pod_cidrs: [10.244.0.0/25]\n",
            "demo.yml:12: network.pod_cidrs[0]: is 10.244.0.0/25, smaller than the /24 that each node takes; choose a larger network.",
        ),
        (
            "plugin: flannel\n",
            "service_cidrs: [10.0.0.0/11]\n",
            "demo.yml:12: network.service_cidrs[0]: is 10.0.0.0/11, larger than kube-apiserver takes; "
            "choose a network between /12 and /28.",
        ),
        (
            "plugin: flannel\n",
            "service_cidrs: [10.0.0.0/29]\n",
            "demo.yml:12: network.service_cidrs[0]: is 10.0.0.0/29, too small for kubeadm; choose a network between /12 and /28.",
        ),
        (
            "plugin: flannel\n",
            "service_cidrs: [10.0.0.256/16]\n",
            "demo.yml:12: network.service_cidrs[0]: is 10.0.0.256/16; must be a network such as 10.244.0.0/16.",
        ),
        (
            "plugin: flannel\n",
            "plugin: flannel\n  pod_cidrs: [10.244.0.0/16, 'fd00:1::/56']\n  service_cidrs: [10.96.0.0/12, 'fd00:2::/112']\n",
            "demo.yml:13: network.pod_cidrs: asks for dual stack, which the network plugin flannel does not do in this release; "
            "keep one network.",
        ),
        (
            "plugin: flannel\n",
            "pod_cidrs: [10.244.0.0/16, 10.245.0.0/16]\n",
            "demo.yml:12: network.pod_cidrs: has two IPv4 networks; two networks mean dual stack: one IPv4 and one IPv6.",
        ),
        (
            "plugin: flannel\n",
            "pod_cidrs: [127.0.0.0/16]\n",
            "demo.yml:12: network.pod_cidrs[0]: is 127.0.0.0/16, which overlaps with the reserved range 127.0.0.0/8; "
            "choose a private network such as 10.0.0.0/8.",
        ),
        (
            "plugin: flannel\n",
            "plugin: cilium\n",
            "demo.yml:12: network.plugin: is cilium, which is not in this release yet; allowed: flannel, kube-router, antrea, "
            "ncp, manifests or none.",
        ),
        (
            "plugin: flannel\n",
            "plugin: flanel\n",
            "demo.yml:12: network.plugin: is flanel; allowed: flannel, kube-router, antrea, ncp, manifests or none. "
            'Did you mean "flannel"?',
        ),
        (
            "plugin: flannel\n",
            "plugin: ncp\n",
            "demo.yml:12: network.plugin: is ncp, which is for clusters with a network in NSX; name a network profile with the section "
            "nsx, or take flannel.",
        ),
        (
            "plugin: flannel\n",
            "plugin: flannel\nbundle: {network_plugin: {manifest: /etc/passwd}}\n",
            "demo.yml:13: bundle.network_plugin: is for network plugins whose files you give; flannel needs none. Remove it.",
        ),
        (
            "plugin: flannel\n",
            "plugin: antrea\nbundle:\n  source: modules\n  network_plugin: {manifest: /etc/passwd}\n",
            "demo.yml:15: bundle.network_plugin.image_archives: is missing: the images of the network plugin antrea, as bundle.source: "
            "modules can not compile them.",
        ),
        (
            "plugin: flannel\n",
            "plugin: antrea\nbundle: {source: directory, directory: /b, network_plugin: {manifest: /etc/passwd}}\n",
            "demo.yml:13: bundle.network_plugin: is there, and bundle.source: directory takes a bundle that was made before; remove one.",
        ),
        (
            "plugin: flannel\n",
            "plugin: antrea\n  pod_cidrs: [10.244.0.0/16, 'fd00:1::/56']\n  service_cidrs: [10.96.0.0/12, 'fd00:2::/112']\n",
            "demo.yml:13: network.pod_cidrs: asks for dual stack, which the network plugin antrea does not do in this release; "
            "keep one network.",
        ),
        (
            "plugin: flannel\n",
            "plugin: manifests\n",
            "demo.yml:11: network.manifests: is empty, but network.plugin is manifests; name the manifest files of the network plugin.",
        ),
        (
            "plugin: flannel\n",
            "manifests: [cni.yml]\n",
            "demo.yml:12: network.manifests: needs plugin: manifests; the network plugin is flannel.",
        ),
        (
            "count: 2\nnetwork:\n  plugin: flannel\nlocal:\n  network_cidr: 172.30.86.0/24",
            "count: 3\nlocal:\n  network_cidr: 172.30.86.0/28",
            "demo.yml:12: local.network_cidr: is 172.30.86.0/28 and has room for 5 machines (from .10 up), but the cluster has 6; "
            "choose a larger network.",
        ),
        ("172.30.86.0/24", "10.0.0.0/12", "demo.yml:14: local.network_cidr: is 10.0.0.0/12; must be an IPv4 network between /16 and /28."),
        (
            "local:\n  network_cidr: 172.30.86.0/24\n",
            "",
            "demo.yml:1: local.network_cidr: is missing: IPv4 network of the machines, such as 172.30.86.0/24.",
        ),
        (
            "local:\n",
            "aws: {region: eu-west-1}\nlocal:\n",
            "demo.yml:13: aws: is the section of another cloud; the cluster has cloud: local. Remove the section or change cloud.",
        ),
        (
            'kubernetes_version: "1.36.3"',
            "kubernetes_version: 1.30",
            "demo.yml:5: kubernetes_version: is 1.30, which YAML reads as a number; "
            'write the exact version as a text of three parts: "1.30.<patch>".',
        ),
        ("1.36.3", "v1.36.3", "demo.yml:5: kubernetes_version: is v1.36.3; write it without the leading v: 1.36.3."),
        (
            "1.36.3",
            "1.36",
            "demo.yml:5: kubernetes_version: is 1.36, a minor version; write an exact version of three parts: 1.36.<patch>.",
        ),
        ("1.36.3", "latest", 'demo.yml:5: kubernetes_version: is latest; must be an exact version such as "1.36.3".'),
        ("schema: 1", "schema: 2", "demo.yml:2: schema: is 2, newer than this release of the collection knows (1); update the collection."),
        ("schema: 1\n", "", "demo.yml:1: schema: is missing; write schema: 1."),
        (
            "plugin: flotilla.kubernetes.cluster\n",
            "",
            'demo.yml:1: plugin: is missing; write as the first line "plugin: flotilla.kubernetes.cluster".',
        ),
        (
            "name: demo",
            "name: Demo",
            "demo.yml:3: name: is Demo; must be a DNS label of at most 24 characters: small letters, digits and '-', "
            "with a letter or digit at both ends.",
        ),
        (
            "name: demo",
            "name: a123456789b123456789c1234",
            "demo.yml:3: name: is a123456789b123456789c1234; must be a DNS label of at most 24 characters: small letters, digits and '-', "
            "with a letter or digit at both ends.",
        ),
        (
            "name: workers",
            "name: control-plane",
            "demo.yml:9: pools[0].name: is control-plane, the name of the control plane's own machines; choose another name.",
        ),
        ("count: 2", "count: -1", "demo.yml:10: pools[0].count: is -1; must be 0 or more."),
        ("count: 2", "count: 2.0", "demo.yml:10: pools[0].count: is 2.0 (a number); must be a whole number."),
        ("count: 2", "count:", "demo.yml:10: pools[0].count: is empty; must be a whole number."),
        (
            "count: 2",
            "count: 2\n    machine: {size: m7i.large}",
            "demo.yml:11: pools[0].machine.size: machines of the cloud local have no such setting; remove it.",
        ),
        (
            "count: 2",
            "count: 2\n    labels: {gpu: yes}",
            "demo.yml:11: pools[0].labels.gpu: is yes (true or false); must be a Kubernetes label value: at most 63 letters, digits, "
            "'-', '_' and '.', with a letter or digit at both ends. Quote it: \"yes\".",
        ),
        (
            "count: 2",
            "count: 2\n    labels: {'{{ x }}': a}",
            "demo.yml:11: pools[0].labels.{{ x }}: the key {{ x }} must be a Kubernetes label key such as tier or example.com/tier.",
        ),
        (
            "count: 2",
            "count: 2\n    labels: {topology.kubernetes.io/zone: a}",
            "demo.yml:11: pools[0].labels.topology.kubernetes.io/zone: has the prefix topology.kubernetes.io/, which Kubernetes keeps for "
            "itself (the kubelet refuses it); choose another prefix or kubelet.kubernetes.io or node.kubernetes.io.",
        ),
        (
            "count: 2",
            'count: 2\n    taints: ["gpu=yes:NoSchedule"]',
            "demo.yml:11: pools[0].taints[0]: is gpu=yes:NoSchedule; write a taint as {key: ..., value: ..., effect: NoSchedule}.",
        ),
        (
            "count: 2",
            "count: 2\n    taints: [{key: a, effect: NoSchedul}]",
            "demo.yml:11: pools[0].taints[0].effect: is NoSchedul; allowed: NoSchedule, PreferNoSchedule or NoExecute. "
            'Did you mean "NoSchedule"?',
        ),
        (
            "count: 2",
            "count: 2\n    taints:\n    - {key: a, effect: NoSchedule}\n    - {key: a, effect: NoSchedule, value: b}",
            "demo.yml:13: pools[0].taints[1]: repeats the taint a with effect NoSchedule; a node has one per key and effect.",
        ),
        (
            "count: 2",
            "count: 2\n    zones: [a-b, a.b]",
            "demo.yml:11: pools[0].zones[1]: is a.b, which gives the Ansible group zone_a_b, as does the zone a-b; rename one.",
        ),
        (
            "kubernetes_version:",
            "checks: [{name: a}]\nkubernetes_version:",
            "demo.yml:5: checks[0]: has nothing to ask; a check is one of http, promql and command.",
        ),
        (
            "kubernetes_version:",
            "checks: [{name: a, command: [x]}, {name: a, command: [y]}]\nkubernetes_version:",
            "demo.yml:5: checks[1].name: is a, as is the check in line 5; names of checks are unique.",
        ),
        (
            "kubernetes_version:",
            "checks: [{name: a, http: {url: 'https://u:p@x/'}}]\nkubernetes_version:",
            "demo.yml:5: checks[0].http.url: is https://u:***@x/; must be a URL without user name and password such as "
            "https://shop.example.com/healthz.",
        ),
        (
            "count: 2",
            "count: 2\n  - name: workers\n    count: 1",
            "demo.yml:11: pools[1].name: is workers, as is the pool in line 9; pool names are unique.",
        ),
        (
            "local:",
            "site: {proxy: {https: 'http://me:secret@proxy:3128'}}\nlocal:",
            "demo.yml:13: site.proxy.https: is http://me:***@proxy:3128; must be a URL without user name and password such as "
            "http://proxy.example.com:3128.",
        ),
        (
            "local:",
            "site: {proxy: {no_proxy: [.example.com]}}\nlocal:",
            "demo.yml:13: site.proxy.no_proxy: has no effect without a proxy; add http or https.",
        ),
        (
            "local:",
            "site: {proxy: {http: 'http://proxy:3128', no_proxy: [10.0.0.0/33]}}\nlocal:",
            "demo.yml:13: site.proxy.no_proxy[0]: is 10.0.0.0/33; must be a network such as 10.0.0.0/8, or a host.",
        ),
        (
            "local:",
            "site: {dns: {servers: [10.0.0.256]}}\nlocal:",
            "demo.yml:13: site.dns.servers[0]: is 10.0.0.256; must be an IP address such as 10.0.0.53.",
        ),
        (
            "local:",
            "site: {dns: {search: [example.com]}}\nlocal:",
            "demo.yml:13: site.dns.search: needs site.dns.servers; name the servers that know these domains.",
        ),
        (
            "local:",
            "site: {registry_mirrors: [{registry: docker.io, url: 'https://a'}, {registry: docker.io, url: 'https://a/'}]}\nlocal:",
            "demo.yml:13: site.registry_mirrors[1]: repeats the mirror https://a of docker.io; remove it.",
        ),
        (
            "local:",
            "site: {registry_mirrors: [{registry: docker.io, url: 'https://a', skip_verify: true}]}\nlocal:",
            "demo.yml:13: site.registry_mirrors[0].skip_verify: unknown key. Known here: ca_file, override_path, registry, url.",
        ),
        (
            "local:",
            "site: {ntp_servers: [time1]}\nlocal:",
            "demo.yml:13: site.ntp_servers: machines of the cloud local share the clock of their host; remove it.",
        ),
        (
            "local:",
            "bundle: {source: mirror}\nlocal:",
            "demo.yml:13: bundle.mirror: is missing: source mirror needs {url: ..., registry: ...}.",
        ),
        (
            "local:",
            "bundle: {source: directory}\nlocal:",
            "demo.yml:13: bundle.directory: is null, but source directory needs the directory of a bundle.",
        ),
        (
            "local:",
            "bundle: {mirror: {url: 'http://a', registry: r}}\nlocal:",
            "demo.yml:13: bundle.mirror.url: is http://a; must be an https URL without user and password, such as "
            "https://files.example.com/kubernetes.",
        ),
        (
            "local:",
            "bundle: {mirror: {url: 'https://a', registry: 'https://r'}}\nlocal:",
            "demo.yml:13: bundle.mirror.registry: is https://r; must be host[:port][/path] without a scheme, such as "
            "registry.example.com/kubernetes.",
        ),
        (
            "local:",
            "bundle: {delivery: {method: pull}}\nlocal:",
            "demo.yml:13: bundle.delivery.url: is missing: with method: pull machines need a web server that has the bundle.",
        ),
        (
            "local:",
            "bundle: {delivery: {method: seed, url: 'https://mirror.example.com/1.36.3'}}\nlocal:",
            "demo.yml:13: bundle.delivery.url: needs method: pull; the method is seed.",
        ),
        (
            "local:",
            "site: {ca_files: [../ca.pem]}\nlocal:",
            "demo.yml:13: site.ca_files[0]: is ../ca.pem, but there is no file /foundation/ca.pem.",
        ),
        (
            "local:",
            "authentication: {oidc: [{issuer_url: 'http://a', audiences: [k]}]}\nlocal:",
            "demo.yml:13: authentication.oidc[0].issuer_url: is http://a; must be an https URL such as "
            "https://login.example.com/realms/ops, exactly as the tokens have it.",
        ),
        (
            "local:",
            "authentication: {oidc: [{issuer_url: 'https://a'}]}\nlocal:",
            "demo.yml:13: authentication.oidc[0].audiences: is missing: client ids; a token has to be made for one of them.",
        ),
        (
            "local:",
            "authentication: {oidc: [{issuer_url: 'https://a', audiences: [k]}, {issuer_url: 'https://a', audiences: [l]}]}\nlocal:",
            "demo.yml:13: authentication.oidc[1].issuer_url: is https://a, which stands above already; "
            "give all its audiences to one entry.",
        ),
        (
            "local:",
            "authentication: {oidc: [{issuer_url: 'https://kubernetes.default.svc.cluster.local', audiences: [k]}]}\nlocal:",
            "demo.yml:13: authentication.oidc[0].issuer_url: is https://kubernetes.default.svc.cluster.local, "
            "the cluster's own issuer of service accounts' tokens; name the issuer of your people.",
        ),
        (
            "local:",
            "authentication: {oidc: [{issuer_url: 'https://a', audiences: [k], groups_prefix: 'system:'}]}\nlocal:",
            "demo.yml:13: authentication.oidc[0].groups_prefix: is system:; must be text without spaces such as oidc:, not system:.",
        ),
        (
            "local:",
            "authentication: {oidc: [{issuer_url: 'https://a', audiences: [k], ca_file: ca.pem}]}\nlocal:",
            "demo.yml:13: authentication.oidc[0].ca_file: is ca.pem, but there is no file ca.pem.",
        ),
        (
            "local:",
            "security: {audit: {webhook: {server: 'http://audit.example.com'}}}\nlocal:",
            "demo.yml:13: security.audit.webhook.server: is http://audit.example.com; must be an https URL without user name and password "
            "such as https://audit.example.com/kubernetes.",
        ),
        (
            "local:",
            "security: {audit: {webhook: {authentication: none}}}\nlocal:",
            "demo.yml:13: security.audit.webhook.server: is missing: where API servers post lists of events (`audit.k8s.io/v1`).",
        ),
        (
            "local:",
            "security: {audit: {webhook: {server: 'https://a', ca_file: ca.pem}}}\nlocal:",
            "demo.yml:13: security.audit.webhook.ca_file: is ca.pem, but there is no file ca.pem.",
        ),
        (
            "local:",
            "security: {audit: {webhook: {server: 'https://a', token: abc}}}\nlocal:",
            "demo.yml:13: security.audit.webhook.token: unknown key. "
            "Known here: authentication, ca_file, initial_backoff, max_delay, server.",
        ),
        (
            "local:",
            "security: {audit: {webhook: {server: 'https://a', max_delay: 0s}}}\nlocal:",
            "demo.yml:13: security.audit.webhook.max_delay: is 0s; must be a duration such as 10s or 1m, not 0s.",
        ),
        (
            "local:",
            "security: {audit: {enabled: false, webhook: {server: 'https://a'}}}\nlocal:",
            "demo.yml:13: security.audit.webhook: gets no events: security.audit.enabled is false; leave one of them out.",
        ),
        ("name: demo", "name: demo\nname: demo", "demo.yml:4: name: is written twice, first in line 3."),
        ("name: demo", "name: [demo", "demo.yml:4: is not valid YAML: expected ',' or ']', but got ':'."),
        ("name: demo", "name: !vault demo", "demo.yml:3: name: the YAML tag !vault is not allowed; definitions are plain data."),
        (
            "control_plane:\n  count: 3",
            "control_plane:\n  <<: {count: 3}",
            "demo.yml:7: control_plane: merge keys (<<) are not supported; use a cluster class for what clusters share.",
        ),
    ],
)
def test_a_wrong_input_gives_one_clear_error(old, new, message):
    assert errors(changed(old, new)) == [message]


def test_machines_are_counted_over_all_pools_and_just_fit():
    text = changed("172.30.86.0/24", "172.30.86.0/28")
    assert definition(text)["local"]["network_cidr"] == "172.30.86.0/28"


def test_all_errors_come_at_once_in_the_order_of_the_file():
    text = changed("count: 3", "count: 2").replace("name: workers", "name: Workers").replace("plugin: flannel", "plugn: flannel")
    lines = [line.split(": ")[0:2] for line in errors(text)]
    assert lines == [["demo.yml:7", "control_plane.count"], ["demo.yml:9", "pools[0].name"], ["demo.yml:12", "network.plugn"]]


def test_what_yaml_can_not_hold_hides_no_other_error():
    text = DEMO.replace("count: 3", "count: 4").replace("network:\n", "cloud: local\nnetwork:\n").replace("name: demo", "<<: demo")
    assert errors(text.replace("count: 2", "count: !!python/name:x 2")) == [
        "demo.yml:3: merge keys (<<) are not supported; use a cluster class for what clusters share.",
        "demo.yml:7: control_plane.count: is 4; allowed: 1, 3, 5 or 7, because etcd needs a majority, "
        "so 4 machines survive no more failures than 3.",
        "demo.yml:10: pools[0].count: the YAML tag tag:yaml.org,2002:python/name:x is not allowed; definitions are plain data.",
        "demo.yml:11: cloud: is written twice, first in line 4.",
    ]


def test_a_file_that_is_not_there_hides_no_other_error():
    text = DEMO.replace("count: 3", "count: 4") + 'site: {ca_files: [~nobody-here/ca.pem, 5, "/a\\0b"]}\n'
    assert [line.split(": ")[:3] for line in errors(text)] == [
        ["demo.yml:7", "control_plane.count", "is 4; allowed"],
        ["demo.yml:15", "site.ca_files[0]", "is ~nobody-here/ca.pem, but there is no file ~nobody-here/ca.pem."],
        ["demo.yml:15", "site.ca_files[1]", "is 5 (a whole number); must be a file's path. Quote it"],
        ["demo.yml:15", "site.ca_files[2]", "is /a?b, but there is no file /a?b."],
    ]


def test_a_misspelt_key_is_not_reported_as_missing_too():
    assert [line.split(": ")[1] for line in errors(changed("kubernetes_version", "kubernetes_versoin"))] == ["kubernetes_versoin"]


def test_an_error_carries_its_parts_as_data():
    with pytest.raises(DefinitionErrors) as caught:
        definition(changed("plugin: flannel", "plugin: flanel"))
    result = caught.value.as_result()
    assert result["code"] == "DEFINITION_INVALID"
    assert result["errors"] == [
        {
            "file": "/foundation/clusters/demo.yml",
            "line": 12,
            "path": "network.plugin",
            "message": 'is flanel; allowed: flannel, kube-router, antrea, ncp, manifests or none. Did you mean "flannel"?',
            "value": "flanel",
            "allowed": "flannel, kube-router, antrea, ncp, manifests or none",
            "suggestion": "flannel",
        }
    ]
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "demo.yml:1: is empty."),
        ("# nothing\n", "demo.yml:1: is empty."),
        ("- a\n", "demo.yml:1: must hold keys and values such as 'name: demo'."),
        ("just words\n", "demo.yml:1: must hold keys and values such as 'name: demo'."),
        (DEMO + "---\na: 1\n", "demo.yml:15: a second YAML document begins here; write one definition per file."),
        ("[" * 100_000, "demo.yml:1: is nested deeper than 32 levels or has more than 50000 values."),
        ("a: &a [1]\nb: *c\n", "demo.yml:2: b: the alias *c names no finished value above it."),
        ("a: &a [*a]\n", "demo.yml:1: a[0]: the alias *a names no finished value above it."),
        ("a: 0b_\n", "demo.yml:1: a: 0b_ is no number that YAML can read; quote it if it is a text."),
        ("a: " + "9" * 2000 + "\n", "demo.yml:1: a: is longer than 1024 characters, which no value of a definition is."),
        ("? [a]\n: b\n", "demo.yml:1: a key must be a plain word."),
        ("a: b\n\tc: d\n", "demo.yml:2: is not valid YAML: found character '\\t' that cannot start any token."),
        ("a: \x01\n", "demo.yml:1: is not valid YAML: special characters are not allowed."),
    ],
)
def test_text_that_is_no_definition(text, message):
    first = [line for line in errors(text) if not re.search(r": (is missing|unknown key)", line)]
    assert first == [message]


def test_aliases_of_aliases_do_not_fill_the_memory():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 8)}]" for level in range(1, 20)]
    assert errors("\n".join(lines)) == ["demo.yml:6: is nested deeper than 32 levels or has more than 50000 values."]


def test_an_alias_is_a_plain_copy_with_its_own_line():
    text = changed("count: 2\n", "count: &n 2\n  - name: more\n    count: *n\n")
    assert [pool["count"] for pool in definition(text)["pools"]] == [2, 2]
    assert errors(text.replace("&n 2", "&n -2"))[1].startswith("demo.yml:12: pools[1].count: is -2;")


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in "".join(errors(changed("cloud: local", 'cloud: "\\e[31mlocal"\n"\\e[0m": 1')))


def test_dates_and_numbers_with_colons_are_not_guessed():
    text = changed("count: 2", "count: 2\n    labels: {since: 2026-01-01}")
    assert definition(text)["pools"][0]["labels"] == {"since": "2026-01-01"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "x.yml:1: is not UTF-8 text."),
        (b"a: 1\nb: \xc3\x28\n", "x.yml:2: is not UTF-8 text."),
        (
            b"$ANSIBLE_VAULT;1.1;AES256\n6162\n",
            "x.yml:1: is encrypted by ansible-vault; definitions hold no secrets and are read as plain text.",
        ),
        (b"a" * (load.MAX_BYTES + 1), "x.yml: is larger than 1 MiB, which no cluster definition is."),
        (None, "x.yml: can not be read: No such file or directory."),
    ],
)
def test_files_that_can_not_be_read(tmp_path, content, message):
    path = tmp_path / "x.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DefinitionErrors) as caught:
        load.read_text(path)
    assert str(caught.value).splitlines()[1:] == [f"{tmp_path}/{message}"]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "x.yml").write_text(DEMO, encoding="utf-8-sig")
    assert load.read_text(tmp_path / "x.yml") == DEMO


# ---- classes and profiles


CLASS = (
    HEAD
    + """\
kind: cluster_class
cloud: local
kubernetes_version: "1.36.3"
control_plane: {count: 3, labels: {tier: a, zone: b}}
pools:
  - {name: web, count: 2, labels: {x: "1"}}
  - {name: batch, count: 1}
network: {profile: plain, service_cidrs: [10.98.0.0/16]}
"""
)
PROFILE = HEAD + "kind: network_profile\nnetwork: {pod_cidrs: [10.200.0.0/16], service_cidrs: [10.97.0.0/16]}\n"
HEIR = (
    HEAD
    + """\
name: heir
class: small
control_plane: {count: 1, labels: {tier: c}}
pools:
  - {name: extra, count: 1}
  - {name: web, count: 5}
local: {network_cidr: 172.30.90.0/24}
"""
)


@pytest.fixture
def foundation(tmp_path):
    return write(tmp_path / "lab", cluster_classes__small=CLASS, network_profiles__plain=PROFILE, clusters__heir=HEIR)


def test_a_cluster_wins_over_its_class_and_the_class_over_the_profile(foundation):
    heir = load.load_file(foundation / "clusters/heir.yml")
    assert heir["foundation"] == "lab"
    assert heir["class"] == "small"
    assert heir["control_plane"]["count"] == 1
    assert heir["control_plane"]["labels"] == {"tier": "c", "zone": "b"}
    assert [(pool["name"], pool["count"], pool["labels"]) for pool in heir["pools"]] == [
        ("web", 5, {"x": "1"}),
        ("batch", 1, {}),
        ("extra", 1, {}),
    ]
    assert heir["network"]["pod_cidrs"] == ["10.200.0.0/16"]
    assert heir["network"]["service_cidrs"] == ["10.98.0.0/16"]
    assert "kind" not in heir


def test_an_inherited_value_is_blamed_where_it_stands(foundation):
    write(foundation, cluster_classes__small=CLASS.replace("count: 2", "count: two"))
    with pytest.raises(DefinitionErrors) as caught:
        load.load_fleet([foundation])
    assert [(Path(problem.file).name, problem.line, problem.path) for problem in caught.value.problems] == [
        ("small.yml", 8, "pools[0].count")
    ]


def test_a_rule_names_the_inherited_file(foundation):
    write(foundation, network_profiles__plain=PROFILE.replace("10.200.0.0/16", "10.98.0.0/20"))
    with pytest.raises(DefinitionErrors) as caught:
        load.load_fleet([foundation])
    (problem,) = caught.value.problems
    assert (Path(problem.file).name, problem.path) == ("small.yml", "network.service_cidrs[0]")
    assert "overlaps with network.pod_cidrs[0] (10.98.0.0/20)" in problem.message


def test_a_class_that_is_not_there_is_named_with_the_nearest_one(foundation):
    write(foundation, clusters__heir=HEIR.replace("class: small", "class: smal"))
    with pytest.raises(DefinitionErrors) as caught:
        load.load_file(foundation / "clusters/heir.yml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.path, problem.suggestion) == (4, "class", "small")
    assert problem.message == f'is smal, but there is no file {foundation}/cluster_classes/smal.yml. Did you mean "small"?'


def test_a_class_may_not_name_a_cluster_or_another_class(foundation):
    write(foundation, cluster_classes__small=CLASS + "name: x\nclass: y\n")
    with pytest.raises(DefinitionErrors) as caught:
        load.load_fleet([foundation])
    assert [problem.path for problem in caught.value.problems] == ["name", "class"]


def test_certificates_are_found_next_to_the_file_that_names_them(foundation):
    (foundation / "cluster_classes/ca.pem").write_text("PEM")
    (foundation / "clusters/mirror.pem").write_text("PEM")
    write(
        foundation,
        cluster_classes__site=HEAD + "kind: cluster_class\nsite: {ca_files: [ca.pem], dns: {servers: [10.0.0.53]}}\n",
        clusters__demo=DEMO + "class: site\nsite: {registry_mirrors: [{registry: a, url: 'https://a', ca_file: mirror.pem}]}\n",
    )
    found = load.load_file(foundation / "clusters/demo.yml")["site"]
    assert found["ca_files"] == [str(foundation / "cluster_classes/ca.pem")] and found["dns"]["servers"] == ["10.0.0.53"]
    assert found["registry_mirrors"][0]["ca_file"] == str(foundation / "clusters/mirror.pem")


def test_manifests_are_found_next_to_the_file_that_names_them(foundation):
    write(
        foundation, network_profiles__plain=PROFILE.replace("network: {", "network: {plugin: manifests, manifests: [cni/a.yml, /b.yml], ")
    )
    heir = load.load_file(foundation / "clusters/heir.yml")
    assert heir["network"]["manifests"] == [f"{foundation}/network_profiles/cni/a.yml", "/b.yml"]


# ---- fleets


def test_a_folder_gives_all_its_clusters(foundation):
    write(foundation, clusters__demo=DEMO, group_vars__all="a: 1\n", hosts="all: {hosts: {x: {}}}\n", clusters__deep__third=HEIR)
    (foundation / "clusters/.demo.yml.swp").write_text("x")
    (foundation / "clusters/deep/third.yml").write_text(DEMO.replace("name: demo", "name: third").replace("86.0", "87.0"))
    assert [found["name"] for found in load.load_fleet([foundation])] == ["demo", "heir", "third"]
    assert [found["name"] for found in load.load_fleet([foundation / "clusters/demo.yml", foundation, "a,b", "/missing"])] == [
        "demo",
        "heir",
        "third",
    ]


def test_a_file_without_the_plugin_line_is_an_error_in_a_definitions_folder_only(tmp_path):
    write(tmp_path, clusters__demo=DEMO.replace("plugin: flotilla.kubernetes.cluster\n", ""), other__demo="a: 1")
    with pytest.raises(DefinitionErrors) as caught:
        load.load_fleet([tmp_path])
    assert [str(problem) for problem in caught.value.problems] == [
        f"{tmp_path}/clusters/demo.yml:1: plugin: is in clusters/ but is no definition: "
        'its first line must be "plugin: flotilla.kubernetes.cluster".'
    ]


def test_a_definition_with_a_syntax_error_is_still_found(tmp_path):
    write(tmp_path, anywhere="plugin: 'flotilla.kubernetes.cluster'  # ours\nname: [demo\n")
    with pytest.raises(DefinitionErrors, match="anywhere.yml:3: is not valid YAML"):
        load.load_fleet([tmp_path])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("demo", ("86.0", "87.0"), "b.yml:3: name: is demo, as in {folder}/clusters/a.yml; names are unique in the fleet."),
        (
            "other",
            ("86.0/24", "0.0/16"),
            "b.yml:14: local.network_cidr: is 172.30.0.0/16 and overlaps with the cluster demo (172.30.86.0/24, {folder}/clusters/a.yml); "
            "choose another network.",
        ),
        (
            "demo--pool-workers",
            ("86.0", "87.0"),
            "b.yml:3: name: is demo--pool-workers: the Ansible group cluster_demo__pool_workers would stand for cluster demo--pool-workers "
            "and for pool workers of cluster demo; rename one.",
        ),
    ],
)
def test_clusters_of_a_fleet_do_not_collide(tmp_path, name, change, message):
    second = changed("name: demo", f"name: {name}").replace(*change)
    write(tmp_path, clusters__a=DEMO, clusters__b=second)
    with pytest.raises(DefinitionErrors) as caught:
        load.load_fleet([tmp_path])
    assert [str(problem) for problem in caught.value.problems] == [f"{tmp_path}/clusters/" + message.format(folder=f"{tmp_path}")]


def test_zones_of_different_clusters_do_not_collide(tmp_path):
    write(
        tmp_path,
        clusters__a=changed("count: 3", "count: 3\n  zones: [a-b]"),
        clusters__b=changed("count: 3", "count: 3\n  zones: [a.b]").replace("name: demo", "name: b").replace("86.0", "87.0"),
    )
    with pytest.raises(DefinitionErrors, match="its zone a.b and the zone a-b give the same Ansible group zone_a_b"):
        load.load_fleet([tmp_path])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x/inventories/production-aws/clusters/a.yml", "production-aws"),
        ("/tmp/Tmp.XyZ/a.yml", "tmp-xyz"),
        ("/a.yml", "default"),
    ],
)
def test_the_foundation_is_the_folder_above_clusters_as_every_cloud_takes_it_in_a_label(path, name):
    assert load.foundation_name(Path(path)) == name


def with_arguments(arguments, version="1.36.3"):
    text = changed('"1.36.3"', f'"{version}"')
    return text.replace("  count: 3\n", f"  count: 3\n  extra_args: {arguments}\n")


def test_flags_of_components_are_taken():
    text = with_arguments('{kube-apiserver: {event-ttl: 2h, feature-gates: "AllBeta=true"}, kube-scheduler: {v: "4"}}')
    assert definition(text)["control_plane"]["extra_args"] == {
        "kube-apiserver": {"event-ttl": "2h", "feature-gates": "AllBeta=true"},
        "kube-controller-manager": {},
        "kube-scheduler": {"v": "4"},
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            '{kube-apiserver: {profilng: "false"}}',
            "kube-apiserver.profilng: is no flag of kube-apiserver in Kubernetes 1.36; did you mean --profiling?",
        ),
        (
            '{kube-scheduler: {feature-gates: "ProcMountType=false"}}',
            "kube-scheduler.feature-gates: ProcMountType is true in Kubernetes 1.36 (GA) and can not be changed any more; remove it.",
        ),
        (
            "{kube-apiserver: {enable-admission-plugins: PodSecurityy}}",
            "kube-apiserver.enable-admission-plugins: PodSecurityy is no admission plugin in Kubernetes 1.36; did you mean PodSecurity?",
        ),
        (
            "{kube-controller-manager: {cluster-cidr: 10.0.0.0/8}}",
            "kube-controller-manager.cluster-cidr: is what network.pod_cidrs sets; write it there.",
        ),
        (
            "{kube-apiserver: {oidc-issuer-url: https://login.example.com}}",
            "kube-apiserver.oidc-issuer-url: is what authentication.oidc sets; write it there.",
        ),
        (
            "{kube-apiserver: {audit-webhook-config-file: /etc/kubernetes/sink.yml}}",
            "kube-apiserver.audit-webhook-config-file: is what security.audit.webhook sets; write it there.",
        ),
        (
            '{kube-apiserver: {anonymous-auth: "true"}}',
            "kube-apiserver.anonymous-auth: is decided by the API servers' authentication file: nameless requests see their health only; "
            "remove it.",
        ),
    ],
)
def test_flags_that_a_version_does_not_take_are_refused(arguments, expected):
    assert errors(with_arguments(arguments)) == [f"demo.yml:8: control_plane.extra_args.{expected}"]


def test_flags_depend_on_the_version():
    arguments = "{kube-scheduler: {tls-curve-preferences: X25519}}"
    assert definition(with_arguments(arguments))
    (line,) = errors(with_arguments(arguments, "1.35.4"))
    assert line.endswith("is no flag of kube-scheduler in Kubernetes 1.35 yet (1.36 has it); remove it.")


def test_of_a_version_without_a_table_no_flag_is_refused():
    # That the version is not there is said where the bundle is made.
    assert definition(with_arguments('{kube-scheduler: {no-such-flag: "1"}}', "1.99.0"))


@pytest.mark.parametrize(
    "arguments", ["{kube-apiserver: {profiling: false}}", '{kube-apiserver: {"--profiling": "false"}}', "{kubelet: {}}"]
)
def test_flags_of_another_shape_are_refused(arguments):
    (line,) = errors(with_arguments(arguments))
    assert line.startswith("demo.yml:8: control_plane.extra_args.kube")


def test_a_thousand_definitions_load_in_less_than_five_seconds(tmp_path):
    folder = tmp_path / "clusters"
    folder.mkdir()
    for number in range(1000):
        text = DEMO.replace("name: demo", f"name: c{number}").replace("172.30.86.0", f"10.{number // 250}.{number % 250}.0")
        (folder / f"c{number}.yml").write_text(text)
    start = time.process_time()
    assert len(load.load_fleet([tmp_path])) == 1000
    assert time.process_time() - start < 5


# ---- arbitrary input

WORDS = sorted(
    set(re.findall(r"[\w.-]+", DEMO))
    | {"labels", "taints", "zones", "machine", "key", "effect", "egress", "pod_cidrs", "class", "kind", "image", "id", "family"}
    | {
        "aws",
        "vpc",
        "tags",
        "ids",
        "subnets",
        "region",
        "access",
        "bastion",
        "host",
        "api_endpoint",
        "allowed_cidrs",
        "existing",
        "machines",
    }
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([*WORDS, "10.0.0.0/8", "10.0.0.0/33", "fd00::/64", "{{ x }}", "NoSchedule"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=6),
    max_leaves=25,
)


def check_arbitrary(text):
    """A text gives a definition or a list of errors, each of which names the file; anything else fails the test."""
    try:
        loaded = load.Loader(read=lambda _path: text).load(PATH)
    except DefinitionErrors as error:
        assert error.problems
        assert all(problem.file == str(PATH) and problem.line >= 1 and problem.message for problem in error.problems)
        assert all("\n" not in str(problem) for problem in error.problems)
        json.dumps(error.as_result())
    else:
        assert loaded is None or loaded.definition["name"]


AWS = (
    DEMO.replace("cloud: local", "cloud: aws")[: DEMO.index("local:\n") - 2]
    + """\
image: {id: ami-0123abcd}
api_endpoint: {visibility: public, allowed_cidrs: [203.0.113.0/24], dns_name: api.example.com}
access: {ssh_public_keys: [ssh-ed25519 AAAA], bastion: {host: bastion.example.com}}
aws:
  region: eu-west-1
  vpc: {tags: {a: b}}
  subnets: {machines: {ids: [subnet-0123abcd]}, load_balancer: {tags: {a: b}}}
  security_groups: {worker: [sg-0123abcd]}
  tags: {owner: me}
"""
)
BASES = [DEMO, AWS]
SOME = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
MANY = settings(max_examples=500, **SOME)

ANY_TEXT = st.text(max_size=200) | st.text(alphabet="abc:-[]{}&*!|>'\"#%@`\n ,?<=0._~", max_size=60)
ANY_YAML = st.builds(
    lambda base, tree: yaml.safe_dump({**yaml.safe_load(base), **tree}, allow_unicode=True),
    st.sampled_from(BASES),
    st.dictionaries(st.sampled_from(WORDS), TREES, max_size=8),
)


@st.composite
def values_replaced(draw):
    """Return a definition with up to three of its values replaced by anything."""
    tree = yaml.safe_load(draw(st.sampled_from(BASES)))
    paths = []

    def collect(value, path):
        paths.append(path)
        for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            collect(child, (*path, key))

    collect(tree, ())
    for path in draw(st.lists(st.sampled_from([path for path in paths if path]), min_size=1, max_size=3)):
        holder = tree
        for part in path[:-1]:
            try:
                holder = holder[part]
            except (KeyError, IndexError, TypeError):
                holder = None
                break
        if isinstance(holder, dict) or (isinstance(holder, list) and path[-1] in range(len(holder))):
            holder[path[-1]] = draw(TREES)
    return yaml.safe_dump(tree)


CHARACTERS_REPLACED = st.builds(
    lambda base, place, length, text: base[:place] + text + base[place + length :],
    st.sampled_from(BASES),
    st.integers(0, len(AWS)),
    st.integers(0, 12),
    st.text(max_size=12),
)


def test_the_bases_of_arbitrary_input_differ_from_definitions_by_little():
    assert definition(DEMO)["name"] == "demo"
    assert {line.split(": ")[1] for line in errors(AWS)} == {"control_plane.machine.size", "pools[0].machine.size", "control_plane.zones"}


@MANY
@given(ANY_TEXT)
def test_any_text_is_a_definition_or_a_list_of_errors(text):
    check_arbitrary(text)


@MANY
@given(ANY_YAML)
def test_any_yaml_is_a_definition_or_a_list_of_errors(text):
    check_arbitrary(text)


@MANY
@given(values_replaced())
def test_a_valid_definition_with_any_value_replaced_is_a_definition_or_a_list_of_errors(text):
    check_arbitrary(text)


@MANY
@given(CHARACTERS_REPLACED)
def test_a_valid_definition_with_some_characters_replaced_is_a_definition_or_a_list_of_errors(text):
    check_arbitrary(text)


@pytest.mark.long
@settings(max_examples=10_000, **SOME)
@given(ANY_TEXT | ANY_YAML | values_replaced() | CHARACTERS_REPLACED)
def test_ten_thousand_inputs_are_definitions_or_lists_of_errors(text):
    check_arbitrary(text)
