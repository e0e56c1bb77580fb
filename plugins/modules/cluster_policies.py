#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_policies
short_description: Keep namespaces, roles, bindings and pod security levels of a cluster as they are written
version_added: "0.1.0"
description:
  - Runs on a live control plane. Reads what there is, has the API server try every change, and then makes the changes by server-side apply,
    under the field manager C(flotilla-policies).
  - What it makes carries the label C(flotilla.kubernetes/policies). Roles and bindings with this label that are not written any more are
    deleted; a namespace stays, with all that is in it and its levels, and loses the label. Anything without the label is left alone.
  - A role or binding of somebody else under a name that is written here fails the task before anything is changed, unless O(adopt) names
    it.
  - Before a stricter pod security level is set, the API server says which pods that run would be refused. Without O(consent) the task then
    fails before anything is changed. In check mode they are returned, with a warning.
  - Other labels of a namespace, and its annotations, belong to whoever set them.
options:
  namespaces:
    description: Namespaces with their labels, levels, roles and bindings. One that exists is taken as it is, and only gets these.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the namespace.
        type: str
        required: true
      labels:
        description: Labels of the namespace.
        type: dict
        default: {}
      pod_security:
        description: Levels of the pod security standards. What is not given here follows the default of the API server.
        type: dict
        default: {}
        suboptions:
          enforce:
            description: What pods must meet.
            type: str
            choices: [privileged, baseline, restricted]
          enforce_version:
            description: As of which minor of Kubernetes, such as V(1.36). V(latest) when left out.
            type: str
          warn:
            description: Of whose violations people are warned.
            type: str
            choices: [privileged, baseline, restricted]
          warn_version:
            description: As of which minor.
            type: str
          audit:
            description: Whose violations the audit log marks.
            type: str
            choices: [privileged, baseline, restricted]
          audit_version:
            description: As of which minor.
            type: str
      roles:
        description: Roles in the namespace.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the role.
            type: str
            required: true
          rules:
            description: What it grants, with C(api_groups) (empty text for the core group), C(resources), C(resource_names), C(verbs).
            type: list
            elements: dict
            required: true
      role_bindings:
        description: Who has which role in the namespace.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the binding.
            type: str
            required: true
          role:
            description: A role of the namespace. Either this or O(namespaces[].role_bindings[].cluster_role).
            type: str
          cluster_role:
            description: A cluster role, whose rules hold in this namespace only.
            type: str
          users:
            description: Names of users.
            type: list
            elements: str
            default: []
          groups:
            description: Names of groups.
            type: list
            elements: str
            default: []
          service_accounts:
            description: Service accounts, each as C(namespace/name).
            type: list
            elements: str
            default: []
  cluster_roles:
    description: Cluster roles.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      labels:
        description: Labels, such as C(rbac.authorization.k8s.io/aggregate-to-view) that adds its rules to another role.
        type: dict
        default: {}
      rules:
        description: What it grants, like those of O(namespaces[].roles[].rules), also with C(non_resource_urls).
        type: list
        elements: dict
        required: true
  cluster_role_bindings:
    description: Who has which cluster role everywhere.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the binding.
        type: str
        required: true
      cluster_role:
        description: The cluster role.
        type: str
        required: true
      users:
        description: Names of users.
        type: list
        elements: str
        default: []
      groups:
        description: Names of groups.
        type: list
        elements: str
        default: []
      service_accounts:
        description: Service accounts, each as C(namespace/name).
        type: list
        elements: str
        default: []
  consent:
    description: Namespaces whose level may become stricter although pods that run would be refused.
    type: list
    elements: str
    default: []
  adopt:
    description: Roles and bindings of others that are taken over, as RV(differences[].object) writes them.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Let the operators look at everything, and the shop's people work in their namespace
  flotilla.kubernetes.cluster_policies:
    address: 10.0.0.11
    cluster_role_bindings:
      - name: operators-view
        cluster_role: view
        groups: ["oidc:ops"]
    namespaces:
      - name: shop
        pod_security: {enforce: restricted}
        roles:
          - name: deployer
            rules:
              - {api_groups: [apps], resources: [deployments], verbs: [get, list, watch, create, update, patch]}
        role_bindings:
          - name: deployers
            role: deployer
            groups: ["oidc:shop"]

- name: Find out which pods a stricter level would refuse
  flotilla.kubernetes.cluster_policies:
    address: 10.0.0.11
    namespaces:
      - name: shop
        pod_security: {enforce: restricted}
  check_mode: true
  register: tried
"""

RETURN = r"""
differences:
  description: What was not as it is written, in the order in which it was changed.
  returned: success
  type: list
  elements: dict
  contains:
    object: {description: Kind and name., type: str, returned: always, sample: rolebinding/shop/deployers}
    action:
      description: V(create), V(change), V(replace), V(delete), or V(release) for a namespace that is not ours any more.
      type: str
      returned: always
      sample: change
    fields: {description: What differed., type: list, elements: str, returned: always, sample: [subjects]}
refused:
  description: What a stricter level would refuse.
  returned: success, and with the code C(POLICIES_PODS_REFUSED)
  type: list
  elements: dict
  contains:
    namespace: {description: Name of the namespace., type: str, returned: always, sample: shop}
    level: {description: The level and its version., type: str, returned: always, sample: "restricted:latest"}
    workloads:
      description: One line for each workload with what is wrong, as the API server says it.
      type: list
      elements: str
      returned: always
      sample: ["web-5d8f7-x2x1l (and 2 other pods): privileged"]
    complete: {description: Whether the API server looked at all pods., type: bool, returned: always, sample: true}
foreign:
  description: The objects of others.
  returned: with the code C(POLICIES_FOREIGN)
  type: list
  elements: str
  sample: [clusterrole/deployer]
"""

from typing import Any

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes import policy_step
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER, reached
from ..module_utils._kubernetes.policies import MODES, wanted_objects

NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
NAME: dict[str, Any] = {"type": "str", "required": True}
SUBJECTS = {"users": NAMES, "groups": NAMES, "service_accounts": NAMES}
RULES: dict[str, Any] = {"type": "list", "elements": "dict", "required": True}
LABELS: dict[str, Any] = {"type": "dict", "default": {}}


def entries(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the specification of a list of things that have a name and subjects or rules."""
    return {"type": "list", "elements": "dict", "default": [], "options": {"name": NAME, **options}, **more}


def levels() -> dict[str, Any]:
    """Return the specification of the levels of a namespace."""
    choice = {"type": "str", "choices": ["privileged", "baseline", "restricted"]}
    options = dict.fromkeys(MODES, choice)
    return {"type": "dict", "default": {}, "options": {**options, **{f"{mode}_version": {"type": "str"} for mode in MODES}}}


def run(client: Client, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the module's result.

    :raises FlotillaError: something stops it before the first change, or the API server refuses one.
    :raises OSError: the API server does not answer.
    """
    wanted = wanted_objects(params["namespaces"], params["cluster_roles"], params["cluster_role_bindings"])
    seen = policy_step.look(client, wanted, params["adopt"])
    if not check_mode:
        policy_step.refuse_without_consent(seen, params["consent"])
        policy_step.apply(client, seen)
    return {
        "changed": bool(seen.changes),
        "differences": [change.as_dict() for change in seen.changes],
        "refused": [one.as_dict() for one in seen.refusals],
        "diff": [
            {"before_header": str(one.key), "after_header": str(one.key), "before": one.before, "after": one.after} for one in seen.changes
        ],
    }


def main() -> None:
    binding = {"role": {"type": "str"}, "cluster_role": {"type": "str"}, **SUBJECTS}
    one_role = {"mutually_exclusive": [("role", "cluster_role")], "required_one_of": [("role", "cluster_role")]}
    namespace = {
        "labels": LABELS,
        "pod_security": levels(),
        "roles": entries({"rules": RULES}),
        "role_bindings": entries(binding, **one_role),
    }
    module = FencedModule(
        argument_spec={
            **ADDRESS,
            "namespaces": entries(namespace),
            "cluster_roles": entries({"labels": LABELS, "rules": RULES}),
            "cluster_role_bindings": entries({"cluster_role": NAME, **SUBJECTS}),
            "consent": NAMES,
            "adopt": NAMES,
            **USER,
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        with reached("Read the log of its kube-apiserver, and run again: it goes on with what is left to do."):
            result = run(Client.short_lived(params["address"], params["user"]), params, module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    if module.check_mode:
        for one in result["refused"]:
            module.warn(f"The level {one['level']} of the namespace {one['namespace']} would refuse: {'; '.join(one['workloads'])}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
