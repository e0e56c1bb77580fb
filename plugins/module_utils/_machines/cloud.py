# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine asks of a cloud's folder, and how a cloud says what went wrong (private to flotilla.kubernetes).

A cloud translates; the engine decides, waits and repeats. So a cloud's folder makes each call once (an SDK's own repetition is turned
off, else nobody knows how often a call was made), never sleeps, and turns every SDK error into one of the classes below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .._errors import FlotillaError
from .model import Changes, Machine, MachineGroup, Order


class CloudError(FlotillaError):
    """What a cloud answered instead of doing what it was asked.

    The class says what the engine does about it; code, message and remedy say to the operator what happened.

    :param retry_after: seconds after which the cloud asks to be called again, where it says so.
    """

    retry = False

    def __init__(self, *arguments: Any, retry_after: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.retry_after = retry_after


class Throttled(CloudError):
    """Too many calls: repeated, with growing pauses."""

    retry = True


class Transient(CloudError):
    """The call may have been done or not: 5xx, a broken connection, a dependency that is not there yet. Repeated as it was."""

    retry = True


class NoCapacity(CloudError):
    """The zone has no such machine to give now; another zone may have. Workers move on to the pool's other zones."""


class QuotaExceeded(CloudError):
    """The account may not have more: no other create is begun in this run."""


class Unauthorised(CloudError):
    """Credentials are missing, expired or not allowed to do this: nothing else is begun in this run."""


class NotFound(CloudError):
    """There is no such thing (yet). Right after a creation it is asked for again, and what is to be deleted is then deleted."""


class Refused(CloudError):
    """The request is wrong, and the same request will be wrong again."""


@dataclass(frozen=True)
class Limits:
    """What one cloud takes.

    :param per_create: machines that one `Cloud.create` makes at most; 1 where there is no bulk call.
    :param per_call: machines that one `start`, `delete` or `describe` takes at most.
    :param concurrency: calls at once.
    :param consistency: seconds after which a read surely shows what was accepted before it; 0 where each read shows that. Anything else
        makes the creates of one pool and zone go one after the other, so ``per_create`` should be large there.
    """

    per_create: int = 1
    per_call: int = 1
    concurrency: int = 1
    consistency: float = 0.0


class Cloud(Protocol):
    """One cluster in one cloud. Methods but `observe` are called from several threads at once.

    Each may raise any `CloudError`; anything else that it raises is a defect and ends the run.
    """

    @property
    def limits(self) -> Limits:
        """What the cloud takes."""

    def observe(self) -> list[Machine]:
        """Return the cluster's machines in one paginated read: leaving and gone ones too while listed, foreign ones never.

        Machines that carry the cluster's name but another uid or foundation raise `Refused`.
        """

    def request_hash(self, group: MachineGroup, zone: str) -> str:
        """Return a hash of all that `create` sends for this group and zone apart from count and token. No calls: what has to be read
        for a request (an image's id, a subnet's) was read before.

        A cloud refuses a token that comes back with other parameters, so whatever can differ between two runs is in here.
        """

    def create(self, order: Order) -> list[Machine]:
        """Make ``order.count`` machines in ONE call, with all tags of ownership at creation, and return those that it answers with.

        May return fewer than asked for. A token used before gives the machines that it gave then, in their present state, gone ones
        among them. Where the cloud knows no token but unique names, names follow from the token (`plan.suffixes`), and a name that is
        taken by a machine of this cluster is that machine.
        """

    def start(self, machines: Sequence[Machine]) -> None:
        """Start stopped machines; returns when it is accepted. One that runs is no error."""

    def update(self, machine: Machine, changes: Changes) -> None:
        """Set tags and attributes of a living machine in place."""

    def delete(self, machines: Sequence[Machine]) -> None:
        """Remove machines with what was made with them; returns when it is accepted. One that is gone is no error."""

    def describe(self, ids: Sequence[str]) -> list[Machine]:
        """Return the machines with these ids, in one read; one that the cloud does not know (yet, or any more) is left out."""
