# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs as AWX runs them: by ansible-runner, in the layout that a real one was seen to make.

``project/``, ``inventory/hosts`` (a program that prints JSON), ``env/extravars`` (every value ``!unsafe``), ``env/envvars``,
``artifacts/<id>/``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class _Unsafe(yaml.SafeDumper):
    def represent_data(self, data: Any) -> yaml.Node:
        return self.represent_scalar("!unsafe", data) if isinstance(data, str) else super().represent_data(data)


def _unsafe(value: Any) -> str:
    return yaml.dump(value, Dumper=_Unsafe, default_flow_style=True, width=10**9).removesuffix("...\n").strip()


def inventory(folder: Path, source: Path, environment: Mapping[str, str], python: str = sys.executable) -> dict[str, Any]:
    """Return what an inventory sync of AWX reads of a source.

    :param folder: the project.
    :param python: of an environment with Ansible.
    """
    program = str(Path(python).with_name("ansible-inventory"))
    done = subprocess.run(
        [program, "-i", str(source), "--list", "--export"],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout)


class Run:
    """A job that runs a playbook of a project.

    :param python: of an environment with Ansible and ansible-runner.
    """

    def __init__(
        self,
        folder: Path,
        project: Path,
        hosts: Mapping[str, Any],
        playbook: str,
        extra_vars: Mapping[str, Any],
        environment: Mapping[str, str],
        *options: str,
        python: str = sys.executable,
    ) -> None:
        self.folder = folder
        for name in ("env", "inventory"):
            (folder / name).mkdir(mode=0o700, parents=True)
        (folder / "project").symlink_to(project)
        script = folder / "inventory/hosts"
        script.write_text(f"#!{python}\nprint({json.dumps(json.dumps(hosts))})\n", encoding="utf-8")
        script.chmod(0o700)
        lines = "".join(f"{json.dumps(key)}: {_unsafe(value)}\n" for key, value in extra_vars.items())
        (folder / "env/extravars").write_text(f"---\n{lines}", encoding="utf-8")
        (folder / "env/extravars").chmod(0o600)
        (folder / "env/settings").write_text("{}", encoding="utf-8")
        self._output = (folder / "output").open("w")
        program = str(Path(python).with_name("ansible-runner"))
        command = [program, "run", str(folder), "-p", playbook, "--ident", "1", "--inventory", str(script)]
        if options:
            # One word, as it begins like an option itself.
            command.append(f"--cmdline={' '.join(options)}")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # It starts the ansible-playbook of the path.
            env={**environment, "PATH": f"{Path(python).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"},
            cwd=folder,
        )

    def ended(self) -> tuple[str, dict[str, Any]] | None:
        """Return status and artifacts, once it ended."""
        status = self._process.poll()
        if status is None:
            return None
        self._output.close()
        return ("successful" if status == 0 else "failed"), self.artifacts()

    def wait(self) -> tuple[str, dict[str, Any]]:
        self._process.wait(600)
        ended = self.ended()
        assert ended is not None
        return ended

    @property
    def log(self) -> str:
        return (self.folder / "output").read_text(encoding="utf-8", errors="replace")

    def artifacts(self) -> dict[str, Any]:
        """Return what the playbook left with set_stats."""
        for path in sorted((self.folder / "artifacts/1/job_events").glob("*.json"), reverse=True):
            event = json.loads(path.read_text(encoding="utf-8"))
            if event.get("event") == "playbook_on_stats":
                return dict(event["event_data"].get("artifact_data") or {})
        return {}
