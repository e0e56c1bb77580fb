# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a body of Azure Resource Manager may hold, by the models of azure-mgmt-compute, azure-mgmt-network and azure-mgmt-resource.

A model says of each of its fields the name on the wire, the type with its enum values, whether it is required and whether it is the
cloud's own. What the models leave open and the service refuses all the same is in `REQUIRED`.
"""

from __future__ import annotations

import datetime
import enum
import functools
import importlib
import inspect
import sys
import types
import typing
from typing import Any

COMPUTE, NETWORK, RESOURCES = "azure.mgmt.compute.models", "azure.mgmt.network.models", "azure.mgmt.resource.resources.models"

# resource type -> (package, model of its PUT). https://learn.microsoft.com/rest/api/azure/
BODIES = {
    "microsoft.compute/virtualmachines": (COMPUTE, "VirtualMachine"),
    "microsoft.compute/disks": (COMPUTE, "Disk"),
    "microsoft.compute/images": (COMPUTE, "Image"),
    "microsoft.network/virtualnetworks": (NETWORK, "VirtualNetwork"),
    "microsoft.network/virtualnetworks/subnets": (NETWORK, "Subnet"),
    "microsoft.network/networksecuritygroups": (NETWORK, "NetworkSecurityGroup"),
    "microsoft.network/networksecuritygroups/securityrules": (NETWORK, "SecurityRule"),
    "microsoft.network/applicationsecuritygroups": (NETWORK, "ApplicationSecurityGroup"),
    "microsoft.network/natgateways": (NETWORK, "NatGateway"),
    "microsoft.network/publicipaddresses": (NETWORK, "PublicIPAddress"),
    "microsoft.network/networkinterfaces": (NETWORK, "NetworkInterface"),
    "microsoft.network/loadbalancers": (NETWORK, "LoadBalancer"),
    "microsoft.resources/resourcegroups": (RESOURCES, "ResourceGroup"),
    "microsoft.resources/tags": (RESOURCES, "TagsPatchResource"),
}
# model -> wire names that the service demands although its model does not.
REQUIRED = {
    "VirtualMachine": ("location", "properties"),
    "VirtualMachineProperties": ("hardwareProfile", "storageProfile", "osProfile", "networkProfile"),
    "HardwareProfile": ("vmSize",),
    "StorageProfile": ("osDisk",),
    "OSProfile": ("computerName", "adminUsername"),
    "SshPublicKey": ("path", "keyData"),
    "NetworkInterfaceReference": ("id",),
    "VirtualMachineNetworkInterfaceConfiguration": ("properties",),
    "VirtualMachineNetworkInterfaceIPConfiguration": ("properties",),
    "VirtualMachineNetworkInterfaceIPConfigurationProperties": ("subnet",),
    "VirtualNetwork": ("location", "properties"),
    "VirtualNetworkPropertiesFormat": ("addressSpace",),
    "AddressSpace": ("addressPrefixes",),
    "Subnet": ("name", "properties"),
    "NetworkSecurityGroup": ("location",),
    "SecurityRule": ("name", "properties"),
    "ApplicationSecurityGroup": ("location",),
    "NatGateway": ("location", "sku"),
    "PublicIPAddress": ("location", "sku"),
    "NetworkInterface": ("location", "properties"),
    "NetworkInterfacePropertiesFormat": ("ipConfigurations",),
    "NetworkInterfaceIPConfiguration": ("name",),
    "LoadBalancer": ("location", "sku"),
    "FrontendIPConfiguration": ("name", "properties"),
    "BackendAddressPool": ("name",),
    "Probe": ("name", "properties"),
    "LoadBalancingRule": ("name", "properties"),
    "ResourceGroup": ("location",),
    "TagsPatchResource": ("operation", "properties"),
}
# Enums that list a part of what is taken.
OPEN = frozenset({"VirtualMachineSizeTypes", "ExtendedLocationTypes"})
# Strings that stand for a secret or a moment are taken as they are.
_LENGTHS = {"computerName": 64, "adminUsername": 64, "description": 140}


class Refused(Exception):
    """A body that the service answers with 400."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check(kind: str, body: Any) -> dict[str, Any]:
    """Return a body without what is the cloud's own, which the service ignores.

    :raises Refused: a field that is unknown, missing, of another type or not among its values.
    """
    package, name = BODIES[kind]
    return dict(_object(getattr(importlib.import_module(package), name), body, ""))


@functools.cache
def fields(model: type) -> dict[str, tuple[Any, bool, bool]]:
    """Return of each field its wire name -> (type, whether the model requires it, whether it is the cloud's own)."""
    model.__new__(model)  # The table of fields is made with the first object.
    hints = _hints(model)
    found = {}
    for attribute, rest in model._attr_to_rest_field.items():  # type: ignore[attr-defined]
        hint, name = hints[attribute], rest._rest_name
        own = list(rest._visibility or ()) == ["read"]
        found[name] = (hint, not own and type(None) not in typing.get_args(hint), own)
    return found


def is_model(hint: Any) -> bool:
    return inspect.isclass(hint) and any(base.__name__ == "Model" and base.__module__.startswith("azure.") for base in hint.__mro__[1:])


def _hints(model: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in model.__mro__:
        module = sys.modules[base.__module__]
        package = sys.modules[base.__module__.rpartition(".")[0]] if "." in base.__module__ else module
        for name, text in vars(base).get("__annotations__", {}).items():
            if name not in found and not name.startswith("_"):
                names = {**vars(typing), **vars(module), "_models": package, "datetime": datetime, "JSON": dict[str, Any]}
                found[name] = _resolve(eval(text, names) if isinstance(text, str) else text, model)  # noqa: S307  the SDK's own words
    return found


def _resolve(hint: Any, model: type) -> Any:
    if isinstance(hint, typing.ForwardRef):
        return _resolve(hint.__forward_arg__, model)
    if isinstance(hint, str):
        module = sys.modules[model.__module__]
        name = hint.rpartition(".")[2]
        return getattr(module, name, None) or getattr(sys.modules[module.__name__.rpartition(".")[0]], name)
    parts = typing.get_args(hint)
    if not parts:
        return hint
    parts = tuple(_resolve(part, model) for part in parts)
    origin = typing.get_origin(hint)
    return typing.Union[parts] if origin in (typing.Union, types.UnionType) else types.GenericAlias(origin, parts)


def _object(model: type, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("InvalidRequestFormat", f"Cannot parse the request: an object is expected at '{path or 'body'}'.")
    known = fields(model)
    found = {}
    for name, item in value.items():
        if name not in known:
            raise Refused("InvalidRequestContent", f"Could not find member '{name}' on object of type '{model.__name__}'. Path '{path}'.")
        hint, _required, own = known[name]
        if not own or name == "id":
            found[name] = _value(hint, item, f"{path}.{name}".lstrip("."))
    # An id inside another resource stands for what has it.
    extra = () if path and found.get("id") else REQUIRED.get(model.__name__, ())
    wanted = [name for name, (_hint, required, own) in known.items() if required or (name in extra and not own)]
    missing = [name for name in wanted if found.get(name) is None]
    if missing:
        raise Refused("InvalidParameter", f"Required parameter '{f'{path}.{missing[0]}'.lstrip('.')}' is missing (null).")
    return found


def _value(hint: Any, value: Any, path: str) -> Any:
    if value is None or hint is Any:
        return value
    origin, parts = typing.get_origin(hint), [part for part in typing.get_args(hint) if part is not type(None)]
    if origin in (typing.Union, types.UnionType):
        enums = [part for part in parts if inspect.isclass(part) and issubclass(part, enum.Enum)]
        if enums:
            return _enum(enums[0], value, path)
        return _value(parts[0], value, path) if len(parts) == 1 else value
    if origin is list:
        if not isinstance(value, list):
            raise Refused("InvalidRequestFormat", f"Cannot parse the request: a list is expected at '{path}'.")
        return [_value(parts[0], item, f"{path}[{number}]") for number, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise Refused("InvalidRequestFormat", f"Cannot parse the request: a map is expected at '{path}'.")
        return {key: _value(parts[1], item, f"{path}.{key}") for key, item in value.items()}
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return _enum(hint, value, path)
    if is_model(hint):
        return _object(hint, value, path)
    wanted: Any = {str: str, int: int, bool: bool, float: (int, float), datetime.datetime: str}.get(hint)
    if wanted and (not isinstance(value, wanted) or (hint in (int, float) and isinstance(value, bool))):
        raise Refused("InvalidRequestFormat", f"Cannot parse the request: {value!r} at '{path}' is not of type {hint.__name__}.")
    longest = _LENGTHS.get(path.rpartition(".")[2])
    if isinstance(value, str) and longest and len(value) > longest:
        raise Refused("InvalidParameter", f"The value of parameter {path} is longer than {longest} characters.")
    return value


def _enum(values: Any, value: Any, path: str) -> Any:
    allowed = {str(item.value).lower(): item.value for item in values}
    if not isinstance(value, str):
        raise Refused("InvalidRequestFormat", f"Cannot parse the request: {value!r} at '{path}' is not a string.")
    if values.__name__ not in OPEN and value.lower() not in allowed:
        raise Refused(
            "InvalidParameter", f"The value '{value}' of parameter {path} is not allowed. Allowed values are {sorted(allowed)[:9]}."
        )
    return value
