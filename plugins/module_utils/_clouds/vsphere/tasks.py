# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of a vCenter about several machines at once (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from ..._machines.cloud import CloudError
from .session import Session

_AT_ONCE = 8


def together(work: Callable[[str], Any], items: Sequence[str]) -> dict[str, Any]:
    """Do something for each of some items, several at once; return for each what came of it."""
    if not items:
        return {}
    with ThreadPoolExecutor(min(_AT_ONCE, len(items))) as executor:
        return dict(zip(items, executor.map(work, items)))


def finish(session: Session, begun: Mapping[str, Any]) -> dict[str, Any]:
    """Wait for the tasks among what was begun; return for each name the result or the error."""
    outcomes: dict[str, Any] = {name: task for name, task in begun.items() if isinstance(task, CloudError)}
    tasks = {name: task for name, task in begun.items() if name not in outcomes}
    if tasks:
        outcomes.update(session.finish(tasks))
    return outcomes


def do(session: Session, method: str, machines: Mapping[str, Any], **parameters: Any) -> dict[str, Any]:
    """Call a method of machines that begins a task, and wait for all.

    :param machines: any names -> objects.
    :returns: the same names -> result, or the `CloudError` why it failed.
    """

    def begin(name: str) -> Any:
        try:
            return session.call(machines[name], method, **parameters)
        except CloudError as error:
            return error

    return finish(session, together(begin, list(machines)))


def raise_first(outcomes: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Raise one of the errors among outcomes, what asks for patience last: then all are asked again, which those that are done do not mind.

    :param but: types of faults that say that there was nothing to do.
    """
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, CloudError)]
    failed = [error for error in failed if error.details.get("fault") not in but]
    if failed:
        raise min(failed, key=lambda error: error.retry)
