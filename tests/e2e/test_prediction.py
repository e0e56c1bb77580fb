# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What check mode predicts for a cluster that differs from its definition is what a run then changes, object by object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import journal
import outside
import prediction
import pytest
import yaml
from conftest import NAME, Cluster

CONFIGURATION = ("/etc/containerd", "/etc/crictl.yaml", "/etc/kubernetes", "/etc/sysctl.d", "/etc/systemd/system", "/usr/local/bin")
COREDNS = "registry.k8s.io/coredns/coredns"


pytestmark = pytest.mark.full


@dataclass(frozen=True)
class Differences:
    """The machines that the tests have made different, and what was predicted and done about it."""

    worker: str
    control_plane: str
    gone: str
    image: str
    before: dict[str, str]
    untouched: bool
    predicted: set[prediction.Changed]
    made: set[prediction.Changed]
    after: dict[str, str]


def inside(machine: str, script: str, check: bool = True) -> str:
    return outside.host("podman", "exec", machine, "sh", "-c", script, check=check)


def state() -> dict[str, str]:
    """Return what the cluster is as the host sees it: object -> what tells whether it changed."""
    found = {f"container {name}": identity for name, identity in outside.containers(NAME).items()}
    running = json.loads(outside.host("podman", "ps", "--format", "json", "--filter", f"label=flotilla-cluster={NAME}"))
    found.update({f"{entry['Names'][0]} runs": "yes" for entry in running})
    chains = json.loads(outside.host("nft", "--json", "list", "table", "inet", f"flotilla_{NAME.replace('-', '_')}"))["nftables"]
    found["egress"] = " ".join(sorted(entry["chain"]["name"] for entry in chains if "chain" in entry))
    for machine in sorted(entry["Names"][0] for entry in running if entry["Names"][0].startswith(f"{NAME}-")):
        for line in outside.digests(machine, CONFIGURATION).splitlines():
            digest, path = line.split(maxsplit=1)
            found[f"{machine} {path}"] = digest
        for image in inside(machine, "ctr --namespace=k8s.io images list --quiet 2>/dev/null").split():
            found[f"{machine} {image}"] = "there"
        found[f"{machine} ip_forward"] = inside(machine, "cat /proc/sys/net/ipv4/ip_forward").strip()
        for service in ("containerd", "kubelet"):
            shown = inside(machine, f"systemctl show --property=UnitFileState,ActiveState,MainPID {service}").split()
            found[f"{machine} {service}"] = " ".join(sorted(shown))
    return found


@pytest.fixture(scope="module")
def differences(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Differences]:
    """Make the cluster different in many ways, look at it with check mode, and run."""
    folder = tmp_path_factory.mktemp("prediction")
    assert cluster.play("cluster_apply").status == 0
    control_plane, (gone, *others) = outside.machines(NAME, "control-plane")[-1], outside.machines(NAME, "workers")
    worker = others[0] if others else outside.machines(NAME, "control-plane")[0]
    # A machine that is gone with its Node; the next one takes its place.
    cluster.kubectl("delete", "node", gone)
    outside.host("podman", "rm", "--force", "--time", "0", gone)
    # Files, one that containerd reads, one that nobody has to be restarted for, one that came from the bundle.
    inside(worker, "echo '# changed' >> /etc/containerd/config.toml; rm /usr/local/bin/crictl")
    inside(control_plane, "rm /etc/crictl.yaml; systemctl --quiet disable containerd; sysctl --quiet --write net.ipv4.ip_forward=0")
    (image, *_tags) = [line for line in inside(worker, "ctr --namespace=k8s.io images list --quiet 2>/dev/null").split() if COREDNS in line]
    inside(worker, f"ctr --namespace=k8s.io images rm {image} 2>/dev/null")
    # An object in the cluster; the API server is reached through the load balancer, which stops last.
    cluster.kubectl("--namespace=kube-flannel", "delete", "configmap", "kube-flannel-cfg")
    path = cluster.foundation / "clusters" / f"{NAME}.yml"
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    definition["local"]["egress"] = "allow"
    path.write_text(yaml.safe_dump(definition, sort_keys=False), encoding="utf-8")
    outside.host("podman", "stop", "--time", "0", f"flotilla-{NAME}-api")

    before = state()
    checked = cluster.play("cluster_apply", "--check", "--diff", environment=journal.environment(folder / "checked"))
    assert checked.status == 0, checked.output[-6000:]
    untouched = state() == before
    applied = cluster.play("cluster_apply", "--diff", environment=journal.environment(folder / "applied"))
    assert applied.status == 0, applied.output[-6000:]
    known = {*outside.machines(NAME), f"{NAME}.cluster"} - {name for name in outside.machines(NAME) if f"container {name}" not in before}
    # What a new machine gets is left to the run that makes it: it has no host before.
    predicted, made = (
        {change for change in prediction.changes(journal.read(folder / name)) if change.host in known} for name in ("checked", "applied")
    )
    yield Differences(worker, control_plane, gone, image, before, untouched, predicted, made, state())


def test_check_mode_changed_nothing(differences: Differences) -> None:
    assert differences.untouched


def test_the_set_predicted_is_the_set_then_made(differences: Differences) -> None:
    assert differences.predicted == differences.made, "\n".join(
        [f"predicted only: {change}" for change in sorted(differences.predicted - differences.made)]
        + [f"made only: {change}" for change in sorted(differences.made - differences.predicted)]
    )


def test_each_difference_was_predicted(differences: Differences) -> None:
    one = differences
    for host, name in (
        (one.worker, "written /etc/containerd/config.toml"),
        (one.worker, "installed /usr/local/bin/crictl"),
        (one.worker, f"imported {one.image}"),
        (one.worker, "service_steps containerd restarted"),
        (one.control_plane, "written /etc/crictl.yaml"),
        (one.control_plane, "service_steps containerd enabled"),
        (one.control_plane, "set net.ipv4.ip_forward"),
        (f"{NAME}.cluster", "egress: 'deny' -> 'allow'"),
    ):
        assert any(change.host == host and name in change.object for change in one.predicted), (host, name)
    objects = {change.object for change in one.predicted}
    assert any("kube-flannel-cfg" in name for name in objects), objects
    assert any(name.startswith("load_balancer: ") and "running" in name for name in objects), objects
    assert any(name.startswith(f"machines.{NAME}-workers-") and "'state': 'running'" in name for name in objects), objects


def test_what_changed_as_the_host_sees_it_was_predicted(differences: Differences) -> None:
    before, after = differences.before, differences.after
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    new = {name.split(" ", 1)[1] for name in changed if name.startswith("container ") and name not in before}
    # Of the new machine everything is new; the prediction has it by its name.
    changed = {name for name in changed if not any(machine in name for machine in new)}
    # Whether the list of machines changed depends on the new one's name; that it is predicted is said by the comparison of the sets.
    changed = {name for name in changed if not name.endswith(" /etc/kubernetes/flotilla/nodes.json")}
    worker, control_plane = differences.worker, differences.control_plane
    assert changed == {
        "egress",
        f"flotilla-{NAME}-api runs",
        f"{worker} /etc/containerd/config.toml",
        f"{worker} /usr/local/bin/crictl",
        f"{worker} {differences.image}",
        f"{worker} containerd",
        f"{worker} kubelet",
        f"{control_plane} /etc/crictl.yaml",
        f"{control_plane} containerd",
        f"{control_plane} ip_forward",
    }
    (machine,) = new
    assert any(machine in change.object for change in differences.predicted), "check mode knew the name of the new machine"


def test_afterwards_nothing_is_predicted(cluster: Cluster, differences: Differences) -> None:
    assert differences.made
    checked = cluster.play("cluster_apply", "--check", "--diff")
    assert (checked.status, checked.changed) == (0, 0), checked.output[-6000:]
