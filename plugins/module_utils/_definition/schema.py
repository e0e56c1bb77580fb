# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of cluster definitions, as JSON Schema draft 2020-12 (private to flotilla.kubernetes).

Descriptions become the reference (docs/cluster_definition.md) and the hover texts of editors; defaults become `defaults.fill`.
Own annotations, which other validators ignore:

``x-allowed``  what a pattern means in words, for the error message.
``x-entries``  what a mapping with any keys holds, in words, for the reference.
``x-later``    values that are known but not in this release.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.addons_schema import ADDONS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.aws_schema import AWS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.azure_schema import AZURE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.backup_schema import BACKUP_STORE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.fleet_schema import FLEET
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.gcp_schema import GCP
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.nsx_schema import NSX
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.policies_schema import LEVELS, MODES, NAMESPACE, POLICIES
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rollout_schema import CHECKS, ROLLOUT
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import (
    CIDR,
    DNS_LABEL,
    DURATION,
    FILE_NAME,
    HOST,
    LABEL_VALUE,
    NODE_NAME,
    NODE_NAME_LENGTH,
    PORT,
    QUALIFIED_NAME,
    mapping,
    pattern,
    url,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.vsphere_schema import VSPHERE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins import table as network_plugins

SCHEMA_VERSION = 1
PLUGIN = "flotilla.kubernetes.cluster"
CLOUDS = ["local", "existing", "aws", "gcp", "azure", "vsphere"]

_LABELS = {
    "type": "object",
    "description": "Labels of the nodes.",
    "x-entries": "label keys and label values",
    "propertyNames": {
        "pattern": pattern(QUALIFIED_NAME),
        "maxLength": 317,
        "x-allowed": "a Kubernetes label key such as tier or example.com/tier",
    },
    "additionalProperties": {
        "type": "string",
        "maxLength": 63,
        "pattern": pattern(f"({LABEL_VALUE})?"),
        "x-allowed": "a Kubernetes label value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    },
    "default": {},
}

_TAINTS = {
    "type": "array",
    "description": "Taints of the nodes, next to those that kubeadm sets itself.",
    "items": mapping(
        {
            "key": {
                "type": "string",
                "maxLength": 317,
                "pattern": pattern(QUALIFIED_NAME),
                "x-allowed": "a Kubernetes taint key such as dedicated or example.com/dedicated",
                "description": "The taint's key.",
            },
            "value": {
                "type": "string",
                "maxLength": 63,
                "pattern": pattern(f"({LABEL_VALUE})?"),
                "x-allowed": "a Kubernetes label value or nothing",
                "description": "The taint's value.",
                "default": "",
            },
            "effect": {
                "type": "string",
                "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                "description": "What happens to pods that do not tolerate the taint.",
            },
        },
        "One taint.",
        required=("key", "effect"),
        **{"x-allowed": "{key: ..., value: ..., effect: NoSchedule}"},
    ),
    "default": [],
}

_MACHINE = mapping(
    {
        "size": {
            "type": "string",
            "pattern": pattern("[A-Za-z0-9][-A-Za-z0-9_.]*"),
            "x-allowed": "a machine size as the cloud names it",
            "description": "Machine size, as the cloud names it, such as `m7i.large`. Not with `local` and `existing`.",
        },
        "cpus": {
            "type": "integer",
            "minimum": 2,
            "maximum": 768,
            "description": "Number of virtual CPUs. With `vsphere` only.",
        },
        "memory_gib": {
            "type": "integer",
            "minimum": 2,
            "maximum": 24560,
            "description": "Memory in GiB. With `vsphere` only.",
        },
        "disk_gib": {
            "type": "integer",
            "minimum": 10,
            "maximum": 65536,
            "description": "Size of the root disk in GiB; the cloud's default when left out. Not with `local` and `existing`.",
        },
        "spot": {
            "type": "boolean",
            "description": "Whether the machines are spare ones, which the cloud sells cheaper and may take back at any time. Workers "
            "only, not with `local` and `existing`.",
        },
        "extra_disks_gib": {
            "type": "array",
            "items": {"type": "integer", "minimum": 10, "maximum": 65536},
            "maxItems": 8,
            "description": "Sizes in GiB of further disks, empty and yours, which go with their machine. With `gcp` and `vsphere`.",
        },
    },
    "What each machine is.",
    default={},
)

_ZONES = {
    "type": "array",
    "items": {
        "type": "string",
        "maxLength": 63,
        "pattern": pattern(LABEL_VALUE),
        "x-allowed": "a zone name of at most 63 letters, digits, '-', '_' and '.'",
    },
    "minItems": 1,
    "uniqueItems": True,
}

_IMAGE = mapping(
    {
        "family": {
            "type": "string",
            "enum": ["debian-13"],
            "description": "Operating system, whose newest image is taken; `debian-13` when none of the keys is there.",
        },
        "id": {
            "type": "string",
            "pattern": pattern("/?[A-Za-z0-9][-A-Za-z0-9_./:]*"),
            "x-allowed": "the id of an image, such as ami-0123456789abcdef0 or Debian:debian-13:13-gen2:latest",
            "description": "Exact image, as the cloud names it, such as `ami-0123456789abcdef0` or "
            "`projects/debian-cloud/global/images/debian-13-trixie-v20261015`. Not with `local` and `existing`.",
        },
        "content_library": {
            "type": "string",
            "minLength": 1,
            "maxLength": 80,
            "pattern": pattern("[^\\n/]+"),
            "x-allowed": "the name or the id of a content library, such as images",
            "description": "Content library that `id` is an item of, by its name: an OVF template or a VM template. With `vsphere` only.",
        },
        "ssm_parameter": {
            "type": "string",
            "maxLength": 1011,
            "pattern": pattern("/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*(:[A-Za-z0-9_.-]+)?"),
            "x-allowed": "the name of an SSM parameter, such as /aws/service/debian/release/13/latest/amd64",
            "description": "SSM parameter that holds the image's id. With `aws` only.",
        },
    },
    "Operating system of the machines: one of these keys, and `content_library` next to `id`. A file that sets one replaces those that it "
    "inherits.",
)

_ARGUMENTS = {
    "type": "object",
    "x-entries": "flags and their values as text",
    "propertyNames": {"pattern": pattern("[a-z0-9][-a-z0-9]*"), "x-allowed": "the name of a flag without dashes, such as profiling"},
    "additionalProperties": {"type": "string", "x-allowed": 'the value of the flag as text, such as "false" or "10"'},
    "default": {},
}


def _cidrs(description: str, default: str) -> dict[str, Any]:
    return {"type": "array", "items": CIDR, "minItems": 1, "maxItems": 2, "description": description, "default": [default]}


_PLUGINS = ", ".join(f"`{name}`" for name in network_plugins.PLUGINS)
_ENFORCERS = ", ".join(f"`{name}`" for name, plugin in network_plugins.PLUGINS.items() if plugin.network_policy)

_FILE_PATH = {
    "type": ["string", "null"],
    "pattern": pattern("[/~][^\\n]*"),
    "x-allowed": "an absolute path or one that begins with ~",
    "default": None,
}

_ADDRESS = {"type": "string", "pattern": pattern("[0-9A-Fa-f:.]+"), "x-allowed": "an IP address such as 10.0.0.53"}
_SERVER = {
    "type": "string",
    "maxLength": 253,
    "pattern": pattern("[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?"),
    "x-allowed": "a host name or IP address",
}

_SITE = mapping(
    {
        "proxy": mapping(
            {
                "http": {**url("https?", "http://proxy.example.com:3128", "/?"), "description": "Proxy for http:// addresses."},
                "https": {**url("https?", "http://proxy.example.com:3128", "/?"), "description": "Proxy for https:// addresses."},
                "no_proxy": {
                    "type": "array",
                    "items": {
                        "type": "string",
                        "maxLength": 253,
                        "pattern": pattern("[^\\s,\"'\\\\$%=]+"),
                        "x-allowed": "a host, a domain that begins with a dot, an address or a network",
                    },
                    "description": "Hosts, domains (`.example.com`), addresses and networks reached directly, next to the cluster's own.",
                    "default": [],
                },
            },
            "HTTP proxy of containerd, kubelet and package manager; its login is the role variable `kubernetes_node_proxy_credentials`.",
            default={},
        ),
        "ca_files": {
            "type": "array",
            "items": FILE_NAME,
            "description": "Files with certificates (PEM) that the machines trust, relative to the file that names them.",
            "default": [],
        },
        "registry_mirrors": {
            "type": "array",
            "description": "Where containerd pulls images from, in this order, before the registry itself. "
            "Credentials are the role variable `containerd_registry_credentials`.",
            "items": mapping(
                {
                    "registry": {
                        "type": "string",
                        "pattern": pattern(f"{HOST}{PORT}|_default"),
                        "x-allowed": "a registry's host such as docker.io, or _default",
                        "description": "Registry as in image names, such as `docker.io`; `_default`: every one that has no mirror.",
                    },
                    "url": {**url("https?", "https://mirror.example.com"), "description": "The mirror, or the registry's own URL."},
                    "ca_file": {
                        **FILE_NAME,
                        "description": "Certificates (PEM) of the mirror's certificate authority, if it is none of `site.ca_files`.",
                    },
                    "override_path": {
                        "type": "boolean",
                        "description": "Whether the path of `url` is used as it is, without `/v2` after it.",
                        "default": False,
                    },
                },
                "One mirror.",
                required=("registry", "url"),
            ),
            "default": [],
        },
        "ntp_servers": {"type": "array", "items": _SERVER, "uniqueItems": True, "description": "Time servers.", "default": []},
        "dns": mapping(
            {
                "servers": {
                    "type": "array",
                    "items": _ADDRESS,
                    "uniqueItems": True,
                    "description": "Addresses of name servers.",
                    "default": [],
                },
                "search": {
                    "type": "array",
                    "items": {
                        "type": "string",
                        "maxLength": 253,
                        "pattern": pattern(f"{DNS_LABEL}(\\.{DNS_LABEL})*"),
                        "x-allowed": "a domain such as example.com",
                    },
                    "uniqueItems": True,
                    "description": "Domains that short names are looked up in.",
                    "default": [],
                },
            },
            "Name servers of the machines.",
            default={},
        ),
    },
    "What the site demands of every machine. What is not set here is left alone.",
    default={},
)

# What stands before the names of an issuer's people, so that none of them is a name of the cluster's own.
_NAME_PREFIX = {
    "type": "string",
    "maxLength": 63,
    "pattern": pattern("(?!system:)[^\\s]*"),
    "x-allowed": "text without spaces such as oidc:, not system:",
    "default": "oidc:",
}
_CLAIM = {
    "type": "string",
    "minLength": 1,
    "maxLength": 253,
    "pattern": pattern("[^\\s]+"),
    "x-allowed": "the name of a claim such as email",
}

_AUTHENTICATION = mapping(
    {
        "oidc": {
            "type": "array",
            "maxItems": 64,
            "description": "Issuers of OpenID Connect tokens whose people the API servers know. Changes need no restart.",
            "items": mapping(
                {
                    "issuer_url": {
                        "type": "string",
                        "pattern": pattern("https://[^\\s?#]+"),
                        "x-allowed": "an https URL such as https://login.example.com/realms/ops, exactly as the tokens have it",
                        "description": "The issuer, exactly as its tokens name it.",
                    },
                    "audiences": {
                        "type": "array",
                        "items": {"type": "string", "minLength": 1, "pattern": pattern("[^\\s]+"), "x-allowed": "a client id"},
                        "minItems": 1,
                        "uniqueItems": True,
                        "description": "Client ids; a token has to be made for one of them.",
                    },
                    "username_claim": {**_CLAIM, "description": "Claim with the user's name.", "default": "sub"},
                    "username_prefix": {**_NAME_PREFIX, "description": "Stands before the user's name."},
                    "groups_claim": {**_CLAIM, "description": "Claim with the user's groups, text or a list.", "default": "groups"},
                    "groups_prefix": {**_NAME_PREFIX, "description": "Stands before each group's name."},
                    "required_claims": {
                        "type": "object",
                        "description": "Claims that a token must have, with these values.",
                        "propertyNames": {"pattern": pattern("[^\\s]+"), "x-allowed": "the name of a claim such as hd"},
                        "additionalProperties": {"type": "string", "minLength": 1},
                        "x-entries": "claims and their values",
                        "default": {},
                    },
                    "ca_file": {
                        **FILE_NAME,
                        "description": "Certificates (PEM) of the issuer's certificate authority, relative to the file that names it; "
                        "without it those that API servers trust anyway.",
                    },
                },
                "One issuer.",
                required=("issuer_url", "audiences"),
            ),
            "default": [],
        },
    },
    "How people get in. Anonymous requests reach health checks and what joining nodes read, nothing else.",
    default={},
)

# With no wait at all API servers would wait until a list is full.
_PAUSE = {**DURATION, "pattern": pattern("(?=.*[1-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?"), "x-allowed": "a duration such as 10s or 1m, not 0s"}
_AUDIT_WEBHOOK = mapping(
    {
        "server": {
            **url("https", "https://audit.example.com/kubernetes"),
            "x-allowed": "an https URL without user name and password such as https://audit.example.com/kubernetes",
            "description": "Where API servers post lists of events (`audit.k8s.io/v1`).",
        },
        "ca_file": {
            **FILE_NAME,
            "description": "Certificates (PEM) of the server's certificate authority, relative to the file that names it; "
            "without it those that API servers trust anyway.",
        },
        "authentication": {
            "type": "string",
            "enum": ["token", "password", "certificate", "none"],
            "description": "How API servers say who they are. The secret itself is the role variable "
            "`kubernetes_control_plane_audit_webhook_credentials`.",
            "default": "token",
        },
        "max_delay": {**_PAUSE, "description": "How long an event waits for others that are sent with it.", "default": "30s"},
        "initial_backoff": {
            **_PAUSE,
            "description": "After how long a list that was not taken is sent again; the next waits are longer.",
            "default": "10s",
        },
    },
    "A server that gets every event besides. API servers go on while it is away; what they can not keep until then is in their files only.",
    required=("server",),
)

_PROPERTIES: dict[str, Any] = {
    "plugin": {
        "type": "string",
        "const": PLUGIN,
        "description": "Makes the file an Ansible inventory source.",
    },
    "schema": {"type": "integer", "const": SCHEMA_VERSION, "description": "Version of this schema."},
    "kind": {
        "type": "string",
        "enum": ["cluster", "cluster_class", "network_profile", "policy_profile", "fleet"],
        "description": "What the file defines.",
        "default": "cluster",
    },
    "name": {
        "type": "string",
        "maxLength": 24,
        "pattern": pattern(DNS_LABEL),
        "x-allowed": "a DNS label of at most 24 characters: small letters, digits and '-', with a letter or digit at both ends",
        "description": "Name of the cluster, unique in the fleet.",
    },
    "labels": {
        **_LABELS,
        "description": "Labels of the cluster, by which fleet files choose it.",
        "default": {},
    },
    "cloud": {"type": "string", "enum": CLOUDS, "description": "Where the machines run."},
    "class": {
        "type": "string",
        "maxLength": 63,
        "pattern": pattern(DNS_LABEL),
        "x-allowed": "the name of a file in cluster_classes/, without .yml",
        "description": "Cluster class that is inherited under this file (`cluster_classes/<class>.yml`).",
    },
    "kubernetes_version": {
        "type": "string",
        "pattern": pattern("1\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)"),
        "x-allowed": 'an exact version such as "1.36.3"',
        "description": "Exact version of Kubernetes, without a leading v.",
    },
    "control_plane": mapping(
        {
            "count": {
                "type": "integer",
                "enum": [1, 3, 5, 7],
                "description": "Number of control-plane machines. With `existing`: counted when left out.",
            },
            "machine": _MACHINE,
            "image": {**_IMAGE, "description": "Operating system of these machines, if it is not the cluster's."},
            "zones": {
                **_ZONES,
                "description": "Zones that the machines are spread over; left out with `local` and `existing`: `local`.",
            },
            "labels": _LABELS,
            "taints": _TAINTS,
            "extra_args": mapping(
                {
                    component: {**_ARGUMENTS, "description": f"Further flags of {component}, name to value."}
                    for component in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
                },
                "Further flags, which a new control plane starts with. Those that the Kubernetes version does not know are refused.",
                default={},
            ),
        },
        "The machines that run kube-apiserver and etcd.",
        required=("count",),
    ),
    "pools": {
        "type": "array",
        "description": "Sets of identical worker machines. Pools of a class are inherited by name.",
        "items": mapping(
            {
                "name": {
                    "type": "string",
                    "maxLength": 16,
                    "pattern": pattern(DNS_LABEL),
                    "x-allowed": "a DNS label of at most 16 characters: small letters, digits and '-'",
                    "description": "Name of the pool.",
                },
                "count": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 5000,
                    "description": "Number of machines in the pool. With `existing`: counted when left out.",
                },
                "machine": _MACHINE,
                "image": {**_IMAGE, "description": "Operating system of these machines, if it is not the cluster's."},
                "zones": {**_ZONES, "description": "Zones that the machines are spread over; those of the control plane when left out."},
                "labels": _LABELS,
                "taints": _TAINTS,
                "rollout": ROLLOUT,
            },
            "One pool.",
            required=("name", "count"),
        ),
        "default": [],
    },
    "image": _IMAGE,
    "network": mapping(
        {
            "profile": {
                "type": "string",
                "maxLength": 63,
                "pattern": pattern(DNS_LABEL),
                "x-allowed": "the name of a file in network_profiles/, without .yml",
                "description": "Network profile that is inherited (`network_profiles/<profile>.yml`).",
            },
            "pod_cidrs": _cidrs("Addresses of pods; each node takes a /24.", "10.244.0.0/16"),
            "service_cidrs": _cidrs("Addresses of Services.", "10.96.0.0/12"),
            "plugin": {
                "type": "string",
                "enum": list(network_plugins.CHOICES),
                "x-later": ["calico", "canal", "cilium", "ovn-kubernetes", "weave"],
                "description": f"Network plugin: {_PLUGINS}, your own `manifests`, or `none` (nodes stay NotReady until you install one). "
                f"{_ENFORCERS} enforce NetworkPolicy; `ncp` is for clusters with the section `nsx`.",
                "default": network_plugins.DEFAULT,
            },
            "manifests": {
                "type": "array",
                "items": FILE_NAME,
                "description": "Manifest files of the network plugin, relative to the file that names them. With `plugin: manifests` only.",
                "default": [],
            },
        },
        "The cluster's own networks.",
        default={},
    ),
    "api_endpoint": mapping(
        {
            "provider": {
                "type": "string",
                "enum": ["cloud", "kube_vip", "haproxy_keepalived", "external"],
                "x-later": ["avi"],
                "description": (
                    "What answers there: the cloud's own load balancer; an address that the control planes hand on among themselves with "
                    "`kube_vip`, or with keepalived and HAProxy (`haproxy_keepalived`); or a load balancer of yours (`external`). "
                    "`kube_vip` when left out with `vsphere` and without `nsx`, else `cloud`."
                ),
                "default": "cloud",
            },
            "address": {
                "type": ["string", "null"],
                "maxLength": 253,
                "pattern": pattern("[A-Za-z0-9][-A-Za-z0-9.:]*"),
                "x-allowed": "an IPv4 address; with provider: external also a DNS name",
                "description": "Address of the API endpoint. With `cloud` the load balancer has its own.",
                "default": None,
            },
            "interface": {
                "type": ["string", "null"],
                "maxLength": 15,
                "pattern": pattern("[A-Za-z0-9][-A-Za-z0-9_.:@]*"),
                "x-allowed": "the name of a network interface such as eth0",
                "description": (
                    "Interface of the control planes that carries the address, with `kube_vip` and `haproxy_keepalived`; `null`: the "
                    "one that has the machine's own address."
                ),
                "default": None,
            },
            "port": {
                "type": "integer",
                "minimum": 1,
                "maximum": 65535,
                "description": "TCP port of the API endpoint; 8443 when left out with `haproxy_keepalived`.",
                "default": 6443,
            },
            "visibility": {
                "type": "string",
                "enum": ["private", "public"],
                "description": "Whether the load balancer that a cloud makes has addresses of the VPC only, or of the internet.",
                "default": "private",
            },
            "allowed_cidrs": {
                "type": "array",
                "items": CIDR,
                "uniqueItems": True,
                "description": "Networks that reach the load balancer that a cloud makes, next to the machines' own.",
                "default": [],
            },
            "dns_name": {
                "type": ["string", "null"],
                "maxLength": 253,
                "pattern": pattern(f"{DNS_LABEL}(\\.{DNS_LABEL})+"),
                "x-allowed": "a DNS name such as api.payments.example.com",
                "description": "Own name of the API endpoint with `aws` or `azure`; `null`: the name that the load balancer has anyway.",
                "default": None,
            },
        },
        "The stable address of the cluster's API server.",
        default={},
    ),
    "access": mapping(
        {
            "ssh_user": {
                "type": "string",
                "maxLength": 32,
                "pattern": pattern("[a-z_][-a-z0-9_]*"),
                "x-allowed": "a Unix user name",
                "description": "Login on the machines.",
                "default": "flotilla",
            },
            "ssh_private_key_file": {
                **_FILE_PATH,
                "description": "Private key for it on the controller; `null`: the cloud decides (`local` makes its own).",
            },
            "ssh_public_keys": {
                "type": "array",
                "items": {
                    "type": "string",
                    "maxLength": 1024,
                    "pattern": pattern("(ssh|ecdsa|sk-ssh|sk-ecdsa)-[-a-z0-9@.]+ [A-Za-z0-9+/]+=*( [^\\n]*)?"),
                    "x-allowed": "a public key in one line, such as ssh-ed25519 AAAA... ops@example.com",
                },
                "uniqueItems": True,
                "description": "Public keys that machines made by a cloud take for the login, next to that of `ssh_private_key_file`.",
                "default": [],
            },
            "allowed_cidrs": {
                "type": "array",
                "items": CIDR,
                "uniqueItems": True,
                "description": "Networks that reach machines made by a cloud by SSH, next to the machines' own.",
                "default": [],
            },
            "address": {
                "type": "string",
                "enum": ["private", "public"],
                "description": "Which address of a machine Ansible connects to. `public` where a cloud gives them such ones.",
                "default": "private",
            },
            "bastion": {
                **mapping(
                    {
                        "host": {**_SERVER, "description": "Its address or name."},
                        "port": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": 65535,
                            "description": "TCP port of its SSH server.",
                            "default": 22,
                        },
                        "user": {
                            "type": "string",
                            "maxLength": 32,
                            "pattern": pattern("[a-z_][-a-z0-9_]*"),
                            "x-allowed": "a Unix user name",
                            "description": "Login there; `access.ssh_user` when left out.",
                        },
                        "ssh_private_key_file": {
                            **_FILE_PATH,
                            "description": "Private key for it; `null`: that of the machines.",
                        },
                    },
                    "Host that SSH goes through to the machines; `null`: none. Its host key has to be in your own known_hosts files.",
                    required=("host",),
                ),
                "type": ["object", "null"],
                "default": None,
            },
        },
        "How Ansible reaches the machines.",
        default={},
    ),
    "checks": CHECKS,
    "site": _SITE,
    "security": mapping(
        {
            "encryption_at_rest": {
                "type": "boolean",
                "description": "Whether API servers encrypt Secrets before they store them in etcd. Can be turned on later, not off.",
                "default": True,
            },
            "audit": mapping(
                {
                    "enabled": {"type": "boolean", "description": "Whether API servers record who did what.", "default": True},
                    "max_age_days": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 3650,
                        "description": "Days after which old files of the record are removed.",
                        "default": 30,
                    },
                    "max_backups": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 1000,
                        "description": "Old files that are kept on each control plane.",
                        "default": 10,
                    },
                    "max_size_mib": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 10240,
                        "description": "Size in MiB at which a new file is begun.",
                        "default": 100,
                    },
                    "webhook": _AUDIT_WEBHOOK,
                },
                "The record of calls of the API, `/var/log/kubernetes/audit/audit.log` on each control plane.",
                default={},
            ),
            "pod_security": mapping(
                {
                    **{
                        mode: {
                            "type": "string",
                            "enum": LEVELS,
                            "description": f"Pod security standard {what}, in namespaces whose labels say nothing else.",
                            "default": "baseline" if mode == "enforce" else "restricted",
                        }
                        for mode, what in MODES.items()
                    },
                    "exempt_namespaces": {
                        "type": "array",
                        "items": NAMESPACE,
                        "uniqueItems": True,
                        "description": "Namespaces that it does not concern, next to `kube-system` and the network plugin's own.",
                        "default": [],
                    },
                },
                "What pods may do to their nodes: https://kubernetes.io/docs/concepts/security/pod-security-standards/.",
                default={},
            ),
            "tls_min_version": {
                "type": "string",
                "enum": ["1.2", "1.3"],
                "description": "Oldest version of TLS that the servers of Kubernetes and etcd speak.",
                "default": "1.2",
            },
        },
        "Protection of the cluster; what each part is against: docs/security.md.",
        default={},
    ),
    "authentication": _AUTHENTICATION,
    "policies": POLICIES,
    "addons": ADDONS,
    "backup_store": BACKUP_STORE,
    "bundle": mapping(
        {
            "source": {
                "type": "string",
                "enum": ["auto", "release", "mirror", "directory", "modules"],
                "description": "Where binaries and images come from: official `release` files and registries, a `mirror` of them, a bundle"
                " that was made elsewhere and lies in a `directory`, or Go `modules` that are compiled. `auto`: `mirror` if one is set,"
                " `release` if it can be reached, else `modules`.",
                "default": "auto",
            },
            "directory": {**_FILE_PATH, "description": "Directory of the bundle; `null`: that of the version in the cache."},
            "mirror": mapping(
                {
                    "url": {
                        "type": "string",
                        "pattern": pattern("https://[^@\\s?#]+"),
                        "x-allowed": "an https URL without user and password, such as https://files.example.com/kubernetes",
                        "description": "Where files are: `https://host/path` of a project is at `<url>/host/path`.",
                    },
                    "registry": {
                        "type": "string",
                        "pattern": pattern("[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]+)?(/[a-z0-9][-a-z0-9._/]*)?"),
                        "x-allowed": "host[:port][/path] without a scheme, such as registry.example.com/kubernetes",
                        "description": "Where images are: `registry.k8s.io/pause:3.10` is at `<registry>/registry.k8s.io/pause:3.10`.",
                    },
                    "ca_file": {**_FILE_PATH, "description": "Certificates to trust next to the controller's own, in PEM form."},
                },
                "Your own servers with files and images. Credentials are in the role variable `bundle_credentials`, never here.",
                required=("url", "registry"),
            ),
            "network_plugin": mapping(
                {
                    "manifest": {**FILE_NAME, "description": "Its manifest; left out: that of its release."},
                    "image_archives": {
                        "type": "array",
                        "items": FILE_NAME,
                        "minItems": 1,
                        "description": "Archives of its images, as `docker save` or `skopeo copy ... docker-archive:` writes them.",
                    },
                },
                "Files of the network plugin that you give the bundle, relative to the file that names them: needed for `ncp`, and for "
                "`antrea` and `kube-router` where the bundle is made from `modules`.",
            ),
            "architectures": {
                "type": "array",
                "items": {"type": "string", "enum": ["amd64", "arm64"]},
                "minItems": 1,
                "uniqueItems": True,
                "description": "Architectures of the cluster's machines.",
                "default": ["amd64"],
            },
            "delivery": mapping(
                {
                    "method": {
                        "type": "string",
                        "enum": ["push", "seed", "pull"],
                        "description": "How the bundle comes to the machines: `push` copies it to each, `seed` to one machine per zone, "
                        "which hands it on, and with `pull` each fetches it from a web server.",
                        "default": "push",
                    },
                    "url": {
                        **url("https?", "https://mirror.example.com/bundles/1.36.3", "(/[^\\s@?#\"'\\\\]*)?"),
                        "description": "For `pull`: the bundle's folder on the web server, with its `manifest.json`.",
                    },
                    "ca_file": {
                        **FILE_NAME,
                        "description": "For `pull`: certificates (PEM) of its certificate authority, if it is none of `site.ca_files`.",
                    },
                },
                "How the bundle comes to the machines. The web server's login is the variable `bundle_delivery_credentials`.",
                default={},
            ),
        },
        "Binaries and images of the Kubernetes version.",
        default={},
    ),
    "local": mapping(
        {
            "network_cidr": {
                **CIDR,
                "description": "IPv4 network of the machines, /16 to /28; .1 to .9 are reserved, machines start at .10.",
                "x-allowed": "an IPv4 network between /16 and /28 such as 172.30.86.0/24",
            },
            "egress": {
                "type": "string",
                "enum": ["allow", "deny"],
                "description": "Whether machines reach networks outside their own.",
                "default": "allow",
            },
        },
        "Settings of the cloud `local`.",
        required=("network_cidr",),
    ),
    "existing": mapping(
        {
            "machines": {
                "type": "array",
                "description": "The machines that you have.",
                "minItems": 1,
                "maxItems": 5000,
                "items": mapping(
                    {
                        "address": {
                            "type": "string",
                            "pattern": pattern("[0-9]+([.][0-9]+){3}"),
                            "x-allowed": "an IPv4 address",
                            "description": "Address under which the other machines reach it.",
                        },
                        "role": {
                            "type": "string",
                            "enum": ["control_plane"],
                            "description": "Makes it a control plane. Either this or `pool`.",
                        },
                        "pool": {
                            "type": "string",
                            "maxLength": 16,
                            "pattern": pattern(DNS_LABEL),
                            "x-allowed": "the name of one of the pools",
                            "description": "Makes it a worker of this pool.",
                        },
                        "zone": {
                            "type": "string",
                            "maxLength": 63,
                            "pattern": pattern(LABEL_VALUE),
                            "x-allowed": "a zone name of at most 63 letters, digits, '-', '_' and '.'",
                            "description": "Zone that it stands in; the first of its group's `zones` when left out.",
                        },
                        "node_name": {
                            "type": "string",
                            "maxLength": NODE_NAME_LENGTH,
                            "pattern": pattern(NODE_NAME),
                            "x-allowed": "a DNS name of at most 63 characters that does not end in .cluster or .new-<number>",
                            "description": "Name of the host and of the Node; `<cluster>-<pool>-<address with dashes>` when left out.",
                        },
                        "ssh_address": {
                            "type": "string",
                            "maxLength": 253,
                            "pattern": pattern("[A-Za-z0-9][-A-Za-z0-9.:]*"),
                            "x-allowed": "an address or a DNS name",
                            "description": "Address under which Ansible reaches it; `address` when left out.",
                        },
                        "ssh_port": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": 65535,
                            "description": "TCP port of its SSH server.",
                            "default": 22,
                        },
                    },
                    "One machine.",
                    required=("address",),
                ),
            },
            "settings": {
                "type": "string",
                "enum": ["manage", "keep"],
                "description": (
                    "Whether members of the cluster get the settings of this definition (`manage`), or stay as somebody else made them "
                    "(`keep`, as cluster_adopt writes it): packages, kernel, containerd, kubelet, control plane. Machines that join are "
                    "prepared in both cases; an upgrade needs `manage`."
                ),
                "default": "manage",
            },
            "host_keys": {
                "type": "string",
                "enum": ["known_hosts", "accept_new"],
                "description": (
                    "Which SSH host keys are trusted: those in your own known_hosts files, or whatever a machine shows at the first "
                    "contact (`accept_new`; later it must be the same)."
                ),
                "default": "known_hosts",
            },
        },
        "Settings of the cloud `existing`.",
        required=("machines",),
    ),
    "aws": AWS,
    "gcp": GCP,
    "azure": AZURE,
    "nsx": NSX,
    "vsphere": VSPHERE,
}

_CLASS_KEYS_NOT = ("name", "class")
# What the files of a kind of profile hold, and the section that names the profile.
_PROFILES = {
    "network_profile": (("network", "api_endpoint", "nsx"), "network"),
    "policy_profile": (("policies",), "policies"),
}


def _without_required(schema: Any, inside_named: bool = False) -> Any:
    """Return a copy that demands nothing, as one file alone may leave anything to the others; what inherits by name keeps its name."""
    if isinstance(schema, dict):
        inside = {key: key in ("pools", "policies", "addons") or inside_named for key in schema}
        result = {key: _without_required(value, inside[key]) for key, value in schema.items() if key != "required"}
        if inside_named and "name" in schema.get("required", ()):
            result["required"] = ["name"]
        return result
    if isinstance(schema, list):
        return [_without_required(item, inside_named) for item in schema]
    return schema


@cache
def cluster_schema() -> dict[str, Any]:
    """Return the schema of a complete definition, i.e. after the merge. Do not change the result."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cluster definition of flotilla.kubernetes",
        **mapping(
            copy.deepcopy(_PROPERTIES),
            "One Kubernetes cluster.",
            required=("plugin", "schema", "name", "cloud", "kubernetes_version", "control_plane"),
        ),
    }


@cache
def file_schema(kind: str) -> dict[str, Any]:
    """Return the schema of one file of a kind, before the merge. Do not change the result.

    :param kind: ``cluster``, ``cluster_class``, ``network_profile``, ``policy_profile`` or ``fleet``.
    """
    if kind == "fleet":
        head = {key: _PROPERTIES[key] for key in ("plugin", "schema")}
        kind_part = {"kind": {"const": kind, "description": "What the file defines."}}
        return mapping({**head, **kind_part, **FLEET}, "How a fleet is changed.", required=(*head, "kind"))
    schema = _without_required(cluster_schema())
    properties = schema["properties"]
    if kind == "cluster":
        schema["required"] = ["plugin", "schema", "name"]
        return schema
    keys, naming = _PROFILES.get(kind, ([key for key in properties if key not in _CLASS_KEYS_NOT], ""))
    keep = dict.fromkeys(("plugin", "schema", "kind", *keys))
    schema["properties"] = {key: properties[key] for key in keep}
    schema["properties"]["kind"] = {"const": kind, "description": "What the file defines."}
    schema["required"] = ["plugin", "schema", "kind"]
    if naming:
        section = copy.deepcopy(properties[naming])
        del section["properties"]["profile"]
        schema["properties"][naming] = section
    return schema
