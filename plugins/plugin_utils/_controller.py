# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of AWX, Tower or an automation controller, by the modules of awx.awx (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils._errors import FlotillaError

CONNECTION = ("controller_host", "controller_username", "controller_password", "controller_oauthtoken", "validate_certs", "request_timeout")
"""Options of all modules of awx.awx; where one is not given, its module reads ``CONTROLLER_*`` of the environment."""

_HIDDEN = "********"


class Controller:
    """A controller, as an action sees it.

    :param connection: options of `CONNECTION`.
    """

    def __init__(self, action: ActionBase, task_vars: dict[str, Any], connection: Mapping[str, Any]) -> None:
        self._action = action
        self._task_vars = task_vars
        self._connection = {name: connection[name] for name in CONNECTION if connection.get(name) is not None}

    def call(self, module: str, options: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> dict[str, Any]:
        """Run one module and return what it returned.

        :param module: its name in awx.awx.
        :param secrets: texts that no error repeats.
        :raises FlotillaError: ``AWX_COLLECTION_MISSING``, or ``AWX_REFUSED`` with what the module said.
        """
        try:
            result = self._action._execute_module(
                module_name=f"awx.awx.{module}", module_args={**options, **self._connection}, task_vars=self._task_vars
            )
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
