# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real cluster broken in one way at a time: exactly that is found, and in its sound twin, which differs only in that, nothing.

Each case is a function that makes the twin, or breaks it, and returns further parameters of the preflight.
"""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import control_plane
import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.preflight import codes
from upgrade_world import CONTROL_PLANES, LIVE, TARGET, World, https_server, other_etcd

Case = Callable[[World, bool], "dict[str, Any] | None"]
CASES: dict[str, tuple[str, str, Case]] = {}
SHOP = "/api/v1/namespaces/shop"
FLANNEL = "/apis/apps/v1/namespaces/kube-flannel/daemonsets/kube-flannel-ds"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def case(code: str, thing: str) -> Callable[[Case], Case]:
    """Register a case by the finding that it has when it is broken."""

    def register(function: Case) -> Case:
        CASES[function.__name__] = (code, thing, function)
        return function

    return register


def found(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["code"], one["object"]) for one in answer["findings"]]


# Versions


@case("UPGRADE_DOWNGRADE", "cluster")
def a_target_that_is_older(world, broken):
    version = "1.34.3" if broken else LIVE
    return {"kubernetes_version": version, "available_versions": [version, TARGET]}


@case("UPGRADE_NO_PATH", "cluster")
def a_minor_that_can_not_be_installed(world, broken):
    return {"available_versions": [TARGET] if broken else [TARGET, "1.35.4"]}


@case("UPGRADE_VERSION_UNAVAILABLE", "version/1.36.9")
def a_target_that_can_not_be_installed(world, broken):
    return {"kubernetes_version": "1.36.9", "available_versions": ["1.35.4", *([] if broken else ["1.36.9"])]}


@case("UPGRADE_MINOR_UNKNOWN", "version/1.37")
def a_minor_of_the_future(world, broken):
    return {"kubernetes_version": "1.37.0" if broken else TARGET, "available_versions": ["1.35.4", TARGET, "1.37.0"]}


@case("UPGRADE_SKEW_API_SERVER", "kube-apiserver/cp-2")
def an_api_server_two_minors_behind(world, broken):
    version = "1.36.3" if broken else LIVE
    port = world.another_server("newer" if broken else "same", version)
    # The other parts of the two control planes go with their API servers.
    for component in ("kube-controller-manager", "kube-scheduler"):
        for node in ("cp-1", "cp-3"):
            world.image(f"{component}-{node}", f"registry.k8s.io/{component}:v{version}")
    return {"places": world.places(cp_1=port, cp_3=port)}


@case("UPGRADE_SKEW_CONTROLLER_MANAGER", "kube-controller-manager/cp-2")
def a_controller_manager_that_is_newer(world, broken):
    world.image("kube-controller-manager-cp-2", f"registry.k8s.io/kube-controller-manager:v{'1.35.4' if broken else LIVE}")


@case("UPGRADE_SKEW_SCHEDULER", "kube-scheduler/cp-1")
def a_scheduler_two_minors_behind(world, broken):
    world.image("kube-scheduler-cp-1", f"registry.k8s.io/kube-scheduler:v{'1.32.9' if broken else '1.33.9'}")


@case("UPGRADE_SKEW_KUBELET", "node/worker-2")
def a_kubelet_four_minors_behind(world, broken):
    world.node_status("worker-2", kubeletVersion="v1.30.14" if broken else "v1.31.14")
    world.image("kube-proxy-worker-2", "registry.k8s.io/kube-proxy:v1.33.9")


@case("UPGRADE_SKEW_KUBELET", "node/worker-1")
def a_kubelet_that_is_newer(world, broken):
    world.node_status("worker-1", kubeletVersion="v1.35.4" if broken else "v1.34.9")


@case("UPGRADE_SKEW_KUBE_PROXY", "kube-proxy/worker-1")
def a_kube_proxy_that_is_newer(world, broken):
    world.image("kube-proxy-worker-1", f"registry.k8s.io/kube-proxy:v{'1.35.4' if broken else '1.34.9'}")


@case("UPGRADE_VERSION_UNREADABLE", "kube-proxy/worker-1")
def an_image_without_a_version(world, broken):
    world.image("kube-proxy-worker-1", f"registry.k8s.io/kube-proxy{'@sha256:' + 64 * 'a' if broken else ':v' + LIVE}")


# APIs


@case("UPGRADE_API_STORED", "storagemigration.k8s.io/v1alpha1 StorageVersionMigration")
def objects_that_the_target_can_not_read(world, broken):
    # Through an API server that is not looked at: the one that is would count the request.
    port = world.another_server("same", LIVE)
    body = {"metadata": {"name": "secrets"}, "spec": {"resource": {"group": "", "version": "v1", "resource": "secrets"}}}
    path = "/apis/storagemigration.k8s.io/v1alpha1/storageversionmigrations"
    made = world.at(port).call("POST", path, body)
    assert made[0] == 201, made
    if not broken:
        assert world.at(port).call("DELETE", f"{path}/secrets")[0] == 200
    world.undo.append(lambda: world.at(port).call("DELETE", f"{path}/secrets"))


@case("UPGRADE_API_REQUESTED", "storage.k8s.io/v1alpha1/volumeattributesclasses")
def somebody_who_asks_for_a_version_that_goes(world, broken):
    version = "v1alpha1" if broken else "v1"
    port = world.another_server(f"asked-{version}", LIVE)
    assert world.at(port).call("GET", f"/apis/storage.k8s.io/{version}/volumeattributesclasses")[0] == 200
    return {"places": world.places(cp_2=port)}


@case("UPGRADE_API_WRITTEN", "volumeattributesclasses/fast")
def an_object_that_was_written_in_a_version_that_goes(world, broken):
    version = "v1alpha1" if broken else "v1"
    port = world.another_server("same", LIVE)
    body = {"metadata": {"name": "fast"}, "driverName": "disk.example.com", "parameters": {"tier": "fast"}}
    made = world.at(port).call("POST", f"/apis/storage.k8s.io/{version}/volumeattributesclasses", body)
    assert made[0] == 201, made
    world.undo.append(lambda: world.delete("/apis/storage.k8s.io/v1/volumeattributesclasses/fast"))


@case("UPGRADE_API_HELM_RELEASE", "helm/shop/store")
def a_helm_release_with_a_version_that_goes(world, broken):
    gone, there = "storage.k8s.io/v1alpha1", "storage.k8s.io/v1"
    manifest = (
        "---\n# Source: store/templates/class.yaml\napiVersion: %s\nkind: VolumeAttributesClass\nmetadata:\n  name: fast\n"
        "---\napiVersion: v1\nkind: ConfigMap\ndata:\n  text: |\n    apiVersion: policy/v1beta1\n    kind: PodSecurityPolicy\n"
    )
    release = json.dumps({"name": "store", "manifest": manifest % (gone if broken else there)}).encode()
    record = base64.b64encode(base64.b64encode(gzip.compress(release))).decode()
    labels = {"owner": "helm", "status": "deployed", "name": "store", "version": "1"}
    body = {"metadata": {"name": "sh.helm.release.v1.store.v1", "labels": labels}, "type": "helm.sh/release.v1"}
    world.create(f"{SHOP}/secrets", {**body, "data": {"release": record}})


@case("UPGRADE_API_SERVICE_UNAVAILABLE", "apiservice/v1.metrics.example.com")
def an_aggregated_api_that_does_not_answer(world, broken):
    group = {"group": "metrics.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100}
    spec = {**group, "service": {"namespace": "shop", "name": "absent", "port": 443}, "insecureSkipTLSVerify": True} if broken else group
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    world.create(path, {"metadata": {"name": "v1.metrics.example.com"}, "spec": spec})

    def judged() -> bool:
        conditions = world.call("GET", f"{path}/v1.metrics.example.com").get("status", {}).get("conditions", [])
        return any(one["status"] == str(not broken) for one in conditions)

    control_plane.wait_for("the aggregator has looked", judged)


# Settings. What the target refuses is shown by the target itself in test_refusals.py.


@case("UPGRADE_FLAG_REMOVED", "kube-apiserver/--cloud-provider")
def a_flag_that_is_gone(world, broken):
    world.arguments("kube-apiserver-cp-2", **({"cloud_provider": "external"} if broken else {"audit_log_maxage": "30"}))


@case("UPGRADE_FLAG_REMOVED", "kube-apiserver/--address")
def a_flag_that_kubeadm_would_set_again(world, broken):
    world.recorded("ClusterConfiguration", "name: profiling", f"name: {'address' if broken else 'audit-log-maxage'}")


@case("UPGRADE_FEATURE_GATE_REMOVED", "kube-controller-manager/ComponentSLIs")
def a_feature_gate_that_is_gone(world, broken):
    world.arguments("kube-controller-manager-cp-1", feature_gates=f"{'ComponentSLIs' if broken else 'AllAlpha'}=false")


@case("UPGRADE_FEATURE_GATE_LOCKED", "kube-apiserver/DRAAdminAccess")
def a_feature_gate_that_can_not_be_changed_any_more(world, broken):
    world.arguments("kube-apiserver-cp-1", feature_gates=f"DRAAdminAccess={'false' if broken else 'true'}")


@case("UPGRADE_ADMISSION_PLUGIN_REMOVED", "kube-apiserver/PodSecurityPolicy")
def an_admission_plugin_that_is_gone(world, broken):
    plugins = f"NodeRestriction,{'PodSecurityPolicy' if broken else 'PodSecurity'}"
    world.arguments("kube-apiserver-cp-3", enable_admission_plugins=plugins)


@case("UPGRADE_CONFIGURATION_FIELD_REMOVED", "KubeletConfiguration/dynamicKubeletConfigDir")
def a_field_that_kubelets_do_not_know(world, broken):
    field = "dynamicKubeletConfigDir" if broken else "podLogsDir"
    world.recorded("KubeletConfiguration", "kind: KubeletConfiguration", f"{field}: /x\nkind: KubeletConfiguration")


@case("UPGRADE_FEATURE_GATE_REMOVED", "kubeadm/WaitForAllControlPlaneComponents")
def a_feature_gate_that_kubeadm_has_no_more(world, broken):
    gate = "WaitForAllControlPlaneComponents" if broken else "NodeLocalCRISocket"
    text = "kind: ClusterConfiguration"
    world.recorded("ClusterConfiguration", text, f"{text}\nfeatureGates:\n  {gate}: true")


@case("UPGRADE_KUBEADM_RECORD_MISSING", "configmap/kube-system/kubeadm-config")
def a_record_that_somebody_deleted(world, broken):
    if broken:
        path = "/api/v1/namespaces/kube-system/configmaps"
        kept = world.client.get(f"{path}/kubeadm-config")
        world.call("DELETE", f"{path}/kubeadm-config")
        world.undo.append(lambda: world.call("POST", path, {"metadata": {"name": "kubeadm-config"}, "data": kept["data"]}))


# Health


@case("UPGRADE_API_SERVER_NOT_READY", "kube-apiserver/cp-3")
def an_api_server_that_was_killed(world, broken):
    if broken:
        port = world.another_server("mortal", LIVE)
        world.etcd.processes.kill("mortal")
        return {"places": world.places(cp_3=port)}
    return {}


@case("UPGRADE_CONTROL_PLANE_SINGLE", "cluster")
def a_single_control_plane(world, broken):
    etcd = other_etcd(world, ("cp-1",) if broken else CONTROL_PLANES)
    etcd.start_all()
    return {"etcd": etcd}


@case("UPGRADE_CONTROL_PLANE_NOT_READY", "node/cp-2")
def a_control_plane_that_is_not_ready(world, broken):
    world.node_status("cp-2", {"type": "Ready", "status": "False" if broken else "True", "message": "PLEG is not healthy"})


@case("UPGRADE_NODE_NOT_READY", "node/worker-1")
def a_worker_that_is_not_ready(world, broken):
    world.node_status("worker-1", {"type": "Ready", "status": "Unknown" if broken else "True", "message": "Kubelet stopped posting"})


@case("UPGRADE_NODE_QUARANTINED", "node/worker-1")
def a_worker_that_is_not_ready_within_the_budget(world, broken):
    world.node_status("worker-1", {"type": "Ready", "status": "Unknown" if broken else "True", "message": "Kubelet stopped posting"})
    return {"unready_workers": 1}


@case("UPGRADE_NODE_MISSING", "node/worker-2")
def a_machine_that_has_not_joined(world, broken):
    kept = world.client.get("/api/v1/nodes/worker-2")

    def bring_back() -> None:
        world.call("POST", "/api/v1/nodes", {"metadata": {"name": "worker-2"}})
        made = world.client.get("/api/v1/nodes/worker-2")
        world.call("PUT", "/api/v1/nodes/worker-2/status", {**made, "status": kept["status"]})

    if broken:
        world.call("DELETE", "/api/v1/nodes/worker-2")
        world.undo.append(bring_back)


@case("UPGRADE_NODE_WITHOUT_MACHINE", "node/stranger")
def a_node_that_nobody_knows(world, broken):
    status = {key: world.client.get("/api/v1/nodes/worker-1")["status"][key] for key in ("nodeInfo", "conditions")}
    world.create("/api/v1/nodes", {"metadata": {"name": "stranger"}}, status)
    return {"nodes": [*CONTROL_PLANES, "worker-1", "worker-2", *([] if broken else ["stranger"])]}


@case("UPGRADE_NODE_CORDONED", "node/worker-1")
def a_node_that_somebody_cordoned(world, broken):
    # What a drain of ours left behind is for the next run to go on with.
    notes = {} if broken else {"flotilla.kubernetes/drain": "2026-11-22T10:00:00Z"}
    world.change("/api/v1/nodes/worker-1", {"spec": {"unschedulable": True}, "metadata": {"annotations": notes}})


@case("UPGRADE_NODE_PRESSURE", "node/worker-2")
def a_node_without_room(world, broken):
    world.node_status("worker-2", {"type": "DiskPressure", "status": str(broken), "message": "kubelet has disk pressure"})


@case("UPGRADE_SYSTEM_POD_NOT_READY", "pod/kube-system/konnectivity")
def a_pod_of_the_cluster_that_is_not_ready(world, broken):
    world.pod("kube-system", "konnectivity", "worker-1", ready=not broken)


@case("UPGRADE_SYSTEM_POD_LACKS_IMAGE", "pod/kube-system/konnectivity")
def a_pod_of_the_cluster_whose_image_this_upgrade_brings(world, broken):
    world.pod("kube-system", "konnectivity", "worker-1", ready=not broken, waiting="ErrImagePull" if broken else None)


@case("UPGRADE_DAEMON_SET_INCOMPLETE", "daemonset/kube-flannel/kube-flannel-ds")
def a_daemon_set_that_is_not_everywhere(world, broken):
    world.change(f"{FLANNEL}/status", {"status": {"numberReady": 4 if broken else 5}})


# etcd


@case("UPGRADE_ETCD_NO_QUORUM", "etcd")
def an_etcd_without_a_majority(world, broken):
    etcd = other_etcd(world)
    etcd.start_all()
    for name in ("cp-1", "cp-2") if broken else ():
        etcd.processes.kill(name)
    if broken:
        time.sleep(4.5)  # an election's time and a half, as the flags of the tests have it: then nobody leads any more
    return {"etcd": etcd}


@case("UPGRADE_ETCD_MEMBER_DOWN", "etcd/cp-3")
def an_etcd_member_that_was_killed(world, broken):
    etcd = other_etcd(world)
    etcd.start_all()
    if broken:
        etcd.processes.kill("cp-3")
        control_plane.wait_for("the others lead", lambda: etcd.follows("cp-1") and etcd.follows("cp-2"))
    return {"etcd": etcd}


@case("UPGRADE_ETCD_MEMBER_UNKNOWN", "etcd/stranger")
def an_etcd_member_that_nobody_knows(world, broken):
    etcd = other_etcd(world, (*CONTROL_PLANES, *(["stranger"] if broken else [])))
    etcd.start_all()
    return {"etcd": etcd}


@case("UPGRADE_ETCD_LEARNER", "etcd/cp-3")
def an_etcd_member_that_does_not_vote_yet(world, broken):
    etcd = other_etcd(world)
    if broken:
        etcd.start("cp-1", ("cp-1", "cp-2"))
        etcd.start("cp-2", ("cp-1", "cp-2"))
        control_plane.wait_for("two members", lambda: etcd.follows("cp-1") and etcd.follows("cp-2"))
        control_plane.wait_for("the learner is let in", lambda: etcd.add_learner("cp-3"))
        etcd.start("cp-3", CONTROL_PLANES, "existing")
        control_plane.wait_for("the learner follows", lambda: etcd.follows("cp-3"))
    else:
        etcd.start_all()
    return {"etcd": etcd}


@case("UPGRADE_ETCD_ALARM", "etcd/cp-1")
def an_etcd_that_is_full(world, broken):
    etcd = other_etcd(world)
    # Only one member has a small quota, and so only one raises the alarm.
    etcd.start_all(cp_1=["--quota-backend-bytes=1048576"] if broken else [])
    etcd.fill("cp-1", 8)
    if broken:
        # A member notices its size when it commits, ten times a second.
        control_plane.wait_for("the alarm", lambda: etcd.fill("cp-1", 1) or etcd.alarms())
    return {"etcd": etcd}


@case("UPGRADE_ETCD_SIZE", "etcd/cp-1")
def an_etcd_that_is_nearly_full(world, broken):
    etcd = other_etcd(world)
    etcd.start_all(cp_1=[f"--quota-backend-bytes={2 if broken else 4}000000"])
    etcd.fill("cp-1", 9)
    return {"etcd": etcd}


# Webhooks


def webhook(world: World, configuration: dict[str, Any], **settings: Any) -> None:
    """A webhook for a resource that nobody has."""
    rule = {"apiGroups": ["none.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothing"]}
    entry = {"name": "look.example.com", "clientConfig": configuration, "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    world.create(HOOKS, {"metadata": {"name": "watch"}, "webhooks": [{**entry, "rules": [rule], **settings}]})


def service(world: World, address: str, port: int, nodes: tuple[str, ...], ready: bool = True) -> dict[str, Any]:
    """A Service with endpoints, and how a webhook names it."""
    world.create(f"{SHOP}/services", {"metadata": {"name": "look"}, "spec": {"ports": [{"port": 443, "targetPort": port}]}})
    world.create(
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
        {
            "metadata": {"name": "look-1", "labels": {"kubernetes.io/service-name": "look"}},
            "addressType": "IPv4",
            "ports": [{"port": port}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": ready}, "nodeName": node} for node in nodes],
        },
    )
    return {"namespace": "shop", "name": "look"}


HOOK = "validatingwebhookconfiguration/watch/look.example.com"


@case("UPGRADE_WEBHOOK_NO_ENDPOINTS", HOOK)
def a_webhook_without_its_service(world, broken):
    webhook(world, {"service": {"namespace": "shop", "name": "absent"}}, failurePolicy="Fail" if broken else "Ignore")


@case("UPGRADE_WEBHOOK_NO_ENDPOINTS", HOOK)
def a_webhook_without_a_ready_pod(world, broken):
    pair = world.authority("hooks").issue("hook", "hook", hosts=("look.shop.svc",))
    address = world.reachable_address()
    port = https_server(world, pair, address)
    named = service(world, address, port, ("worker-1",), ready=not broken)
    webhook(world, {"service": named, "caBundle": world.bundle_of("hooks")})


@case("UPGRADE_WEBHOOK_UNREACHABLE", HOOK)
def a_webhook_that_nobody_answers(world, broken):
    port = https_server(world, world.authority("hooks").issue("hook", "hook"), "127.0.0.1")
    url = f"https://127.0.0.1:{control_plane.free_port() if broken else port}/"
    webhook(world, {"url": url, "caBundle": world.bundle_of("hooks")})


@case("UPGRADE_WEBHOOK_CERTIFICATE", HOOK)
def a_webhook_with_a_foreign_certificate(world, broken):
    port = https_server(world, world.authority("strangers" if broken else "hooks").issue("hook", "hook"), "127.0.0.1")
    webhook(world, {"url": f"https://127.0.0.1:{port}/", "caBundle": world.bundle_of("hooks")})


@case("UPGRADE_WEBHOOK_BLOCKS_ITSELF", HOOK)
def a_webhook_that_its_own_pods_wait_for(world, broken):
    address = world.reachable_address()
    port = https_server(world, world.authority("hooks").issue("hook", "hook", hosts=("look.shop.svc",)), address)
    named = service(world, address, port, ("worker-1",) if broken else ("worker-1", "worker-2"))
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    webhook(world, {"service": named, "caBundle": world.bundle_of("hooks")}, rules=[pods])


@case("UPGRADE_CONVERSION_WEBHOOK_DOWN", "customresourcedefinition/carts.example.com")
def a_conversion_that_nobody_does(world, broken):
    hook = {"clientConfig": {"service": {"namespace": "shop", "name": "absent"}}, "conversionReviewVersions": ["v1"]}
    schema = {"openAPIV3Schema": {"type": "object"}}
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "carts", "kind": "Cart"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        "conversion": {"strategy": "Webhook", "webhook": hook} if broken else {"strategy": "None"},
    }
    world.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {"metadata": {"name": "carts.example.com"}, "spec": spec})


# Certificate authorities


@case("UPGRADE_CA_ROTATION", "authority/kubernetes")
def a_rotation_of_authorities_that_is_not_done(world, broken):
    trusted = [world.authority(name).file.read_text() for name in ["hooks", *(["strangers"] if broken else [])]]
    told = base64.b64encode("".join(trusted).encode()).decode()
    kubeconfig = f"clusters:\n- cluster:\n    certificate-authority-data: {told}\n  name: ''\n"
    world.create("/api/v1/namespaces/kube-public/configmaps", {"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": kubeconfig}})


# Workloads


@case("UPGRADE_PDB_NEVER_ALLOWS", "poddisruptionbudget/shop/cart")
def a_budget_that_never_allows(world, broken):
    least = 2 if broken else 1
    world.workload("cart", 2)
    world.budget(
        "cart", "cart", {"minAvailable": least}, disruptionsAllowed=2 - least, currentHealthy=2, desiredHealthy=least, expectedPods=2
    )


@case("UPGRADE_PDB_NOT_HEALTHY", "poddisruptionbudget/shop/cart")
def a_budget_whose_pods_are_broken(world, broken):
    healthy = 1 if broken else 2
    world.workload("cart", 2)
    world.budget(
        "cart", "cart", {"minAvailable": 1}, disruptionsAllowed=healthy - 1, currentHealthy=healthy, desiredHealthy=1, expectedPods=2
    )


@case("UPGRADE_PDB_NOT_OBSERVED", "poddisruptionbudget/shop/web")
def a_budget_that_nobody_counts(world, broken):
    # Nothing counts here: there is no kube-controller-manager. The twin's change is one of metadata, which needs none.
    change = {"spec": {"minAvailable": "50%"}} if broken else {"metadata": {"labels": {"team": "shop"}}}
    path = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web"
    world.undo.append(lambda: world.observed_budget("web"))
    world.change(path, change)


@case("UPGRADE_PDB_NOT_COMPUTED", "poddisruptionbudget/shop/cart")
def a_budget_that_can_not_be_computed(world, broken):
    world.workload("cart", 2)
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "SyncFailed" if broken else "SufficientPods",
        "message": "no scale",
    }
    conditions = [{**condition, "lastTransitionTime": "2026-11-22T10:00:00Z"}]
    numbers = {"currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2, "disruptionsAllowed": 0 if broken else 1}
    world.budget("cart", "cart", {"maxUnavailable": 1}, conditions=conditions, **numbers)


@case("UPGRADE_PDB_OVERLAP", "poddisruptionbudget/shop/part, shop/web")
def a_pod_with_two_budgets(world, broken):
    labels = {"app": "web" if broken else "other", "part": "other"}
    world.pod("shop", "other-0", "worker-1", metadata={"labels": labels})
    body = {"metadata": {"name": "part"}, "spec": {"maxUnavailable": 1, "selector": {"matchExpressions": [
        {"key": "part", "operator": "In", "values": ["other"]}]}}}  # fmt: skip
    numbers = {"disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 0, "expectedPods": 1}
    world.create("/apis/policy/v1/namespaces/shop/poddisruptionbudgets", body, numbers)


@case("UPGRADE_SINGLE_REPLICA", "statefulset/shop/cart")
def a_workload_with_one_replica(world, broken):
    world.workload("cart", 1 if broken else 2, "statefulsets")


@case("UPGRADE_POD_WITHOUT_CONTROLLER", "pod/shop/lonely")
def a_pod_without_a_controller(world, broken):
    world.pod("shop", "lonely", "worker-1", owner=None if broken else "Job")


@case("UPGRADE_POD_KEEPS_DATA", "pod/shop/cache-0")
def a_pod_with_data_of_its_own(world, broken):
    volume = {"name": "data", **({"emptyDir": {}} if broken else {"configMap": {"name": "c"}})}
    world.pod("shop", "cache-0", "worker-1", volumes=[volume])


# Machines and the run itself


@case("UPGRADE_CONTAINERD_TOO_OLD", "node/worker-1")
def a_containerd_that_is_too_old(world, broken):
    world.node_status("worker-1", containerRuntimeVersion=f"containerd://{'1.7.27' if broken else '2.0.0'}")


@case("UPGRADE_NETWORK_PLUGIN_UNTESTED", "daemonset/kube-flannel/kube-flannel-ds")
def a_network_plugin_that_is_too_old(world, broken):
    containers = world.client.get(FLANNEL)["spec"]["template"]["spec"]["containers"]
    containers[0]["image"] = f"ghcr.io/flannel-io/flannel:v{'0.25.7' if broken else '0.28.10'}"
    world.undo.append(lambda: world.daemon_set_status(FLANNEL, ready=5))
    world.change(FLANNEL, {"spec": {"template": {"spec": {"containers": containers}}}})
    world.daemon_set_status(FLANNEL, ready=5)


@case("UPGRADE_NO_BACKUP_STORE", "cluster")
def no_place_for_backups(world, broken):
    return {"backup_store": not broken}


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "sound"])
@pytest.mark.parametrize("name", CASES)
def test_case(world: World, name: str, broken: bool) -> None:
    code, thing, function = CASES[name]
    answer = world.look(**(function(world, broken) or {}))
    assert found(answer) == ([(code, thing)] if broken else []), answer["findings"]
    assert answer["blocked"] == (broken and codes.CODES[code].severity == codes.BLOCKER)
