# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a running cluster: what kubeadm recorded, and what each node made of it (private to flotilla.kubernetes).

kubeadm itself says what the wanted documents mean: it completes them and renders the static pods into a folder of ours, and what it
renders is compared with what is there. Python 3.9, standard library only.
"""

from __future__ import annotations

import os
import re
import signal
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._command import run
from .._config_files import Change, ConfigFile, ConfigFiles
from .._errors import FlotillaError
from .._files import scratch, write_atomically
from .._moments import stamp
from .._restart import Restart
from .authorities import as_recorded
from .client import CA_FILE, Client, as_json_documents, short_lived_kubeconfig
from .encryption import Conversion
from .etcd import CLIENT_PORT, client_context
from .gates import api_server_problem
from .membership import kubelet_problem

RUN_DIR = Path("/run")
MANIFESTS = Path("/etc/kubernetes/manifests")
KUBELET_CONFIGURATION = Path("/var/lib/kubelet/config.yaml")
KUBELET_KUBECONFIG = Path("/etc/kubernetes/kubelet.conf")
API_SERVER = "kube-apiserver"
# In this order: an API server needs its etcd.
COMPONENTS = ("etcd", API_SERVER, "kube-controller-manager", "kube-scheduler")
# https://kubernetes.io/docs/reference/networking/ports-and-protocols/
HEALTH_PORTS = {"kube-controller-manager": 10257, "kube-scheduler": 10259}
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps"
CLOCK_STEP = 2.0  # seconds; the kernel tells when it booted, and so when processes started, in whole seconds
GRACE = 30.0  # seconds, as kubelet gives a static pod of kubeadm
# kind of the document: ConfigMap, and the entry in it that holds the document
RECORDS = {
    "ClusterConfiguration": ("kubeadm-config", "ClusterConfiguration"),
    "KubeletConfiguration": ("kubelet-config", "kubelet"),
    "KubeProxyConfiguration": ("kube-proxy", "config.conf"),
}
# Each node has its own: https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/
OWN_LINES = {"KubeletConfiguration": re.compile(r"^containerRuntimeEndpoint:.*\n", re.MULTILINE)}
# Read by etcd when it has no data yet, and never again; a member that joined has other values than kubeadm renders for the first one.
ETCD_BIRTH = re.compile(r"^    - --initial-cluster(?:-state)?=.*\n", re.MULTILINE)


def comparable(kind: str, text: str) -> str:
    """Return a document without what differs from node to node."""
    return OWN_LINES[kind].sub("", text).strip() if kind in OWN_LINES else text.strip()


def document(stream: str, kind: str) -> str:
    """Return the document of ``kind`` in a YAML stream as kubeadm writes it."""
    found = [part for part in re.split(r"^---\n", stream, flags=re.MULTILINE) if re.search(rf"^kind: {kind}$", part, re.MULTILINE)]
    if len(found) != 1:
        raise FlotillaError("KUBEADM_OUTPUT", f"kubeadm wrote {len(found)} documents of the kind {kind}, not one.")
    return found[0]


def entry_of(config_map: str, entry: str) -> str:
    """Return one entry of a ConfigMap that kubeadm printed: a block of lines, indented by four."""
    found = re.search(rf"^  {re.escape(entry)}: \|-?\n((?:    .*\n|\n)+)", config_map, re.MULTILINE)
    if not found:
        raise FlotillaError("KUBEADM_OUTPUT", f"kubeadm printed a ConfigMap without {entry}.")
    return re.sub(r"^    ", "", found.group(1), flags=re.MULTILINE)


def keep_birth(rendered: str, present: str) -> str:
    """Return the rendered manifest of etcd with the flags of ``present`` that only mattered when its member was made."""
    others = ETCD_BIRTH.sub("", rendered)
    kept = "".join(ETCD_BIRTH.findall(present))
    # They are sorted by name; nothing of etcd's sorts between these and --initial-advertise-peer-urls.
    return re.sub(r"^(    - --initial-advertise-peer-urls=.*\n)", lambda match: match.group(1) + kept, others, flags=re.MULTILINE)


def arguments(manifest: str) -> set[str]:
    """Return the flags of a static pod's manifest."""
    return {line.strip()[2:] for line in manifest.splitlines() if re.match(r"\s+- --", line)}


def named_by_api_server(paths: Sequence[Path]) -> list[Path]:
    """Return which of these files a flag of this machine's API server names, as its static pod says it."""
    try:
        manifest = (MANIFESTS / f"{API_SERVER}.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    named = {flag.partition("=")[2] for flag in arguments(manifest)}
    return [path for path in paths if str(path) in named]


def processes(component: str, proc: Path = Path("/proc")) -> Iterator[tuple[int, set[str], float]]:
    """Yield process id, flags and start (seconds since the epoch) of each process of ``component``."""
    try:
        booted = next(int(line.split()[1]) for line in (proc / "stat").read_text(encoding="ascii").splitlines() if line.startswith("btime"))
        folders = [entry for entry in proc.iterdir() if entry.name.isdigit()]
    except (OSError, StopIteration):
        return
    for folder in folders:
        try:
            command = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            ticks = int((folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19])
        except (OSError, ValueError, IndexError):
            continue
        if command[0].rpartition("/")[2] == component:
            yield int(folder.name), {entry for entry in command[1:] if entry}, booted + ticks / os.sysconf("SC_CLK_TCK")


def restart_due(restart: Restart) -> bool:
    """Return whether an API server still runs that began before the files that it reads at its start last changed.

    One that began later has read them: kubeadm starts API servers, too.
    """
    return restart.due and any(started <= restart.owed_since for _id, _flags, started in processes(API_SERVER))


def restart_component(component: str, since: float, address: str, timeout: float) -> None:
    """Have a static pod of this control plane started anew if it began at ``since`` (seconds since the epoch) or before, and wait for it.

    :param address: of this machine.
    :param timeout: seconds that it may take to come back.
    :raises FlotillaError: see `wait_for_component`.
    """
    patience = time.monotonic() + GRACE
    told: set[int] = set()
    while old := [process for process, _flags, started in processes(component) if started <= since]:
        # Watches that clients do not give up keep an API server for a minute; kubelet would not wait so long either.
        late = time.monotonic() > patience
        for process in old:
            if late or process not in told:
                told.add(process)
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.5)
    manifest = (MANIFESTS / f"{component}.yaml").read_text(encoding="utf-8")
    wait_for_component(component, arguments(manifest), since, address, timeout)


def wait_for_component(component: str, flags: set[str], since: float, address: str, timeout: float) -> None:
    """Wait until a process with these flags that started after ``since`` is healthy, and no other is there.

    :raises FlotillaError: ``COMPONENT_NOT_BACK``.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = list(processes(component))
        problem = (
            component_problem(component, address)
            if found and all(flags <= has and since < start for _id, has, start in found)
            else "not there"
        )
        if not problem:
            return
        if time.monotonic() > deadline:
            raise FlotillaError(
                "COMPONENT_NOT_BACK",
                f"{component} did not come back within {timeout:g} s: {problem}",
                "Read its log ('crictl logs' of its newest container). No other control plane was changed after this one.",
            )
        time.sleep(0.5)


def component_problem(component: str, address: str) -> str:
    """Return why a component of this control plane is not healthy, or nothing; of one that tells nothing, nothing is known."""
    if component == API_SERVER:
        return api_server_problem(address)
    try:
        if component == "etcd":
            health = Client(address, CLIENT_PORT, client_context(), timeout=5).get("/health")
            return "" if str(health.get("health")).lower() == "true" else f"it answers {health}"
        if component in HEALTH_PORTS:
            # Its certificate is one that it made for itself, and the answer is one word.
            unverified = ssl.create_default_context()
            unverified.check_hostname = False
            unverified.verify_mode = ssl.CERT_NONE
            Client("127.0.0.1", HEALTH_PORTS[component], unverified, timeout=5).request("GET", "/healthz")
    except (OSError, FlotillaError, ValueError) as error:
        return str(error)
    return ""


class ControlPlane:
    """The settings of the control plane on this machine, and of the cluster as far as it records them.

    :param documents: kubeadm's documents with this machine's own ``InitConfiguration``.
    :param address: of this machine's API server.
    :param peers: addresses of the other control planes.
    :param timeout: seconds that one component may take to come back.
    """

    def __init__(self, documents: Sequence[dict[str, Any]], address: str, peers: Sequence[str], user: str, timeout: float) -> None:
        self._address = address
        self._peers = peers
        self._user = user
        self._timeout = timeout
        self.client = Client.short_lived(address, user)
        # What a rotation of the authority has recorded stays as long as that is under way.
        record = self.client.get(f"{CONFIG_MAPS}/kubeadm-config")["data"]["ClusterConfiguration"]
        self._documents = as_recorded(documents, record)
        node = next(document for document in documents if document["kind"] == "InitConfiguration")["nodeRegistration"]["name"]
        wanted = [
            argument["value"]
            for document in documents
            for argument in document.get("apiServer", {}).get("extraArgs", [])
            if argument["name"] == "encryption-provider-config"
        ]
        pod = MANIFESTS / f"{API_SERVER}.yaml"
        manifest = pod.read_text(encoding="utf-8") if pod.exists() else ""
        present = re.findall(r"--encryption-provider-config=(\S*)", manifest)
        self._encrypted = bool(present)
        if present and not wanted:
            raise FlotillaError(
                "ENCRYPTION_CAN_NOT_END",
                "The Secrets of this cluster are encrypted, and its definition says that they are not to be (security.encryption_at_rest).",
                "Set it back to true: API servers without the key could not read any Secret.",
            )
        if present and present != wanted:
            raise FlotillaError(
                "ENCRYPTION_FOREIGN",
                f"The Secrets of this cluster are encrypted with the keys in {present[0]}, which somebody else manages.",
                "Write existing.settings: keep in its definition: API servers without these keys could not read any Secret.",
            )
        self._encryption = Conversion(self.client, node) if wanted else None
        self.kubelet_configuration = ""
        """What every kubelet of the cluster is to have; known once `differences` was asked."""

    @property
    def encryption_due(self) -> bool:
        """Whether encryption at rest is wanted and not complete yet."""
        return bool(self._encryption) and self._encryption.due()

    def differences(self) -> tuple[dict[str, tuple[str, str]], list[Change]]:
        """Return the records (by kind: before and after) and the static pods that differ from what is wanted."""
        with self._configuration() as path:
            wanted, rendered = self._render(path)
        self.kubelet_configuration = comparable("KubeletConfiguration", wanted["KubeletConfiguration"])
        records = {}
        for kind, (name, entry) in RECORDS.items():
            before = comparable(kind, self.client.get(f"{CONFIG_MAPS}/{name}")["data"][entry])
            after = comparable(kind, wanted[kind])
            if before != after:
                records[kind] = (f"{before}\n", f"{after}\n")
        etcd = MANIFESTS / "etcd.yaml"
        if etcd.exists():
            rendered["etcd"] = keep_birth(rendered["etcd"], etcd.read_text(encoding="utf-8"))
        return records, self._pods(rendered).changes()

    @staticmethod
    def _pods(rendered: dict[str, str]) -> ConfigFiles:
        return ConfigFiles(None, [ConfigFile(MANIFESTS / f"{name}.yaml", rendered[name], 0o600, tag=name) for name in COMPONENTS])

    def apply(self, records: dict[str, tuple[str, str]], changes: Sequence[Change]) -> bool:
        """Write what differs, one component after another, and wait for each.

        :return: whether nothing is left to do; encryption at rest goes on when every control plane has come as far as this one.
        :raises FlotillaError: another control plane is not ready, so this one must not go down; or a component did not come back.
        """
        self._refuse_while_another_is_down()
        if self._encryption:
            self._encryption.prepare(self._encrypted)
        self._record(records)
        for change in changes:
            since = time.time() - CLOCK_STEP
            write_atomically(change.path, (change.after or "").encode(), change.mode)
            self._wait_for(change.tag, arguments(change.after or ""), since)
        restart = Restart(API_SERVER)
        if restart.due:
            self._restart_api_server(restart)
        return not self._encryption or self._encryption.proceed(lambda: self._restart_now(restart))

    def _restart_now(self, restart: Restart) -> None:
        restart.owe()
        self._restart_api_server(restart)

    def _refuse_while_another_is_down(self) -> None:
        for peer in self._peers:
            problem = api_server_problem(peer)
            if problem:
                raise FlotillaError(
                    "CONTROL_PLANE_NOT_READY",
                    f"The settings of this control plane were left alone, because the API server at {peer} is not ready: {problem}",
                    "Mend that one and run again: control planes are changed one at a time.",
                )

    def _record(self, records: dict[str, tuple[str, str]]) -> None:
        if not records:
            return
        with short_lived_kubeconfig(self._address, self._user) as kubeconfig, self._configuration() as path:
            if set(records) & {"ClusterConfiguration", "KubeletConfiguration"}:
                _kubeadm("init", "phase", "upload-config", "all", f"--config={path}", f"--kubeconfig={kubeconfig}")
            if "KubeProxyConfiguration" in records:
                _kubeadm("init", "phase", "addon", "kube-proxy", f"--config={path}", f"--kubeconfig={kubeconfig}")
                # It reads its configuration once.
                restart_pods(self.client, "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy")

    def _restart_api_server(self, restart: Restart) -> None:
        restart_component(API_SERVER, restart.owed_since, self._address, self._timeout)
        self.client.disconnect()
        restart.pay()

    def _wait_for(self, component: str, flags: set[str], since: float) -> None:
        wait_for_component(component, flags, since, self._address, self._timeout)
        self.client.disconnect()

    @contextmanager
    def _configuration(self) -> Iterator[Path]:
        with scratch(RUN_DIR, "flotilla-render") as folder:
            path = folder / "kubeadm.json"
            path.write_text(as_json_documents(self._documents), encoding="utf-8")
            yield path

    def _render(self, configuration: Path) -> tuple[dict[str, str], dict[str, str]]:
        """Return the documents as kubeadm completes them, by kind, and the static pods, by component."""
        folder = configuration.parent / "dry-run"
        folder.mkdir()
        config = f"--config={configuration}"
        for phase in (("control-plane", "all"), ("etcd", "local"), ("kubelet-start",)):
            _kubeadm("init", "phase", *phase, config, "--dry-run", KUBEADM_INIT_DRYRUN_DIR=str(folder))
        proxy = document(_kubeadm("init", "phase", "addon", "kube-proxy", config, "--print-manifest"), "ConfigMap")
        documents = {
            "ClusterConfiguration": document(_kubeadm("config", "migrate", f"--old-config={configuration}"), "ClusterConfiguration"),
            "KubeletConfiguration": (folder / KUBELET_CONFIGURATION.name).read_text(encoding="utf-8"),
            "KubeProxyConfiguration": entry_of(proxy, RECORDS["KubeProxyConfiguration"][1]),
        }
        return documents, {component: (folder / f"{component}.yaml").read_text(encoding="utf-8") for component in COMPONENTS}


def recorded_kubelet_configuration(client: Client | None = None) -> str:
    """Return the kubelet configuration that the cluster records, read with this node's own credential if with no other."""
    kind = "KubeletConfiguration"
    name, entry = RECORDS[kind]
    return comparable(kind, (client or kubelet_client()).get(f"{CONFIG_MAPS}/{name}")["data"][entry])


def kubelet_difference(wanted: str) -> dict[str, str] | None:
    """Return how this node's kubelet configuration differs from ``wanted``, which is `comparable`, or nothing."""
    present = comparable("KubeletConfiguration", KUBELET_CONFIGURATION.read_text(encoding="utf-8"))
    if wanted == present:
        return None
    header = str(KUBELET_CONFIGURATION)
    return {"before_header": header, "after_header": header, "before": f"{present}\n", "after": f"{wanted}\n"}


def apply_kubelet(timeout: float) -> None:
    """Take over the cluster's kubelet configuration and wait until kubelet is healthy with it."""
    restart = Restart("kubelet")
    restart.owe()
    _kubeadm("upgrade", "node", "phase", "kubelet-config")
    restart_kubelet()
    restart.pay()
    wait_for_kubelet(timeout)


def restart_pods(client: Client, path: str) -> None:
    """Have all pods of a workload made anew, as ``kubectl rollout restart`` does it.

    :param path: of the workload in the API.
    """
    client.merge(path, {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp()}}}}})


def wait_for_kubelet(timeout: float) -> None:
    """Wait until the kubelet of this node, just started, is healthy.

    :raises FlotillaError: ``KUBELET_NOT_HEALTHY``.
    """
    deadline = time.monotonic() + timeout
    problem = "no answer yet"
    while problem:
        problem = kubelet_problem()
        if problem and time.monotonic() > deadline:
            raise FlotillaError(
                "KUBELET_NOT_HEALTHY",
                f"kubelet is not healthy {timeout:g} s after its restart: {problem}",
                "Read 'journalctl -u kubelet' on the machine.",
            )
        time.sleep(0.2)


def restart_kubelet() -> None:
    """Start the kubelet of this node anew; its pods run on.

    :raises FlotillaError: systemd does not start it.
    """
    run(["systemctl", "restart", "kubelet"], code="KUBELET_NOT_RESTARTED", remedy="Read 'journalctl -u kubelet' on the machine.")


def kubelet_client() -> Client:
    """Return a client with this node's own credential, which may read the kubelet configuration: for nodes that are no control plane."""
    text = KUBELET_KUBECONFIG.read_text(encoding="utf-8")
    server = re.search(r"^\s*server: https://(\S+):(\d+)$", text, re.MULTILINE)
    pair = re.search(r"^\s*client-certificate: (\S+)$", text, re.MULTILINE)
    if not server or not pair:
        raise FlotillaError(
            "KUBELET_CREDENTIAL",
            f"{KUBELET_KUBECONFIG} names no server or no client certificate.",
            "kubeadm join writes it; read 'journalctl -u kubelet' on the machine.",
        )
    context = ssl.create_default_context(cafile=CA_FILE)
    context.load_cert_chain(pair.group(1))
    return Client(server.group(1).strip("[]"), int(server.group(2)), context)


def ensure_service(name: str, check_mode: bool) -> bool:
    """Have a systemd service enabled and running, restarted if `Restart` says so; return whether something was to do.

    Nobody waits for the service: what it needs may come later in the run.
    """
    restart = Restart(name)
    # systemctl prints one state a line and fails unless all are the best one.
    states = [_systemctl_state("is-enabled", name), _systemctl_state("is-active", name)]
    if states[0] == "enabled" and states[1] in ("active", "activating", "reloading") and not restart.due:
        return False
    if not check_mode:
        remedy = f"Read 'journalctl -u {name}' on the machine."
        run(["systemctl", "daemon-reload"], code="SERVICE_FAILED", remedy=remedy)
        run(["systemctl", "enable", "--quiet", name], code="SERVICE_FAILED", remedy=remedy)
        run(["systemctl", "restart", "--no-block", name], code="SERVICE_FAILED", remedy=remedy)
        restart.pay()
    return True


def _systemctl_state(question: str, name: str) -> str:
    try:
        return run(["systemctl", question, name]).strip()
    except FlotillaError as error:
        return str(error.details.get("stdout", "")).strip()


def _kubeadm(*command: str, **environment: str) -> str:
    return run(
        ["kubeadm", *command],
        timeout=300,
        code="KUBEADM_FAILED",
        remedy="Mend what kubeadm names and run again.",
        environment=environment,
    )
