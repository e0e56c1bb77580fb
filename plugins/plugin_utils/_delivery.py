# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions that bring files of a bundle to a machine that does not have them (private to flotilla.kubernetes).

The module is asked what is missing, only that is brought, and the module puts it in place. Three ways: the controller copies (push), one
machine of a zone gets each file and hands it on (seed), or the machine fetches from a web server (pull).
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._installed import STAGED_PREFIX
from ._board import Board

# Seconds between two looks at what the other machines' tasks have done, and between two lines for people.
LOOK, TELL = 0.3, 15
_INTERNAL = ("sources", "received", "finished", "left", "refused", "staged", "server", "invocation")


class DeliveryAction(ActionBase):
    """Base of the action `node_files`."""

    TRANSFERS_FILES = True
    module = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        internal = ("stage", "staged", "origins", "token", "remote_tmp")
        self._arguments = {key: value for key, value in self._task.args.items() if key not in internal}
        self._vars = task_vars or {}
        self._pushed = self._fetched = 0
        delivery = self._arguments.get("delivery") or {}
        method = delivery.get("method") or "push"
        seed = _Seed(self, delivery) if method == "seed" and not self._task.check_mode else None
        try:
            answer = self._ask("inspect", remote_tmp=self.get_shell_option("remote_tmp", default="~/.ansible/tmp"))
            sources = answer.get("sources", {})
            if sources and not answer.get("failed") and not self._task.check_mode:
                if method == "pull":
                    answer = self._fetch([self._mirror(delivery)], {})
                else:
                    answer = seed.bring(sources) if seed else self._push(sources)
                self._remove_tmp_path(self._connection._shell.tmpdir)
        finally:
            if seed:
                seed.leave()
        result.update({name: value for name, value in answer.items() if name not in _INTERNAL})
        if not answer.get("failed"):
            result.update(pushed_bytes=self._pushed, fetched_bytes=self._fetched)
        return result

    def _ask(self, stage: str, **more: Any) -> dict[str, Any]:
        return self._execute_module(module_name=self.module, module_args={**self._arguments, "stage": stage, **more}, task_vars=self._vars)

    def _push(self, sources: dict[str, dict[str, str]]) -> dict[str, Any]:
        return self._ask("finish", staged=self._copy(sources))

    def _fetch(self, origins: list[dict[str, Any]], staged: dict[str, str]) -> dict[str, Any]:
        """Let the machine fetch until it has everything, or until there is something that it does not get."""
        while True:
            answer = self._ask("fetch", origins=origins, staged=staged)
            self._fetched += answer.get("received", 0)
            if answer.get("finished", True) or answer.get("failed") or answer.get("refused"):
                return answer
            staged = answer["staged"]
            self._say(f"has fetched {self._fetched >> 20} MiB, {len(answer['left'])} files to go")

    def _mirror(self, delivery: dict[str, Any]) -> dict[str, Any]:
        """Return the web server of the delivery `pull`."""
        if not delivery.get("url"):
            raise AnsibleActionFail(
                "The delivery pull needs a URL: set bundle.delivery.url to the folder that holds the bundle's manifest.json."
            )
        ca_file = delivery.get("ca_file")
        try:
            authorities = Path(ca_file).read_text(encoding="utf-8") if ca_file else ""
        except OSError as error:
            raise AnsibleActionFail(f"The file {ca_file} (bundle.delivery.ca_file) can not be read: {error.strerror}.") from error
        login = {key: delivery[key] for key in ("username", "password") if delivery.get(key)}
        return {"url": delivery["url"], "ca_certificates": authorities, **login}

    def _copy(self, sources: dict[str, dict[str, str]]) -> dict[str, str]:
        """Copy each file and return where it lies on the machine, by key of ``sources``."""
        directory = Path(self._arguments["bundle"])
        absent = [source["path"] for source in sources.values() if not (directory / source["path"]).is_file()]
        if absent:
            raise AnsibleActionFail(
                f"The bundle {directory} lacks {', '.join(sorted(absent))}. Build it again with the playbook bundle_build."
            )
        folder = self._connection._shell.tmpdir or self._make_tmp_path()
        staged = {}
        for key, source in sorted(sources.items()):
            # The digest: several calls copy to the same folder.
            remote = self._connection._shell.join_path(folder, f"{STAGED_PREFIX}{source['sha256'][:16]}-{Path(source['path']).name}")
            self._transfer_file(str(directory / source["path"]), remote)
            self._pushed += (directory / source["path"]).stat().st_size
            staged[key] = remote
        return staged

    def _say(self, text: str) -> None:
        Display().display(f"{self._vars.get('inventory_hostname', '')} {text}")


class _Seed:
    """One machine's part in the delivery `seed`.

    The tasks of the machines of a zone run at the same time, in processes of one Ansible run, and agree by a board: the first that misses a
    file claims it, gets it from the controller and serves it; the others wait for that and fetch. A file whose claimant failed is claimed
    anew. Nobody waits before it has served what it claimed, so no two wait for each other.
    """

    def __init__(self, action: DeliveryAction, delivery: dict[str, Any]) -> None:
        self._action = action
        self._host = action._vars["inventory_hostname"]
        self._address = delivery.get("address") or ""
        batch = set(action._vars.get("ansible_play_batch") or [self._host])
        zones = [name for name in action._vars.get("group_names", []) if name.startswith("zone_")]
        self._peers = batch & set(action._vars.get("groups", {}).get(zones[0], [])) if zones else batch
        cluster = (action._vars.get("flotilla_cluster") or {}).get("name", "")
        self._board = Board(Path(constants.DEFAULT_LOCAL_TMP), f"{action._task._uuid}-{cluster}-{zones[0] if zones else ''}")

    def bring(self, sources: dict[str, dict[str, str]]) -> dict[str, Any]:
        """Bring the files by whatever way each is to be had, and return the module's last answer."""
        staged: dict[str, str] = {}
        while True:
            left = {key: source for key, source in sources.items() if key not in staged}
            mine = self._board.claim({source["sha256"] for source in left.values()}, self._host)
            claimed = {key: source for key, source in left.items() if source["sha256"] in mine}
            if claimed:
                staged.update(self._serve(claimed))
            others = {key: source for key, source in left.items() if key not in claimed}
            servers = self._wait({source["sha256"] for source in others.values()})
            if any(source["sha256"] not in servers for source in others.values()):
                # Whoever claimed it failed: it is claimed anew.
                continue
            origins: dict[str, dict[str, Any]] = {}
            for key, source in others.items():
                server = servers[source["sha256"]]
                origins.setdefault(server["url"], {**server, "keys": []})["keys"].append(key)
            answer = self._action._fetch(list(origins.values()), staged)
            refused = answer.get("refused")
            if not refused or answer.get("failed"):
                return answer
            staged = answer["staged"]
            self._action._say(f"does not get {len(refused)} files from another machine: {next(iter(refused.values()))}")
            self._board.forget({sources[key]["sha256"] for key in refused}, origins.values())

    def leave(self) -> None:
        """Say that this machine is done; the last one of the zone ends the servers."""
        servers = self._board.leave(self._host, self._peers)
        if servers:
            try:
                self._action._ask("release", origins=servers)
            except AnsibleError as error:
                # They end by themselves.
                self._action._say(f"could not end the servers of its zone: {error}")

    def _serve(self, claimed: dict[str, dict[str, str]]) -> dict[str, str]:
        digests = {source["sha256"] for source in claimed.values()}
        try:
            staged = self._action._copy(claimed)
            server = None
            if self._address and len(self._peers) > 1:
                token = secrets.token_urlsafe(32)
                answer = self._action._ask("serve", staged=staged, token=token)
                if "server" in answer:
                    server = _origin(answer["server"], token)
                else:
                    self._action._say(f"hands nothing on to the others: {answer.get('msg', 'it does not answer')}")
        except BaseException:
            self._board.forget(digests)
            raise
        if server:
            self._board.publish(digests, server)
        else:
            self._board.forget(digests)
        return staged

    def _wait(self, digests: set[str]) -> dict[str, dict[str, Any]]:
        """Wait until nobody is about to get one of the files, and return who serves which."""
        told = time.monotonic()
        while True:
            pending, servers = self._board.look(digests)
            if not pending:
                return servers
            if time.monotonic() - told > TELL:
                told = time.monotonic()
                self._action._say(f"waits for {len(pending)} files that {', '.join(sorted(set(pending.values())))} gets")
            time.sleep(LOOK)


def _origin(server: dict[str, str], token: str) -> dict[str, Any]:
    return {
        "url": server["url"],
        "ca_certificates": server["certificate"],
        "only_ca": True,
        "token": token,
        "by": "sha256",
        "may_fail": True,
    }
