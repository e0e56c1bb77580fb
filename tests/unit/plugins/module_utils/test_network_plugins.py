# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of network plugins: what each needs, what manifests are rendered to, and what a live cluster says."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.firewall import openings
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp import layout as gcp
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.foreign import NETWORK_PLUGINS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins import live, ncp
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins.model import Settings
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins.table import CHOICES, PLUGINS, traffic
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.released import pinned

ENDPOINT = {"host": "10.0.0.5", "port": 6443}


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=PLUGINS)
def test_every_plugin_is_complete(plugin):
    assert plugin.traffic and plugin.manifest and plugin.namespace and plugin.folders
    # The one that runs is known by the name of its DaemonSet.
    found = {name for part, name in NETWORK_PLUGINS.items() if re.search(rf"(^|-){re.escape(part)}($|-)", plugin.daemon_set)}
    assert found == {plugin.name}
    assert plugin.provided or plugin.components
    known = {**catalogue.RELEASES[0].components, **catalogue.NETWORK_PLUGINS}
    assert set(plugin.components) <= set(known)


def test_what_nodes_send_each_other_is_let_in_and_nothing_else():
    def ports(name):
        return {(part.protocol, part.first, part.last) for part in openings(name, False) if part.role == "worker"} - {("tcp", 10250, 10250)}

    assert ports("flannel") == {("udp", 8472, 8472)}
    assert ports("kube-router") == {("udp", 5555, 5555), ("tcp", 179, 179)}
    assert ports("antrea") == {("udp", 6081, 6081), ("tcp", 10349, 10351), ("udp", 10351, 10351)}
    for own in ("ncp", "manifests", "none"):
        assert ports(own) == {("any", 0, 0)}
    names = [part.name for name in CHOICES for part in traffic(name)]
    assert all(re.fullmatch("[a-z-]{1,20}", name) for name in names)


def test_google_gets_one_rule_for_what_goes_between_nodes():
    def between(plugin, method="push"):
        bundle = {"delivery": {"method": method}}
        where = gcp.place(
            {
                "name": "demo",
                "foundation": "f",
                "gcp": {"project": "p", "region": "r1"},
                "bundle": bundle,
                "control_plane": {"zones": ["r1-a"]},
                "pools": [],
                "network": {"plugin": plugin},
            }
        )
        rule = gcp.rules(where, ["10.20.0.0/20"], [])["demo-nodes"]
        return rule.allowed, rule.reason

    assert between("flannel") == ({"udp": ("8472",)}, "Pods reach each other through VXLAN of flannel")
    assert between("flannel", "seed") == (
        {"udp": ("8472",), "tcp": ("32768-60999",)},
        "Pods reach each other through VXLAN of flannel, and nodes hand files of the bundle on to each other",
    )
    assert between("kube-router", "seed")[0] == {"udp": ("5555",), "tcp": ("179", "32768-60999")}
    assert between("none", "seed") == ({"all": ()}, "The network plugin is yours and may use anything between nodes")


KUBE_ROUTER = """
kind: ConfigMap
metadata: {name: kube-router-cfg}
data:
  cni-conf.json: |
    {"cniVersion": "0.3.0", "name": "mynet", "plugins": [{"name": "kubernetes", "type": "bridge", "bridge": "kube-bridge"}]}
---
kind: DaemonSet
metadata: {name: kube-router}
spec:
  template:
    spec:
      containers:
        - name: kube-router
          image: docker.io/cloudnativelabs/kube-router
          imagePullPolicy: Always
          args: [--run-router=true, --run-service-proxy=true]
      initContainers:
        - name: install-cni
          image: docker.io/cloudnativelabs/kube-router
          imagePullPolicy: Always
"""


def rendered(name: str, text: str, **settings: Any) -> list[dict[str, Any]]:
    objects = list(yaml.safe_load_all(text))
    PLUGINS[name].render(objects, Settings(**settings))
    return objects


def test_kube_router_routes_and_filters_beside_kube_proxy():
    config, daemon_set = rendered("kube-router", KUBE_ROUTER, api_endpoint=ENDPOINT)
    spec = daemon_set["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert {"--run-router=true", "--run-firewall=true", "--run-service-proxy=false"} <= set(container["args"])
    assert {"--overlay-type=full", "--overlay-encap=fou", "--overlay-encap-port=5555"} <= set(container["args"])
    assert container["env"][:2] == [
        {"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.5"},
        {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
    ]
    # Nodes have no way to a registry.
    assert {each["imagePullPolicy"] for each in (*spec["containers"], *spec["initContainers"])} == {"IfNotPresent"}
    assert [plugin["type"] for plugin in json.loads(config["data"]["cni-conf.json"])["plugins"]] == ["bridge", "portmap"]


def test_kube_router_makes_no_tunnel_where_packets_of_pods_get_through():
    _config, daemon_set = rendered("kube-router", KUBE_ROUTER, overlay=False)
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    assert "--enable-overlay=false" in container["args"] and not any("fou" in argument for argument in container["args"])


ANTREA = """
kind: ConfigMap
metadata: {name: antrea-config}
data:
  antrea-agent.conf: |
    # comment
    kubeAPIServerOverride: ""
    trafficEncapMode: "encap"
  antrea-controller.conf: |
    kubeAPIServerOverride: ""
---
kind: DaemonSet
metadata: {name: antrea-agent}
spec:
  template:
    metadata: {annotations: {checksum/config: old}}
    spec:
      containers:
      - image: "antrea/antrea-agent-ubuntu:latest"
---
kind: Deployment
metadata: {name: antrea-controller}
spec:
  template:
    metadata: {}
    spec:
      containers:
      - image: "antrea/antrea-controller-ubuntu:latest"
"""


def test_antrea_asks_the_stable_address_and_starts_anew_when_that_changes():
    config, agent, controller = rendered("antrea", ANTREA, api_endpoint=ENDPOINT)
    assert config["data"]["antrea-agent.conf"] == ('# comment\nkubeAPIServerOverride: "10.0.0.5:6443"\ntrafficEncapMode: "encap"\n')
    assert config["data"]["antrea-controller.conf"] == 'kubeAPIServerOverride: "10.0.0.5:6443"\n'
    sums = {each["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for each in (agent, controller)}
    other = rendered("antrea", ANTREA, api_endpoint={**ENDPOINT, "port": 443})[1]
    assert len(sums) == 1 and other["spec"]["template"]["metadata"]["annotations"]["checksum/config"] not in sums
    with pytest.raises(ValueError, match="antrea-agent.conf has no kubeAPIServerOverride"):
        rendered("antrea", ANTREA.replace("kubeAPI", "kubeApi"), api_endpoint=ENDPOINT)


def test_images_of_a_release_get_its_version():
    text = pinned(ANTREA, PLUGINS["antrea"].images, "2.6.3")
    assert re.findall(r'image: "(.*)"', text) == [
        "docker.io/antrea/antrea-agent-ubuntu:v2.6.3",
        "docker.io/antrea/antrea-controller-ubuntu:v2.6.3",
    ]
    text = pinned(KUBE_ROUTER, PLUGINS["kube-router"].images, "2.10.0")
    assert text.count("image: docker.io/cloudnativelabs/kube-router:v2.10.0\n") == 2 == text.count("kube-router:")
    assert pinned(text, PLUGINS["kube-router"].images, "2.10.0") == text, "what has a version keeps it"


NCP_INI = """\
[DEFAULT]
#debug = False

[coe]
# Specify cluster for adaptor.
#cluster = k8scluster
#enable_snat = True

[k8s]
#apiserver_host_ip = <None>
ca_file = /var/run/secrets/kubernetes.io/serviceaccount/ca.crt

[nsx_v3]
#policy_nsxapi = False
#nsx_api_managers = []
# If policy_nsxapi is enabled, it also support automatically creating the IP blocks.
#container_ip_blocks = []
#subnet_prefix = 24
#insecure = False
insecure = True
"""
NCP_MANIFEST = [
    {"kind": "Secret", "metadata": {"name": "nsx-secret"}, "data": {"tls.crt": ""}},
    {"kind": "ConfigMap", "metadata": {"name": "nsx-ncp-config"}, "data": {"ncp.ini": NCP_INI}},
    {
        "kind": "Deployment",
        "metadata": {"name": "nsx-ncp"},
        "spec": {
            "template": {
                "spec": {
                    "volumes": [
                        {"name": "projected-volume", "projected": {"sources": [{"configMap": {"name": "nsx-ncp-config"}}]}},
                        {"name": "host-var-log-ujo", "hostPath": {"path": "/var/log/nsx-ujo"}},
                    ]
                }
            }
        },
    },
    {
        "kind": "ConfigMap",
        "metadata": {"name": "nsx-node-agent-config"},
        "data": {"ncp.ini": "[coe]\n[k8s]\n[nsx_node_agent]\n#mtu = 1500\n"},
    },
    {"kind": "DaemonSet", "metadata": {"name": "nsx-node-agent"}},
]
NSX = {
    "manager": "nsx.example.com",
    "tier0": "/infra/tier-0s/tenant-a",
    "floating_ip_pool": "/infra/ip-pools/floating-a",
    "transport_zone": "/infra/sites/default/enforcement-points/default/transport-zones/overlay",
    "outbound": "snat",
}


def ncp_settings(**nsx: Any) -> Settings:
    return Settings(cluster="payments", pod_cidr="10.244.0.0/16", api_endpoint=ENDPOINT, nsx={**NSX, **nsx})


def in_use(text: str) -> dict[str, dict[str, str]]:
    """Return the options of an ``ncp.ini`` that are no comments."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        title = re.fullmatch(r"\[(\w+)\]", line)
        if title:
            section = found.setdefault(title.group(1), {})
        elif line and not line.startswith("#"):
            name, _equals, value = line.partition(" = ")
            assert name not in section, "an option stands once"
            section[name] = value
    return found


def test_ncp_gets_its_options_and_keeps_the_rest_of_the_file():
    objects = copy.deepcopy(NCP_MANIFEST)
    PLUGINS["ncp"].render(objects, ncp_settings())
    text = objects[0]["data"]["ncp.ini"]
    assert in_use(text) == {
        "DEFAULT": {},
        "coe": {"cluster": "payments", "enable_snat": "True"},
        "k8s": {
            "apiserver_host_ip": "10.0.0.5",
            "apiserver_host_port": "6443",
            "ca_file": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
        },
        "nsx_v3": {
            "policy_nsxapi": "True",
            "nsx_api_managers": "nsx.example.com",
            "insecure": "False",
            "ca_file": "/etc/nsx-ujo/nsx-cert/tls.ca",
            "nsx_api_cert_file": "/etc/nsx-ujo/nsx-cert/tls.crt",
            "nsx_api_private_key_file": "/etc/nsx-ujo/nsx-cert/tls.key",
            "container_ip_blocks": "10.244.0.0/16",
            "external_ip_pools": "floating-a",
            "external_ip_pools_lb": "floating-a",
            "overlay_tz": "overlay",
            "tier0_gateway": "tenant-a",
            "single_tier_topology": "True",
        },
    }
    assert "# Specify cluster for adaptor.\ncluster = payments\n" in text and "#subnet_prefix = 24\n" in text
    assert in_use(objects[2]["data"]["ncp.ini"])["coe"]["cluster"] == "payments"
    assert "nsx_v3" not in in_use(objects[2]["data"]["ncp.ini"]), "agents do not speak to the manager"


def test_ncp_reads_a_secret_that_is_no_part_of_the_manifest():
    objects = copy.deepcopy(NCP_MANIFEST)
    PLUGINS["ncp"].render(objects, ncp_settings())
    assert [item["kind"] for item in objects] == ["ConfigMap", "Deployment", "ConfigMap", "DaemonSet"]
    sources = objects[1]["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
    assert [next(iter(source)) for source in sources] == ["configMap", "secret"]
    paths = {item["path"] for item in sources[1]["secret"]["items"]}
    wanted = ncp.options(ncp_settings())["nsx_v3"]
    assert {f"/etc/nsx-ujo/{path}" for path in paths} == {
        wanted[name] for name in ("ca_file", "nsx_api_cert_file", "nsx_api_private_key_file")
    }
    again = copy.deepcopy(objects)
    PLUGINS["ncp"].render(again, ncp_settings())
    assert again == objects, "rendering what is rendered changes nothing"


def test_ncp_follows_the_network_profile():
    own = ncp.options(ncp_settings(tier1="/infra/tier-1s/mine", outbound="routed", container_ip_blocks=["/infra/ip-blocks/a", "b"]))
    assert own["nsx_v3"]["top_tier_router"] == "mine" and "tier0_gateway" not in own["nsx_v3"]
    assert own["nsx_v3"]["container_ip_blocks"] == "a,b" and own["coe"]["enable_snat"] == "False"
    chosen = ncp.options(ncp_settings(ncp_options={"nsx_v3": {"subnet_prefix": 25}, "ha": {"master_timeout": 20}}))
    assert chosen["nsx_v3"]["subnet_prefix"] == "25" and chosen["ha"] == {"master_timeout": "20"}
    text = ncp.with_options(NCP_INI, chosen)
    assert in_use(text)["ha"] == {"master_timeout": "20"} and in_use(text)["nsx_v3"]["subnet_prefix"] == "25"


class Cluster:
    """Stands for the client of a cluster: names of DaemonSets, and NetworkPolicies."""

    def __init__(self, *daemon_sets: str, policies: tuple[str, ...] = ()) -> None:
        self._lists = {"daemonsets": [f"kube-system/{name}" for name in daemon_sets], "networkpolicies": list(policies)}
        self.asked: list[str] = []

    def items(self, path: str) -> list[dict[str, Any]]:
        kind = path.rpartition("/")[2]
        self.asked.append(kind)
        return [{"metadata": dict(zip(("namespace", "name"), title.split("/")))} for title in self._lists[kind]]


def test_another_plugin_in_place_is_refused_with_the_way_out():
    with pytest.raises(FlotillaError) as caught:
        live.look(Cluster("kube-proxy", "kube-flannel-ds"), "kube-router")
    assert caught.value.code == "NETWORK_PLUGIN_OTHER"
    assert "The network plugin of this cluster is flannel, and its definition says kube-router" in caught.value.message
    assert "Set network.plugin back to flannel" in caught.value.remedy and "new cluster" in caught.value.remedy


def test_a_new_cluster_the_same_plugin_and_the_users_own_are_let_through():
    assert live.look(Cluster("kube-proxy"), "kube-router") == {"network_plugins": [], "unenforced": []}
    assert live.look(Cluster("kube-router"), "kube-router") == {"network_plugins": ["kube-router"], "unenforced": []}
    assert live.look(Cluster("calico-node"), "manifests")["network_plugins"] == ["calico"]
    assert live.look(Cluster("kube-flannel-ds"), "none")["network_plugins"] == ["flannel"]


def test_policies_that_nobody_enforces_are_told():
    policies = ("shop/deny", "shop/web", "bank/deny", "bank/api")
    found = live.look(Cluster("kube-flannel-ds", policies=policies), "flannel")
    assert found["unenforced"] == sorted(policies)
    text = live.notice("flannel", found["unenforced"])
    assert text.startswith("4 NetworkPolicies of the cluster have no effect (bank/api, bank/deny, shop/deny and 1 more)")
    assert text.endswith("the network plugin flannel enforces none. One that does is kube-router or antrea.")
    # kube-router beside flannel enforces them, as does a plugin that does so itself: nobody need ask.
    for names, wanted in ((("kube-flannel-ds", "kube-router"), "flannel"), (("kube-router",), "kube-router")):
        cluster = Cluster(*names, policies=policies)
        assert live.look(cluster, wanted)["unenforced"] == [] and cluster.asked == ["daemonsets"]
    assert live.notice("flannel", []) == ""
