# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of AWX, Tower or an automation controller, by the modules of awx.awx (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import module_loader

from ..module_utils._errors import FlotillaError
from ._module_process import ModuleProcess

CONNECTION = ("controller_host", "controller_username", "controller_password", "controller_oauthtoken", "validate_certs", "request_timeout")
"""Options of all modules of awx.awx; where one is not given, its module reads ``CONTROLLER_*`` of the environment."""

_HIDDEN = "********"


class Controller:
    """A controller, as an action sees it; a context, which ends with the last call.

    :param connection: options of `CONNECTION`.
    """

    def __init__(self, action: ActionBase, task_vars: dict[str, Any], connection: Mapping[str, Any]) -> None:
        self._action = action
        self._task_vars = task_vars
        self._connection = {name: connection[name] for name in CONNECTION if connection.get(name) is not None}
        self._process: ModuleProcess | None = None

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process:
            self._process.close()
            self._process = None

    def call(self, module: str, options: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> dict[str, Any]:
        """Run one module and return what it returned.

        :param module: its name in awx.awx.
        :param secrets: texts that no error repeats.
        :raises FlotillaError: ``AWX_COLLECTION_MISSING``, or ``AWX_REFUSED`` with what the module said.
        """
        try:
            result = self._run(module, {**options, **self._connection})
        except AnsibleError as error:
            if "was not found" not in str(error):
                raise
            raise FlotillaError(
                "AWX_COLLECTION_MISSING",
                "The collection awx.awx is not installed.",
                "ansible-galaxy collection install 'awx.awx:>=24.6.1', or take the execution environment of docs/awx.md.",
                error,
            ) from error
        if result.get("failed"):
            raise FlotillaError("AWX_REFUSED", f"{module} {_title(options)}: {hidden(_said(result), secrets)}")
        return result

    def _run(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        name = f"awx.awx.{module}"
        action = self._action
        # As somebody else or elsewhere, a module is Ansible's to run.
        if action._connection.transport == "local" and not action._play_context.become:
            found = module_loader.find_plugin_with_context(name)
            if found.resolved:
                self._process = self._process or ModuleProcess(Path(found.plugin_resolved_path).parent, "module_utils.controller_api")
                environment: dict[str, Any] = {}
                action._compute_environment_string(environment)
                arguments = {**arguments, "_ansible_check_mode": action._task.check_mode, "_ansible_module_name": name}
                return self._process.run(module, arguments, {key: str(value) for key, value in environment.items()})
        return action._execute_module(module_name=name, module_args=arguments, task_vars=self._task_vars)


def hidden(text: str, secrets: tuple[str, ...]) -> str:
    """Return a text without the secrets in it."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def _title(options: Mapping[str, Any]) -> str:
    return str(next((options[key] for key in ("name", "identifier", "job_id", "team") if options.get(key)), "")).strip()


def _said(result: Mapping[str, Any]) -> str:
    """Return what a module said of its failure; awx.awx leaves the reason in other fields than the message."""
    more = [str(result[key]) for key in ("errors", "response", "module_stderr") if result.get(key)]
    return " ".join([str(result.get("msg", "it failed")), *more])[:2000]
