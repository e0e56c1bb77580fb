# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a run of a playbook exactly at an event, and keep the tale of a chain of such kills.

Every Python that a run starts, on the controller and on the nodes, loads `kill/site/sitecustomize.py` and announces over a socket what
it is about to do and what it has done, waiting for leave each time. `Gate` gives it, or kills the run while the announcer waits: so a
kill is before or after an effect, never somewhere near it. What works without Python (kubeadm) is killed at the lines of its log.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import outside

HERE = Path(__file__).resolve().parent / "kill"
NODE_SITE = "usr/lib/python3/dist-packages"
NODE_SOCKET = "run/kill-gate.sock"
BEFORE, DURING, AFTER = "before", "during", "after"
UNDER_WAY = "under way"
LIMIT = 1800
"""Seconds that one run may take, generous: it only ends what hangs."""

# Commands that change nothing: a kill there is a kill at the start or end of their module.
READING = re.compile(
    r"""^\S*?(
        podman\ (--\S+\ )*(ps|info|version|image\ exists|network\ (ls|inspect|exists)|volume\ (ls|inspect)|logs|inspect)\b
        | podman\ exec\ \S+\ (cat|journalctl)\b | podman\ exec\ \S+\ sh\ -c\ (cat|echo)\b
        | nft\ (--json\ )?list | ip\ | df\ | apt-get\ indextargets | dpkg-query | uname | getent | which
        | kubelet\ --version | kubeadm\ (version|config|certs\ check|kubeconfig\ user) | kubectl\ (diff|get|version)
        | ctr\ (--\S+\ )*(images?\ (list|ls|check)|version) | containerd\ --version | crictl\ (images|ps|info)
        | systemctl\ (show|is-\S+|cat|list-\S+|status) | openssl\ x509 | (/usr/bin/)?sysctl\ (--all|-n) | ssh-keygen\ -(y|l)
        | etcdctl\ .*member\ list | file\ --mime | lsattr | pkg-config | (go|gcc)\ (version|env|--version) | git\ rev-parse
    )""",
    re.VERBOSE,
)
READING_REQUESTS = re.compile(r"/(list|range|status|selfsubject\w+)$|reviews$")
PHASE = re.compile(r"^\[([a-z-]+)(?:/[a-z-]+)?\]", re.MULTILINE)


@dataclass(frozen=True)
class Event:
    """One moment of a run.

    :param kind: module, transfer, command, rename, request or kubeadm.
    :param place: controller, or the role of the node.
    :param step: what is done, the same in every run of every cluster.
    :param phase: `BEFORE`, `DURING` or `AFTER` its effect.
    """

    kind: str
    place: str
    step: str
    phase: str

    @property
    def key(self) -> str:
        return " | ".join((self.kind, self.place, self.step, self.phase))


def read_event(text: bytes, cluster: str, place: str) -> Event | None:
    """Return the event of an announcement, without what differs from run to run, or None for one that only reads."""
    said = json.loads(text)
    kind, detail = str(said["kind"]), str(said["detail"])
    if kind == "command" and READING.match(detail):
        return None
    if kind == "request" and READING_REQUESTS.search(detail.partition("?")[0]):
        return None
    if kind == "module" or kind == "transfer":
        place = _role(str(said.get("host", "")), cluster)
    step = f"{said['module']}: {detail}" if kind in ("command", "rename", "request") else f"{said['task']}: {detail}"
    return Event(kind, place, shorten(step, cluster), str(said["phase"]))


def shorten(text: str, cluster: str) -> str:
    """Return ``text`` without random parts, long option lists and names of single files of a bundle."""
    text = re.sub(rf"\b{cluster}-([a-z0-9-]+)-[0-9a-f]{{8}}\b", lambda m: "CP" if m[1] == "control-plane" else "WORKER", text)
    text = text.replace(cluster, "CLUSTER")
    text = re.sub(r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS", text)
    text = re.sub(r"/proc/\d+/fd/\d+", "DESCRIPTOR", text)
    text = re.sub(r"(bootstrap-token-)[a-z0-9]+", r"\1TOKEN", text)
    text = re.sub(r"/(tmp|run|root|home)/\S*(ansible-tmp|flotilla-\w|/tmp)[^/\s]*", "TMP", text)
    text = re.sub(r"\bflotilla-[0-9a-f]{16}\b", "flotilla-ID", text)
    text = re.sub(r"ansible-local-\w+/(ansiballz_cache/)?\S*", r"ansible-local/\1*", text)
    text = re.sub(r"(/usr/local/bin|/opt/cni/bin)/\S+", r"\1/*", text)
    text = re.sub(r"(volume (?:create|rm)).*", r"\1", text)
    text = re.sub(r"(images import).*", r"\1", text)
    text = re.sub(r" --?[\w-]+=\S+", "", text)
    if ": podman" in text or ": /usr/bin/podman" in text:
        words = text.split()
        verb = next((word for word in words if word in ("create", "start", "cp", "rm", "exec", "network", "import", "unpause")), "")
        name = re.search(r"--name (\S+)", text)
        text = f"{words[0]} podman {verb} {name[1] if name else ' '.join(words[words.index(verb) + 1 :]) if verb else ''}"
    return text[:110].strip()


def _role(host: str, cluster: str) -> str:
    if not host.startswith(f"{cluster}-"):
        return "controller"
    return "control plane" if host.startswith(f"{cluster}-control-plane-") else "worker"


@dataclass
class Stage:
    """One run that may be killed."""

    process: subprocess.Popen[bytes]
    id: str
    choose: Callable[[Event], str]
    started: float = field(default_factory=time.monotonic)
    killed: Event | None = None
    how: str = ""
    events: list[Event] = field(default_factory=list)


class Gate:
    """Listens to everything that a cluster's runs announce.

    :param folder: gets what the runs print and, in ``tmp``, their temporary files.
    :param log: gets a line for every event.
    """

    def __init__(self, cluster: str, folder: Path, log: Path) -> None:
        self.cluster = cluster
        self._log = log.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._attaching = threading.Lock()
        self._stage: Stage | None = None
        self._nodes: dict[int, str] = {}
        self._over = threading.Event()
        self._phases_seen: dict[str, int] = {}
        self.last_run = ""
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        # The path of a socket may have 107 bytes.
        self.path = Path(tempfile.mkdtemp(prefix="kill-gate-")) / "socket"
        self._listen(str(self.path), "controller")
        threading.Thread(target=self._watch_nodes, daemon=True).start()

    def close(self) -> None:
        """End what killed runs left on this host: workers that wait for good for somebody who takes their result."""
        self._over.set()
        ours = f"FLOTILLA_TEST_KILL_GATE={self.path}".encode()
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if ours in environment.read_bytes().split(b"\0"):
                    os.kill(int(environment.parent.name), signal.SIGKILL)
        shutil.rmtree(self.path.parent)

    @contextlib.contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Ask ``stage.choose`` about each event until the block ends."""
        self.attach()
        with self._lock:
            self._stage = stage
        try:
            yield
        finally:
            with self._lock:
                self._stage = None

    def attach(self) -> None:
        """Bring the announcer to every node that runs and listen there."""
        with self._attaching:
            for name, pid in _running(self.cluster).items():
                if self._nodes.get(pid) == name:
                    continue
                root = Path(f"/proc/{pid}/root")
                try:
                    shutil.copyfile(HERE / "site/sitecustomize.py", root / NODE_SITE / "kill_gate.py")
                    (root / NODE_SITE / "kill_gate.pth").write_text("import kill_gate\n", encoding="utf-8")
                    self._listen(str(root / NODE_SOCKET), _role(name, self.cluster))
                except OSError as error:
                    # A node that is gone again.
                    self._note(f"{name}: {error}")
                    continue
                self._nodes[pid] = name

    def _listen(self, path: str, place: str) -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        Path(path).unlink(missing_ok=True)
        server.bind(path)
        Path(path).chmod(0o666)
        server.listen(128)

        def serve() -> None:
            while not self._over.is_set():
                connection, _address = server.accept()
                threading.Thread(target=self._answer, args=(connection, place), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()

    def _answer(self, connection: socket.socket, place: str) -> None:
        with connection:
            text = connection.makefile("rb").readline()
            if not text:
                return
            run = json.loads(text)["run"]
            event = read_event(text, self.cluster, place)
            pid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            if event and event.phase == AFTER and re.search(r"podman (start|unpause)", event.step):
                self.attach()
            if event:
                self._meet(event, run, pid if place != "controller" else 0)
            with contextlib.suppress(OSError):
                connection.sendall(b"\n")

    def _meet(self, event: Event, run: str, remote: int) -> None:
        """Note an event and kill the run if it is one to be killed at.

        :param remote: the process on a node that announced it, or 0.
        """
        with self._lock:
            stage = self._stage
            if stage is None or stage.killed or (run and run != stage.id) or stage.process.poll() is not None:
                return
            if remote and event.kind != "kubeadm" and _began(remote) < _began(stage.process.pid):
                return  # It is what a killed run left at work.
            stage.events.append(event)
            how = stage.choose(event)
            self._note(f"{stage.id} {time.monotonic() - stage.started:7.2f} {event.key}" + (f"  KILLED ({how})" if how else ""))
            if how:
                kill_run(stage.process.pid, everything=how != "group")
                if how == "machine" and remote:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(remote, signal.SIGKILL)
                stage.killed, stage.how = event, how

    def _watch_nodes(self) -> None:
        """Turn what kubeadm writes into its log into events."""
        while not self._over.wait(0.05):
            for pid, name in list(self._nodes.items()):
                for log in Path(f"/proc/{pid}/root/var/log/flotilla").glob("kubeadm-*.log"):
                    try:
                        text = log.read_text(encoding="utf-8", errors="replace")
                    except OSError:
                        continue
                    key = f"{pid}{log.name}"
                    if len(text) < self._phases_seen.get(key, 0):
                        self._phases_seen[key] = 0
                    fresh, self._phases_seen[key] = text[self._phases_seen.get(key, 0) :], len(text)
                    for phase in dict.fromkeys(PHASE.findall(fresh)):
                        place = _role(name, self.cluster)
                        self._meet(Event("kubeadm", place, f"{log.stem} {phase}", DURING), "", _kubeadm_of(pid))

    def _note(self, line: str) -> None:
        self._log.write(line + "\n")
        self._log.flush()


def kill_run(main: int, everything: bool) -> None:
    """Kill a run without a goodbye.

    :param everything: its workers, too. Since ansible-core 2.19 each has a session of its own, so a kill of the run's process group
        leaves them to end the task at hand, while the next run begins. What has left their sessions (connections that are kept open,
        containers, a bundle that is being made) lives on either way, as whatever runs on nodes does.
    """
    # Stopped, it starts no further worker while they are counted.
    os.kill(main, signal.SIGSTOP)
    workers = {session for parent, _group, session in _processes().values() if parent == main} - {main}
    os.killpg(main, signal.SIGKILL)
    while everything:
        doomed = [pid for pid, (_parent, _group, session) in _processes().items() if session in workers]
        if not doomed:
            return
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _processes() -> dict[int, tuple[int, int, int]]:
    """Return parent, group and session of every process that is not dead."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            found[int(path.parent.name)] = (int(fields[1]), int(fields[2]), int(fields[3]))
    return found


def _began(pid: int) -> int:
    """Return when a process began, in the kernel's ticks since boot."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def _running(cluster: str) -> dict[str, int]:
    """Return the first process of each node that runs."""
    listed = json.loads(outside.host("podman", "ps", "--format", "json", "--filter", f"label=flotilla-cluster={cluster}") or "[]")
    return {entry["Names"][0]: int(entry["Pid"]) for entry in listed if entry["Names"][0].startswith(f"{cluster}-")}


def _kubeadm_of(node: int) -> int:
    """Return the kubeadm that works on the node with this first process, or 0."""
    try:
        wanted = Path(f"/proc/{node}/ns/pid").readlink()
    except OSError:
        return 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes().split(b"\0")
            if argv[0].endswith(b"kubeadm") and argv[1] in (b"init", b"join") and (path.parent / "ns/pid").readlink() == wanted:
                return int(path.parent.name)
        except (OSError, IndexError):
            continue
    return 0


def play(
    gate: Gate, inventory: Path, choose: Callable[[Event], str], name: str, playbook: str = "flotilla.kubernetes.cluster_apply"
) -> tuple[Stage, outside.Run]:
    """Run a playbook until it ends or ``choose`` names a way to kill it, and return what happened.

    :param choose: gets each event; the answer is ``group`` (kill the run's process group), ``all`` (its workers, too), ``machine`` (and
        the process on the node that announced it), or nothing to let it go on.
    :param name: of this run, unique in a chain.
    """
    path = os.pathsep.join(filter(None, (str(HERE / "site"), os.environ.get("PYTHONPATH"))))
    environment = {
        **outside.playbook_environment(),
        "PYTHONPATH": path,
        "TMPDIR": str(gate.temporary),
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
        "FLOTILLA_TEST_KILL_GATE": str(gate.path),
        "FLOTILLA_TEST_KILL_RUN": name,
    }
    output = gate.folder / f"{name}.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            # Dead for sure, so the next run does not wait for signs of it.
            [
                *(str(outside.BIN / "ansible-playbook"), "-i", str(inventory), playbook),
                *("-e", f"flotilla_run={name}", "-e", f"flotilla_takeover={gate.last_run}"),
            ],
            cwd=outside.ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        gate.last_run = name
        stage = Stage(process, name, choose)
        with gate.stage(stage):
            try:
                status = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                kill_run(process.pid, everything=True)
                status = process.wait()
    return stage, outside.Run(status, output.read_text(encoding="utf-8", errors="replace"), time.monotonic() - stage.started)


class Tale:
    """A chain of kills of one create, kept in a file, so that it can be told piece by piece."""

    def __init__(self, path: Path, case: str, seed: str) -> None:
        self.path = path
        try:
            self.content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.content = {}
        if (self.content.get("case"), self.content.get("seed"), self.content.get("result")) != (case, seed, UNDER_WAY):
            self.content = {"case": case, "seed": seed, "result": UNDER_WAY, "kills": []}

    @property
    def fresh(self) -> bool:
        """Whether nothing was killed yet."""
        return not self.content["kills"]

    @property
    def kills(self) -> list[dict[str, Any]]:
        return list(self.content["kills"])

    def choose(self, event: Event) -> str:
        """Return how to kill at ``event``, or nothing when that was done before."""
        if event.key in {kill["key"] for kill in self.kills}:
            return ""
        how = way(str(self.content["seed"]), event)
        # A worker that lives on does the rest of its task, and of what is done nothing can be killed any more.
        works = event.kind == "command" or (event.kind, event.phase) == ("module", BEFORE)
        goes_on = event.kind == "transfer" or (event.place == "controller" and works)
        return "all" if goes_on else how

    def add(self, stage: Stage, commit: str) -> None:
        """Remember the kill that ended ``stage``."""
        event = stage.killed
        assert event is not None
        self.content["kills"].append(
            {
                "number": len(self.content["kills"]) + 1,
                "commit": commit,
                "key": event.key,
                "kind": event.kind,
                "place": event.place,
                "step": event.step,
                "phase": event.phase,
                "how": stage.how,
                "seconds": round(time.monotonic() - stage.started, 1),
            }
        )
        self.save()

    def finish(self, result: str) -> None:
        self.content["result"] = result
        self.save()

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.path)


def way(seed: str, event: Event) -> str:
    """Return how to kill at ``event``: the same for the same seed, so that a chain can be repeated."""
    ways = ["all", "group"]
    if event.place != "controller" and event.kind in ("command", "rename", "request", "kubeadm"):
        ways.append("machine")
    return ways[hashlib.sha256(f"{seed} {event.key}".encode()).digest()[0] % len(ways)]


def table(kills: list[dict[str, Any]]) -> str:
    """Return how often each kind of step was hit in which phase."""
    kinds = sorted({(kill["kind"], kill["place"]) for kill in kills})
    lines = [f"{'kind of step':<12}{'where':<15}{'steps':>6}{'before':>8}{'during':>8}{'after':>8}"]
    for kind, place in kinds:
        mine = [kill for kill in kills if (kill["kind"], kill["place"]) == (kind, place)]
        counts = [sum(kill["phase"] == phase for kill in mine) for phase in (BEFORE, DURING, AFTER)]
        lines.append(f"{kind:<12}{place:<15}{len({kill['step'] for kill in mine}):>6}" + "".join(f"{count:>8}" for count in counts))
    ways = [f"{sum(kill['how'] == how for kill in kills)} {how}" for how in ("all", "group", "machine")]
    return "\n".join([*lines, f"{len(kills)} kills: {', '.join(ways)}"])
