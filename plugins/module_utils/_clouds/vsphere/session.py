# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of a vCenter's API (private to flotilla.kubernetes).

pyVmomi repeats nothing, forgets a session that has ended, and waits for one task at a time. Here a session that ends begins anew without
anybody noticing, everything is read by one PropertyCollector, and all tasks of a step are waited for together.
https://developer.broadcom.com/xapis/vsphere-web-services-api/latest/
"""

from __future__ import annotations

import http.client
import http.cookies
import os
import random
import ssl
import threading
import time
import xml.parsers.expat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible.module_utils.parsing.convert_bool import boolean

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound, Throttled, Transient
from ..._machines.retry import Clock
from ..patience import Patient
from . import errors
from .errors import SessionLost
from .rest import Rest

# Those of AWX's credential type and of community.vmware.
HOST, USER, PASSWORD, PORT, VALIDATE = "VMWARE_HOST", "VMWARE_USER", "VMWARE_PASSWORD", "VMWARE_PORT", "VMWARE_VALIDATE_CERTS"
_VERSION = "vim.version.v7_0"
_STORAGE_VERSION = "pbm.version.v7_0"
"""The oldest that are spoken; newer vCenters speak them, too."""
_TIMEOUT = 120.0
_FIRST_ANSWER = 8.0
"""Seconds for which a session that never got an answer tries again: after that it is no passing fault but a wrong address."""
_PAGE = 1000
_POOL = 16
TASK_TIMEOUT = 3600.0
_FIRST_POLL, _LONGEST_POLL = 0.4, 5.0
_TASK = ("info.state", "info.error", "info.result", "info.descriptionId")

_open: list[Session] = []


@dataclass(frozen=True)
class Entry:
    """What was read of one object.

    :param ref: the object.
    :param values: path -> value; what is not set is not there.
    """

    ref: Any
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The object's own id in this vCenter, such as ``vm-42``."""
        return moid(self.ref)


def moid(ref: Any) -> str:
    """Return the id of an object."""
    return str(ref._GetMoId())


class Session(Patient):
    """Calls of one vCenter.

    :param server: its name or address.
    :param clock: what tells the time and waits.
    :param spread: returns a number between 0 and 1, the jitter of a pause.
    """

    def __init__(self, server: str, clock: Clock = time, spread: Callable[[], float] = random.random) -> None:
        super().__init__(clock, spread)
        self.server = server
        self.user = os.environ.get(USER, "")
        self.calls: dict[str, int] = {}
        # By which the vCenter knows the session that is open.
        self.key = ""
        self._password = os.environ.get(PASSWORD, "")
        self._port = int(os.environ.get(PORT) or 443)
        self._answered = False
        self._begun: float | None = None
        self._content: Any = None
        self._epoch = 0
        self._views: dict[tuple[Any, ...], Any] = {}
        self._signing = threading.Lock()
        self._viewing = threading.Lock()
        try:
            import pyVmomi
        except ImportError as error:
            raise FlotillaError(
                "VSPHERE_SDK_MISSING",
                "The Python that runs this has no pyVmomi.",
                "Install it there: python -m pip install pyvmomi",
                cause=error,
            ) from error
        if not self.user or not self._password:
            raise FlotillaError(
                "VSPHERE_LOGIN",
                f"There is no login for {server}.",
                f"Set {USER} and {PASSWORD}, or give the job a credential of the type VMware vCenter.",
            )
        self.vim, self.pbm, self._vmodl = pyVmomi.vim, pyVmomi.pbm, pyVmomi.vmodl
        self._context = self._trust()
        self._adapter = pyVmomi.SoapStubAdapter
        self._stub = self._stub_of("/sdk", _VERSION)
        self.rest = Rest(server, self._port, self.user, self._password, self._context, self.calls)

    def _stub_of(self, path: str, version: str, **more: Any) -> Any:
        return self._adapter(
            host=self.server,
            port=self._port,
            path=path,
            version=version,
            sslContext=self._context,
            poolSize=_POOL,
            httpConnectionTimeout=_TIMEOUT,
            **more,
        )

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not boolean(os.environ.get(VALIDATE) or "true"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    # ---- one call

    @property
    def content(self) -> Any:
        """The vCenter's managers, and what it says about itself."""
        self._signed_in()
        return self._content

    def ref(self, kind: Any, number: str) -> Any:
        """Return an object of this vCenter by its id."""
        return kind(number, self._stub)

    def call(self, target: Any, method: str, **parameters: Any) -> Any:  # type: ignore[override]
        """Make one call, once, and return the answer. A session that has ended is begun anew before.

        :param target: the object, or the name of one of the managers, such as ``propertyCollector``.
        :param method: as the API has it, such as ``CloneVM_Task``.
        :raises CloudError: what came instead, as `errors` translates it.
        """
        epoch = self._signed_in()
        found = getattr(self._content, target) if isinstance(target, str) else target
        try:
            return self._do(found, method, parameters)
        except SessionLost:
            self._sign_in(epoch)
            return self._do(found, method, parameters)

    def storage(self, manager: str, method: str, **parameters: Any) -> Any:
        """Make one call of the API of storage policies, as `call` does; it knows the session by the cookie of the other API.

        https://developer.broadcom.com/xapis/vmware-storage-policy-api/latest/

        :param manager: such as ``profileManager``.
        """
        epoch = self._signed_in()
        try:
            return self._do(self._storage_manager(manager), method, parameters)
        except SessionLost:
            self._sign_in(epoch)
            return self._do(self._storage_manager(manager), method, parameters)

    def _storage_manager(self, manager: str) -> Any:
        cookie = http.cookies.SimpleCookie(self._stub.cookie)["vmware_soap_session"].value
        stub = self._stub_of("/pbm", _STORAGE_VERSION, requestContext={"vcSessionCookie": cookie})
        content = self._do(self.pbm.ServiceInstance("ServiceInstance", stub), "PbmRetrieveServiceContent", {})
        return getattr(content, manager)

    def _do(self, target: Any, method: str, parameters: Mapping[str, Any], signing: bool = False) -> Any:
        if self._begun is None:
            self._begun = self.clock.monotonic()
        self.calls[method] = self.calls.get(method, 0) + 1
        try:
            answer = getattr(target, method)(**parameters)
        except self._vmodl.MethodFault as fault:
            self._answered = True
            named = "" if signing else self._name_of(getattr(fault, "object", None))
            raise errors.translate(method, fault, self.user, named) from fault
        except (OSError, http.client.HTTPException, xml.parsers.expat.ExpatError) as error:
            cut = isinstance(error, (ConnectionResetError, http.client.RemoteDisconnected))
            waited = self.clock.monotonic() - self._begun
            raise errors.unreachable(method, self.server, error, again=self._answered or cut or waited < _FIRST_ANSWER) from error
        self._answered = True
        return answer

    def _name_of(self, ref: Any) -> str:
        """Return what people call an object that a fault is about, or its id."""
        if ref is None or not hasattr(ref, "_GetMoId"):
            return ""
        try:
            found = self._retrieve([self.objects([ref], ["name"])])
        except CloudError:
            return moid(ref)
        return str(found[0].values.get("name") or moid(ref)) if found else moid(ref)

    def _signed_in(self) -> int:
        """Return the number of the session, and begin the first one."""
        if not self._epoch:
            self._sign_in(0)
        return self._epoch

    def _sign_in(self, epoch: int) -> None:
        """Begin a session, unless another thread has done so since ``epoch``."""
        with self._signing:
            if self._epoch != epoch:
                return
            if self._content is None:
                root = self.vim.ServiceInstance("ServiceInstance", self._stub)
                self._content = self._do(root, "RetrieveServiceContent", {}, signing=True)
            self._stub.cookie = ""
            login = {"userName": self.user, "password": self._password}
            self.key = str(self._do(self._content.sessionManager, "Login", login, signing=True).key)
            self._epoch += 1
            self._views.clear()
            if self not in _open:
                _open.append(self)

    def close(self) -> None:
        """End the session: a vCenter has room for a few hundred of them, and forgets one that is idle only after half an hour."""
        self.rest.close()
        if not self._epoch:
            return
        self._epoch = 0
        try:
            self._do(self._content.sessionManager, "Logout", {}, signing=True)
        except CloudError:
            # It ends by itself, later.
            pass

    # ---- reading

    def objects(self, refs: Sequence[Any], paths: Sequence[str]) -> Any:
        """Return what to read of known objects of one kind."""
        collector = self._vmodl.query.PropertyCollector
        return collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=ref) for ref in refs],
            propSet=[collector.PropertySpec(type=type(refs[0]), pathSet=list(paths))],
        )

    def all(self, wanted: Mapping[Any, Sequence[str]]) -> Callable[[], Any]:
        """Return what to read of all objects of some types, wherever they are.

        :param wanted: type -> paths.
        """

        def build() -> Any:
            kinds = tuple(sorted(wanted, key=lambda kind: str(kind.__name__)))
            with self._viewing:
                if kinds not in self._views:
                    parameters = {"container": self._content.rootFolder, "type": list(kinds), "recursive": True}
                    self._views[kinds] = self.call("viewManager", "CreateContainerView", **parameters)
                view = self._views[kinds]
            return self._through(view, type(view), "view", wanted)

        return build

    def tasks(self, paths: Sequence[str]) -> Callable[[], Any]:
        """Return what to read of the tasks that have ended a short time ago or have not ended yet."""
        return lambda: self._through(self._content.taskManager, self.vim.TaskManager, "recentTask", {self.vim.Task: paths})

    def _through(self, start: Any, kind: Any, way: str, wanted: Mapping[Any, Sequence[str]]) -> Any:
        collector = self._vmodl.query.PropertyCollector
        step = collector.TraversalSpec(name=way, type=kind, path=way, skip=False)
        return collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=start, skip=True, selectSet=[step])],
            propSet=[collector.PropertySpec(type=kind, pathSet=list(paths)) for kind, paths in wanted.items()],
        )

    def read(self, *specs: Any) -> list[Entry]:
        """Return what there is to be read, all pages of it; made once, as `call`.

        :param specs: of `objects`, `all` and `tasks`.
        """
        self._signed_in()
        fresh = False
        while True:
            epoch = self._epoch
            try:
                return self._retrieve([spec() if callable(spec) else spec for spec in specs])
            except SessionLost:
                self._sign_in(epoch)
            except NotFound:
                # It may be the view that has gone, with the session that made it.
                if fresh or not any(callable(spec) for spec in specs):
                    raise
                fresh = True
                with self._viewing:
                    self._views.clear()
            except CloudError:
                # Views, and the rest of a long answer, belong to the session that began them.
                if epoch == self._epoch:
                    raise

    def _retrieve(self, specs: Sequence[Any]) -> list[Entry]:
        options = self._vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=_PAGE)
        found: list[Entry] = []
        answer = self.call("propertyCollector", "RetrievePropertiesEx", specSet=list(specs), options=options)
        while answer is not None:
            self._check(answer)
            found += [Entry(item.obj, {prop.name: prop.val for prop in item.propSet}) for item in answer.objects]
            if not answer.token:
                break
            answer = self.call("propertyCollector", "ContinueRetrievePropertiesEx", token=answer.token)
        return found

    def _check(self, answer: Any) -> None:
        """Fail where a vCenter does not answer at all: without a session it says so for each property, and for the read as a whole nothing.

        :raises SessionLost: always that.
        """
        for missing in (part for item in answer.objects for part in item.missingSet or ()):
            if "NotAuthenticated" in errors.kinds(missing.fault):
                raise errors.translate("RetrievePropertiesEx", missing.fault, self.user)

    # ---- tasks

    def finish(self, tasks: Mapping[str, Any]) -> dict[str, Any]:
        """Wait until tasks are done, all of them together.

        :param tasks: any names -> tasks.
        :returns: the same names -> result, or the `CloudError` why it failed.
        """
        done: dict[str, Any] = {}
        waiting = dict(tasks)
        end, pause = self.clock.monotonic() + TASK_TIMEOUT, _FIRST_POLL
        while waiting:
            for name, outcome in self._look(waiting).items():
                done[name] = outcome
                del waiting[name]
            if not waiting:
                break
            if self.clock.monotonic() >= end:
                for name, task in waiting.items():
                    done[name] = CloudError(
                        "VSPHERE_TASK_SLOW",
                        f"The task {moid(task)} for {name} is not done after {TASK_TIMEOUT:g} s.",
                        "See it under Recent Tasks of the vSphere Client: cancel it there if it hangs, then run again.",
                    )
                break
            self.clock.sleep(pause)
            pause = min(1.3 * pause, _LONGEST_POLL)
        return done

    def _look(self, waiting: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outcome of those tasks that are done."""
        try:
            found = self.patient_read(
                self.objects(list(waiting.values()), ["info.state", "info.error", "info.result", "info.descriptionId"])
            )
        except NotFound:
            # A vCenter that started anew knows no tasks of before; what they did is seen by looking at the machines.
            lost = Transient("VSPHERE_TASK_LOST", "The vCenter does not know its task any more.", "Run again.")
            return dict.fromkeys(waiting, lost)
        known = {entry.id: entry.values for entry in found}
        outcomes: dict[str, Any] = {}
        for name, task in waiting.items():
            values = known.get(moid(task), {})
            if values.get("info.state") == "success":
                outcomes[name] = values.get("info.result")
            elif values.get("info.state") == "error":
                fault = values["info.error"]
                operation = str(values.get("info.descriptionId") or "the task")
                outcomes[name] = errors.translate(operation, fault, self.user, self._name_of(getattr(fault, "object", None)))
        return outcomes

    def patient_read(self, *specs: Any) -> list[Entry]:
        """Do as `read`, again and again while the vCenter only asks for patience."""
        attempt, end = 0, self.clock.monotonic() + TASK_TIMEOUT
        while True:
            try:
                return self.read(*specs)
            except CloudError as error:
                if not isinstance(error, (Throttled, Transient)) or self.clock.monotonic() >= end:
                    raise
                self.pause(attempt, error.retry_after)
                attempt += 1


def session_for(definition: dict[str, Any]) -> Session:
    """Return the session of a definition's vCenter."""
    server = str((definition.get("vsphere") or {}).get("server") or os.environ.get(HOST) or "")
    if not server:
        raise FlotillaError(
            "VSPHERE_SERVER",
            "Nothing says which vCenter is meant.",
            f"Set vsphere.server in the definition, such as to vcenter.example.com, or {HOST}.",
        )
    return Session(server)


def close_sessions() -> None:
    """End all sessions of this process."""
    while _open:
        _open.pop().close()
