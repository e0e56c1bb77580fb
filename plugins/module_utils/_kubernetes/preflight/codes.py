# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one registry of what a preflight can find (private to flotilla.kubernetes).

Codes are stable: acknowledgements in inventories, reports and other tools refer to them. ``tools/preflight-codes`` writes the table of
docs/upgrade_preflight.md from here. Python 3.9, standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from ..._errors import Finding, FlotillaError

BLOCKER, WARNING, INFO = "blocker", "warning", "info"
SEVERITIES = (BLOCKER, WARNING, INFO)


@dataclass(frozen=True)
class Code:
    """What a code means.

    :param severity: `BLOCKER` stops the upgrade before anything is touched, unless it is acknowledged.
    :param object: the form of a finding's object.
    :param meaning: why it matters; a sentence.
    :param remedy: what to do; a sentence or two.
    """

    severity: str
    object: str
    meaning: str
    remedy: str


@dataclass(frozen=True)
class UpgradeFinding(Finding):
    """A finding of a preflight."""

    severity: str = BLOCKER
    acknowledged: bool = False

    @property
    def blocks(self) -> bool:
        return self.severity == BLOCKER and not self.acknowledged


def found(code: str, thing: str, message: str, remedy: str = "") -> UpgradeFinding:
    """Return a finding of a registered code about ``thing``; ``remedy`` where a better one is known than the registered one."""
    return UpgradeFinding(code, thing, message, remedy or CODES[code].remedy, CODES[code].severity)


def acknowledge(findings: Iterable[UpgradeFinding], given: Sequence[str], interrupted: Sequence[str] = ()) -> list[UpgradeFinding]:
    """Mark what ``given`` (``CODE`` or ``CODE:object``) names; return all, the blocking ones first.

    :param interrupted: nodes on which an upgrade stopped. It begins with them, so what it left there is acknowledged, too.
    :raises FlotillaError: ``ACKNOWLEDGEMENT_UNKNOWN``: a code is none of the registered ones.
    """
    for entry in given:
        code = entry.partition(":")[0]
        if code not in CODES:
            guess = get_close_matches(code, CODES, n=1)
            raise FlotillaError(
                "ACKNOWLEDGEMENT_UNKNOWN",
                f"There is no finding with the code {code!r} to acknowledge.",
                f"Did you mean {guess[0]}?" if guess else "See docs/upgrade_preflight.md for all codes.",
            )
    accepted = set(given)
    marked = [
        replace(one, acknowledged=bool({one.code, f"{one.code}:{one.object}"} & accepted) or _is_left_by(one, interrupted))
        for one in findings
    ]
    return sorted(set(marked), key=lambda one: (not one.blocks, SEVERITIES.index(one.severity), one.code, one.object))


def _is_left_by(finding: UpgradeFinding, interrupted: Sequence[str]) -> bool:
    """Tell whether a finding is what an upgrade that stopped on one of these nodes leaves."""
    name = finding.object.rpartition("/")[2]
    # A static pod has the name of its node behind its own.
    return finding.code in LEFT_BY_A_STOP and any(name == node or name.endswith(f"-{node}") for node in interrupted)


def reference() -> str:
    """Return the table of all codes in Markdown."""
    lines = ["| code | severity | object | meaning | remedy |", "|---|---|---|---|---|"]
    lines += [f"| `{code}` | {one.severity} | `{one.object}` | {one.meaning} | {one.remedy} |" for code, one in CODES.items()]
    return "\n".join(lines) + "\n"


LEFT_BY_A_STOP = frozenset(
    {
        "UPGRADE_API_SERVER_NOT_READY",
        "UPGRADE_CONTROL_PLANE_NOT_READY",
        "UPGRADE_ETCD_MEMBER_DOWN",
        "UPGRADE_NODE_CORDONED",
        "UPGRADE_NODE_NOT_READY",
        "UPGRADE_SKEW_CONTROLLER_MANAGER",
        "UPGRADE_SKEW_KUBELET",
        "UPGRADE_SKEW_KUBE_PROXY",
        "UPGRADE_SKEW_SCHEDULER",
        "UPGRADE_SYSTEM_POD_NOT_READY",
    }
)

_LOG = "Read its log ('crictl logs', /var/log/pods) and mend it first."

CODES: dict[str, Code] = {
    # Versions and the way between them.
    "UPGRADE_DOWNGRADE": Code(
        BLOCKER,
        "cluster",
        "The target is older than an API server; Kubernetes and etcd can not go back.",
        "Set kubernetes_version to the cluster's version or a newer one; cluster_rollback goes back to a backup.",
    ),
    "UPGRADE_NO_PATH": Code(
        BLOCKER,
        "cluster",
        "A minor between the cluster's version and the target can not be installed, and none may be skipped.",
        "Use a release of flotilla.kubernetes that has these minors, or make a bundle of one version of each.",
    ),
    "UPGRADE_VERSION_UNAVAILABLE": Code(
        BLOCKER,
        "version/<version>",
        "There is nothing to install the target from.",
        "Set kubernetes_version to one that bundle_build can make, or make its bundle.",
    ),
    "UPGRADE_VERSION_UNREADABLE": Code(
        WARNING,
        "<component>/<node>",
        "The tag of an image does not say which version runs, so its skew is not known.",
        "Use images whose tag is their version, as kubeadm does.",
    ),
    "UPGRADE_MINOR_UNKNOWN": Code(
        WARNING,
        "version/<minor>",
        "This release of flotilla.kubernetes does not know what that minor removed: flags, feature gates and APIs were not compared.",
        "Read its urgent upgrade notes, or use a newer release of the collection.",
    ),
    "UPGRADE_SKEW_API_SERVER": Code(
        BLOCKER,
        "kube-apiserver/<node>",
        "API servers are more than one minor apart.",
        "Finish the upgrade that was begun: bring the older control planes to the minor after theirs first.",
    ),
    "UPGRADE_SKEW_CONTROLLER_MANAGER": Code(
        BLOCKER,
        "kube-controller-manager/<node>",
        "A kube-controller-manager is newer than an API server, or more than one minor older.",
        "Bring its static pod to the version of the API servers.",
    ),
    "UPGRADE_SKEW_SCHEDULER": Code(
        BLOCKER,
        "kube-scheduler/<node>",
        "A kube-scheduler is newer than an API server, or more than one minor older.",
        "Bring its static pod to the version of the API servers.",
    ),
    "UPGRADE_SKEW_KUBELET": Code(
        BLOCKER,
        "node/<node>",
        "A kubelet is newer than an API server, or more than three minors older.",
        "Bring the kubelet of this node to the version of the API servers, or replace the machine.",
    ),
    "UPGRADE_SKEW_KUBE_PROXY": Code(
        BLOCKER,
        "kube-proxy/<node>",
        "A kube-proxy is newer than an API server, or more than three minors older than it or than its kubelet.",
        "Set the image of the DaemonSet kube-system/kube-proxy to the version of the API servers.",
    ),
    "UPGRADE_SKEW_ETCD": Code(
        BLOCKER,
        "etcd/<node>",
        "An etcd member is newer than the etcd of the target (etcd can not go back), or more than one minor older.",
        "Bring etcd to a minor that is the one of the target or the one before.",
    ),
    # APIs.
    "UPGRADE_API_STORED": Code(
        BLOCKER,
        "<apiVersion> <Kind>",
        "etcd holds objects in a version that the target can not read any more.",
        "Write each of them once through a version that stays ('kubectl get -o json', then 'kubectl replace'), or delete them.",
    ),
    "UPGRADE_API_REQUESTED": Code(
        BLOCKER,
        "<group>/<version>/<resource>",
        "Somebody asked for an API that the target does not serve since an API server started.",
        "Find who in the audit log (annotation k8s.io/deprecated) and move it to a version that stays. The counter is empty again once the "
        "API server has restarted.",
    ),
    "UPGRADE_API_WRITTEN": Code(
        WARNING,
        "<kind>/<namespace>/<name>",
        "Whoever wrote the object used an API that the target does not serve; its next change will fail.",
        "Change the manifest that it comes from, and apply it again.",
    ),
    "UPGRADE_API_HELM_RELEASE": Code(
        BLOCKER,
        "helm/<namespace>/<release>",
        "A Helm release has an API that the target does not serve: Helm could not upgrade it or roll it back any more.",
        "Upgrade the release with a chart for the target first, or rewrite its record with the plugin helm-mapkubeapis.",
    ),
    "UPGRADE_API_SERVICE_UNAVAILABLE": Code(
        WARNING,
        "apiservice/<name>",
        "An aggregated API does not answer: discovery is slow and namespaces can not be deleted.",
        "Start the Service behind it, or delete the APIService.",
    ),
    # Settings.
    "UPGRADE_FLAG_REMOVED": Code(
        BLOCKER,
        "<component>/--<flag>",
        "A component is given a flag that the target does not have; it would not start.",
        "Take the flag out where the message says that it is set, and run cluster_apply.",
    ),
    "UPGRADE_FEATURE_GATE_REMOVED": Code(
        BLOCKER,
        "<component>/<gate>",
        "A component is given a feature gate that the target does not have; it would not start.",
        "Take the feature gate out where the message says that it is set, and run cluster_apply.",
    ),
    "UPGRADE_FEATURE_GATE_LOCKED": Code(
        BLOCKER,
        "<component>/<gate>",
        "A feature gate is set to what the target does not allow any more; the component would not start.",
        "Take the feature gate out where the message says that it is set, and make sure that the cluster can live with its value.",
    ),
    "UPGRADE_ADMISSION_PLUGIN_REMOVED": Code(
        BLOCKER,
        "kube-apiserver/<plugin>",
        "The API servers are given an admission plugin that the target does not have; they would not start.",
        "Take the plugin out where the message says that it is set, and put what replaces it in its place first.",
    ),
    "UPGRADE_CONFIGURATION_FIELD_REMOVED": Code(
        BLOCKER,
        "<Kind>/<field>",
        "A configuration has a field that the target does not know; the component reads it strictly and would not start.",
        "Take the field out, and run cluster_apply.",
    ),
    "UPGRADE_KUBEADM_RECORD_MISSING": Code(
        BLOCKER,
        "configmap/kube-system/<name>",
        "kubeadm recorded the settings of the cluster in a ConfigMap that is not there, and can not upgrade without it.",
        "Write it again with 'kubeadm init phase upload-config' and the configuration of the cluster; cluster_apply does so.",
    ),
    # Health.
    "UPGRADE_API_SERVER_NOT_READY": Code(
        BLOCKER, "kube-apiserver/<node>", "An API server is not ready, so that another one may not go down.", _LOG
    ),
    "UPGRADE_CONTROL_PLANE_SINGLE": Code(
        INFO,
        "cluster",
        "There is one control plane only: the API is away while it is upgraded. Pods keep running.",
        "Raise control_plane.count to 3 for upgrades that nobody notices.",
    ),
    "UPGRADE_CONTROL_PLANE_NOT_READY": Code(
        BLOCKER,
        "node/<node>",
        "A control plane is not Ready.",
        "Read 'journalctl -u kubelet' on it, or replace it with machine_replace.",
    ),
    "UPGRADE_NODE_NOT_READY": Code(
        BLOCKER,
        "node/<node>",
        "More workers are not Ready than may be unavailable.",
        "Read 'journalctl -u kubelet' on it, or replace it with machine_replace.",
    ),
    "UPGRADE_NODE_QUARANTINED": Code(
        WARNING,
        "node/<node>",
        "A worker is not Ready; the upgrade leaves it out, within the failure budget.",
        "Mend or replace it, and run again.",
    ),
    "UPGRADE_NODE_MISSING": Code(
        BLOCKER,
        "node/<node>",
        "A machine of the cluster is no node of it, so that it would stay behind.",
        "Run cluster_apply first.",
    ),
    "UPGRADE_NODE_WITHOUT_MACHINE": Code(
        WARNING,
        "node/<node>",
        "A node has no machine that flotilla.kubernetes knows, so that nothing upgrades it.",
        "Delete the node when it is gone, or add its machine to the definition.",
    ),
    "UPGRADE_NODE_CORDONED": Code(
        WARNING,
        "node/<node>",
        "Somebody made a node unschedulable: pods that are evicted elsewhere can not go there.",
        "Make it schedulable again ('kubectl uncordon'), or leave it: the upgrade keeps it as it is.",
    ),
    "UPGRADE_NODE_PRESSURE": Code(
        BLOCKER,
        "node/<node>",
        "A node is short of disk, memory or process ids: its kubelet deletes images and evicts pods.",
        "Give the node room before more pods come to it.",
    ),
    "UPGRADE_SYSTEM_POD_NOT_READY": Code(
        BLOCKER,
        "pod/<namespace>/<name>",
        "A pod of the cluster itself is not Ready.",
        "Read 'kubectl describe pod' of it, and mend it first.",
    ),
    "UPGRADE_SYSTEM_POD_LACKS_IMAGE": Code(
        WARNING,
        "pod/<namespace>/<name>",
        "A pod of the cluster itself waits for an image on a node that was left out of an upgrade.",
        "Nothing: the upgrade brings the images of its version to the node first.",
    ),
    "UPGRADE_DAEMON_SET_INCOMPLETE": Code(
        BLOCKER,
        "daemonset/<namespace>/<name>",
        "A DaemonSet of the cluster itself does not run everywhere it should.",
        "Read 'kubectl describe daemonset' of it, and mend it first.",
    ),
    # etcd.
    "UPGRADE_ETCD_NO_QUORUM": Code(
        BLOCKER,
        "etcd",
        "etcd has no majority of members that answer.",
        "Start members that are down; if they are lost for good, restore the cluster with cluster_restore.",
    ),
    "UPGRADE_ETCD_MEMBER_DOWN": Code(
        BLOCKER,
        "etcd/<member>",
        "An etcd member does not answer; while it is down no other one should restart.",
        "Read the log of etcd on its machine, or replace the machine with machine_replace.",
    ),
    "UPGRADE_ETCD_MEMBER_UNKNOWN": Code(
        BLOCKER,
        "etcd/<member>",
        "etcd has a member that is no control plane of this cluster: it counts for the quorum, and nothing upgrades it.",
        "Run cluster_apply: it removes members of machines that are gone.",
    ),
    "UPGRADE_ETCD_LEARNER": Code(
        BLOCKER,
        "etcd/<member>",
        "An etcd member does not vote yet.",
        "Wait until it has caught up, or run cluster_apply: it finishes the join.",
    ),
    "UPGRADE_ETCD_ALARM": Code(
        BLOCKER,
        "etcd/<member>",
        "etcd has raised an alarm: NOSPACE (it takes no writes), or CORRUPT (a member's data differ).",
        "NOSPACE: compact, defragment ('etcdctl defrag') and clear it ('etcdctl alarm disarm'). CORRUPT: replace the member's machine.",
    ),
    "UPGRADE_ETCD_SIZE": Code(
        BLOCKER,
        "etcd/<member>",
        "The database of etcd is near its quota; at the quota it takes no writes any more.",
        "Delete what is not needed, compact and defragment etcd, or raise --quota-backend-bytes.",
    ),
    "UPGRADE_ETCD_FRAGMENTED": Code(
        WARNING,
        "etcd/<member>",
        "Most of the file of etcd is free pages: each backup carries them.",
        "Defragment the member ('etcdctl defrag').",
    ),
    # Webhooks.
    "UPGRADE_WEBHOOK_NO_ENDPOINTS": Code(
        BLOCKER,
        "<kind>/<configuration>/<webhook>",
        "A webhook that fails closed has no Service or no ready endpoint: what it watches can not be created or changed.",
        "Start the pods behind it, set failurePolicy to Ignore, or delete the configuration when what it belonged to is gone.",
    ),
    "UPGRADE_WEBHOOK_UNREACHABLE": Code(
        BLOCKER,
        "<kind>/<configuration>/<webhook>",
        "A webhook that fails closed does not answer on its endpoints.",
        "Mend the pods behind it or what is between (NetworkPolicy, firewall), or set failurePolicy to Ignore.",
    ),
    "UPGRADE_WEBHOOK_CERTIFICATE": Code(
        BLOCKER,
        "<kind>/<configuration>/<webhook>",
        "A webhook that fails closed shows a certificate that its caBundle does not trust, or that is over.",
        "Renew the certificate, or write its authority into caBundle.",
    ),
    "UPGRADE_WEBHOOK_BLOCKS_ITSELF": Code(
        WARNING,
        "<kind>/<configuration>/<webhook>",
        "A webhook that fails closed has all its endpoints on one node and is asked for its own pods: once that node is drained, they can "
        "not come back.",
        "Run two replicas on different nodes, or exclude its own namespace with a namespaceSelector.",
    ),
    "UPGRADE_CONVERSION_WEBHOOK_DOWN": Code(
        BLOCKER,
        "customresourcedefinition/<name>",
        "The webhook that converts a custom resource has no ready endpoint: the resource can not be read in every version.",
        "Start the pods behind it.",
    ),
    # Workloads.
    "UPGRADE_PDB_NEVER_ALLOWS": Code(
        BLOCKER,
        "poddisruptionbudget/<namespace>/<name>",
        "A PodDisruptionBudget wants as many healthy pods as there are: no pod of it can ever be evicted, so a drain can not finish.",
        "Run one replica more, or lower minAvailable (raise maxUnavailable).",
    ),
    "UPGRADE_PDB_NOT_HEALTHY": Code(
        BLOCKER,
        "poddisruptionbudget/<namespace>/<name>",
        "A PodDisruptionBudget allows nothing, because pods of it are not healthy.",
        "Mend the pods. 'unhealthyPodEvictionPolicy: AlwaysAllow' lets at least the broken ones go.",
    ),
    "UPGRADE_PDB_NOT_OBSERVED": Code(
        BLOCKER,
        "poddisruptionbudget/<namespace>/<name>",
        "A PodDisruptionBudget was changed and nobody has counted its pods since: it allows nothing.",
        "Look whether kube-controller-manager runs.",
    ),
    "UPGRADE_PDB_NOT_COMPUTED": Code(
        BLOCKER,
        "poddisruptionbudget/<namespace>/<name>",
        "The disruption controller can not tell how many pods a PodDisruptionBudget is about: it allows nothing.",
        "Use minAvailable with a number, or pods of a controller that has replicas.",
    ),
    "UPGRADE_PDB_OVERLAP": Code(
        BLOCKER,
        "poddisruptionbudget/<namespace>/<name>, ...",
        "Pods belong to several PodDisruptionBudgets: the API refuses to evict them.",
        "Change the selectors so that each pod belongs to one.",
    ),
    "UPGRADE_SINGLE_REPLICA": Code(
        WARNING,
        "<kind>/<namespace>/<name>",
        "A workload has one replica: it is away while its pod moves.",
        "Run two replicas, if it can.",
    ),
    "UPGRADE_POD_WITHOUT_CONTROLLER": Code(
        BLOCKER,
        "pod/<namespace>/<name>",
        "A pod has no controller that would make it anew, so drains leave it alone and do not finish.",
        "Delete it yourself, or set delete_bare_pods if it may be lost.",
    ),
    "UPGRADE_POD_KEEPS_DATA": Code(
        BLOCKER,
        "pod/<namespace>/<name>",
        "A pod keeps data in an emptyDir volume that would be lost, so drains leave it alone and do not finish.",
        "Save the data and delete it yourself, or set delete_emptydir_data if they may be lost.",
    ),
    # Machines.
    "UPGRADE_CONTAINERD_TOO_OLD": Code(
        BLOCKER,
        "node/<node>",
        "The containerd of a node is too old for the kubelet of the target.",
        "Bring containerd to 2.x first (role containerd), one node at a time.",
    ),
    "UPGRADE_CONTAINERD_DOWN": Code(BLOCKER, "node/<node>", "containerd does not answer.", "Read 'journalctl -u containerd' on the node."),
    "UPGRADE_CGROUP_V1": Code(
        BLOCKER,
        "node/<node>",
        "The node has cgroup v1 only, with which the kubelet of the target does not start.",
        "Boot it with the unified hierarchy (systemd.unified_cgroup_hierarchy=1), or replace the machine by one with a newer image.",
    ),
    "UPGRADE_NETWORK_PLUGIN_UNTESTED": Code(
        WARNING,
        "daemonset/<namespace>/<name>",
        "This version of the network plugin is not among those that were tested with the target.",
        "Bring the network plugin to a version that is, before or after the upgrade as its own notes say.",
    ),
    "UPGRADE_DISK_SPACE": Code(
        BLOCKER, "node/<node>:<path>", "There is too little free space for new images, binaries or a backup of etcd.", "Give it room."
    ),
    "UPGRADE_BINARY_MISSING": Code(
        BLOCKER,
        "node/<node>:<path>",
        "A binary of the target is not on the node, or differs from the bundle's.",
        "Run the upgrade again: it brings what is missing before it looks.",
    ),
    "UPGRADE_IMAGE_MISSING": Code(
        BLOCKER,
        "node/<node>:<image>",
        "An image of the target is not on the node: the pod would be away while it is fetched, if it can be.",
        "Run the upgrade again: it brings what is missing before it looks. Kubelets delete images when the disk is nearly full.",
    ),
    "UPGRADE_CERTIFICATE_EXPIRED": Code(
        BLOCKER,
        "node/<node>:<path>",
        "A certificate is over; what uses it does not work any more, or stops at its next start.",
        "Run cluster_rotate_certificates.",
    ),
    "UPGRADE_CERTIFICATE_EXPIRES": Code(
        BLOCKER,
        "node/<node>:<path>",
        "A certificate expires soon.",
        "Run cluster_rotate_certificates. Acknowledge it when kubeadm is to renew it in this upgrade; it does not do so for kubelets.",
    ),
    "UPGRADE_CA_EXPIRES": Code(
        BLOCKER,
        "node/<node>:<path>",
        "A certificate authority expires soon, and with it everything that it signed; no upgrade renews it.",
        "Rotate the certificate authority (cluster_rotate_ca).",
    ),
    "UPGRADE_CA_ROTATION": Code(
        BLOCKER,
        "authority/<name>",
        "The rotation of a certificate authority is under way, and kubeadm would sign with whichever authority it finds first.",
        "Run cluster_rotate_ca until it is done, then upgrade.",
    ),
    # What the run itself needs.
    "UPGRADE_NO_BACKUP_STORE": Code(
        BLOCKER,
        "cluster",
        "There is no durable place for the backup that is the only way back.",
        "Set backup_store in the definition.",
    ),
}
