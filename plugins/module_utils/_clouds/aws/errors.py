# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS answers instead of doing what it was asked, as errors with a remedy (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from ..._machines.cloud import CloudError, NoCapacity, NotFound, QuotaExceeded, Refused, Throttled, Transient, Unauthorised

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html and the like of Elastic Load Balancing and Route 53.
_THROTTLED = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "PriorRequestNotComplete",
    "SlowDown",
    "EC2ThrottledException",
}
_TRANSIENT = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServerInternal",
    "ServiceUnavailable",
    "Unavailable",
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestExpired",
    # What it hangs on is still going away, or an equal change is under way.
    "DependencyViolation",
    "ResourceInUse",
    "IncorrectState",
    "IncorrectInstanceState",
    "InvalidIPAddress.InUse",
}
_CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "SpotMaxPriceTooLow",
    "Unsupported",
}
_QUOTA = {
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "AddressLimitExceeded",
    "VpcLimitExceeded",
    "SubnetLimitExceeded",
    "InternetGatewayLimitExceeded",
    "NatGatewayLimitExceeded",
    "RouteTableLimitExceeded",
    "SecurityGroupLimitExceeded",
    "RulesPerSecurityGroupLimitExceeded",
    "SecurityGroupsPerInterfaceLimitExceeded",
    "VolumeLimitExceeded",
    "TooManyLoadBalancers",
    "TooManyTargetGroups",
    "TooManyTargets",
    "TooManyListeners",
}
_UNAUTHORISED = {
    "UnauthorizedOperation",
    "UnauthorizedAccess",
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "UnrecognizedClientException",
    "OptInRequired",
    "PendingVerification",
    "MissingAuthenticationToken",
}
_NOT_FOUND = {
    "NatGatewayNotFound",
    "LoadBalancerNotFound",
    "TargetGroupNotFound",
    "ListenerNotFound",
    "NoSuchHostedZone",
    "ParameterNotFound",
    "Gateway.NotAttached",
    # A machine that is not known there yet, or does not run yet.
    "InvalidTarget",
}
_QUOTA_REMEDY = (
    "Ask for a higher quota (AWS console, Service Quotas, this region), free what is not needed, or ask for less; then run again: "
    "what was made is kept."
)


def translate(operation: str, code: str, message: str, status: int = 0, retry_after: float = 0.0) -> CloudError:
    """Return what an error response of AWS means.

    :param operation: such as ``ec2:RunInstances``.
    :param code: AWS's error code.
    :param status: the HTTP status, for codes that are not known here.
    """
    details: dict[str, Any] = {"aws_code": code, "operation": operation}
    said = f"AWS refused {operation}: {message or code}"
    said = said if said.endswith(".") else f"{said}."
    kind, own, remedy = _kind(code, status)
    if kind is Unauthorised:
        remedy = _credentials_remedy(operation, code, message)
    return kind(own, said, remedy, f"{code}: {message}", details, retry_after=retry_after)


def _kind(code: str, status: int) -> tuple[type[CloudError], str, str]:
    again = "Run again; when it lasts, look at https://health.aws.amazon.com/health/status."
    if code in _THROTTLED:
        return Throttled, "AWS_THROTTLED", "Run again later: other programs use up the account's rate of calls."
    if code in _CAPACITY:
        return NoCapacity, "AWS_CAPACITY", "Use another machine size or more zones for the pool, or run again later."
    if code in _QUOTA or code.endswith("LimitExceeded"):
        return QuotaExceeded, "AWS_QUOTA", _QUOTA_REMEDY
    if code in _UNAUTHORISED:
        return Unauthorised, "AWS_UNAUTHORISED", ""
    if code in _NOT_FOUND or re.search(r"\.NotFound$|NotFoundException$|^NoSuch", code):
        return NotFound, "AWS_NOT_FOUND", "Run again; when it lasts, correct the id in the definition."
    if code in _TRANSIENT or status >= 500:
        return Transient, "AWS_UNAVAILABLE", again
    return Refused, "AWS_REFUSED", "Correct what AWS names in the definition, then run again."


def _credentials_remedy(operation: str, code: str, message: str) -> str:
    if code in ("UnauthorizedOperation", "UnauthorizedAccess", "AccessDenied", "AccessDeniedException"):
        what = re.search(r"not authorized to perform:? ([A-Za-z0-9]+:[A-Za-z0-9*]+)", message)
        return f"Allow {what.group(1) if what else operation} to the identity that runs this; docs/aws.md has the whole policy."
    if "Expired" in code:
        return "Sign in again ('aws sso login', or new keys): the credentials have expired."
    if code == "OptInRequired":
        return "Enable the region or accept the image's terms in the AWS console with this account."
    return "Set valid credentials as boto3 finds them: environment, ~/.aws, SSO, or the role of the machine that runs this."


def unreachable(operation: str, error: BaseException, again: bool = True) -> CloudError:
    """Return what an interrupted call means: nobody knows whether it was done.

    :param again: whether to repeat it.
    """
    return (Transient if again else CloudError)(
        "AWS_UNREACHABLE",
        f"AWS did not answer {operation}: {' '.join(str(error).split())}.",
        "Check aws.region, the network and the proxy of the machine that runs this, then run again.",
        error,
        {"operation": operation},
    )


def unknown_region(operation: str, region: str, known: Sequence[str], error: BaseException) -> CloudError:
    """Return what it means that nothing answers in a region that boto3 does not know."""
    near = difflib.get_close_matches(region, known, n=3) or ["eu-west-1", "us-east-1"]
    return Refused(
        "AWS_REGION_UNKNOWN",
        f"aws.region '{region}' is not known, and nothing answers there: {' '.join(str(error).split())}.",
        f"Use a region such as {', '.join(near)}; for one that is newer than that, upgrade boto3.",
        error,
        {"operation": operation},
    )


def without_credentials(operation: str, error: BaseException) -> CloudError:
    """Return what it means that boto3 has nothing to sign with."""
    return Unauthorised(
        "AWS_UNAUTHORISED",
        f"There are no usable credentials for {operation}: {' '.join(str(error).split())}.",
        "Set credentials as boto3 finds them: environment, ~/.aws, SSO, or the role of the machine that runs this.",
        error,
        {"operation": operation},
    )
