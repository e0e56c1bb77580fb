# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How AWS says things on the wire, for the proxy: the query protocol of EC2 and its relatives, JSON of SSM, REST of Route 53."""

from __future__ import annotations

import json
import re
import urllib.parse
from xml.etree import ElementTree

from clouds.faults import Answer, Call, Request

# action of a read -> name of the id of what it lists. https://docs.aws.amazon.com/AWSEC2/latest/APIReference
LISTED = {
    "DescribeAddresses": "allocationId",
    "DescribeInstances": "instanceId",
    "DescribeInternetGateways": "internetGatewayId",
    "DescribeNatGateways": "natGatewayId",
    "DescribeNetworkInterfaces": "networkInterfaceId",
    "DescribeRouteTables": "routeTableId",
    "DescribeSecurityGroupRules": "securityGroupRuleId",
    "DescribeSecurityGroups": "groupId",
    "DescribeSubnets": "subnetId",
    "DescribeVolumes": "volumeId",
    "DescribeVpcs": "vpcId",
}
# What EC2 says about an id that it does not know. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
UNKNOWN = {
    "allocationId": "InvalidAllocationID.NotFound",
    "groupId": "InvalidGroup.NotFound",
    "instanceId": "InvalidInstanceID.NotFound",
    "internetGatewayId": "InvalidInternetGatewayID.NotFound",
    "natGatewayId": "NatGatewayNotFound",
    "networkInterfaceId": "InvalidNetworkInterfaceID.NotFound",
    "routeTableId": "InvalidRouteTableID.NotFound",
    "securityGroupRuleId": "InvalidSecurityGroupRuleId.NotFound",
    "subnetId": "InvalidSubnetID.NotFound",
    "volumeId": "InvalidVolume.NotFound",
    "vpcId": "InvalidVpcID.NotFound",
}
CREATED = {
    "AllocateAddress": "allocationId",
    "AuthorizeSecurityGroupEgress": "securityGroupRuleId",
    "AuthorizeSecurityGroupIngress": "securityGroupRuleId",
    "CreateInternetGateway": "internetGatewayId",
    "CreateNatGateway": "natGatewayId",
    "CreateRouteTable": "routeTableId",
    "CreateSecurityGroup": "groupId",
    "CreateSubnet": "subnetId",
    "CreateVolume": "volumeId",
    "CreateVpc": "vpcId",
    "RunInstances": "instanceId",
}
XML = {"Content-Type": "text/xml;charset=UTF-8"}


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


class AwsDialect:
    def call(self, request: Request) -> Call:
        scope = re.search(r"Credential=[^/]*/\d+/[^/]+/([^/]+)/", request.headers.get("authorization", ""))
        service = scope[1] if scope else "unknown"
        text = request.body.decode("latin1")
        target = request.headers.get("x-amz-target", "")
        if target:
            action = target.rpartition(".")[2]
            mutates = not action.startswith(("Describe", "Get", "List"))
        elif service == "route53":
            action = f"{request.method} {re.sub(r'/Z[A-Z0-9]+', '/ID', request.path.partition('?')[0])}"
            mutates = request.method != "GET"
        else:
            fields = dict(urllib.parse.parse_qsl(text))
            action = fields.get("Action", request.path)
            mutates = not action.startswith(("Describe", "Get", "List", "Search")) and fields.get("DryRun") != "true"
            text = urllib.parse.urlencode(sorted(fields.items()))
        return Call(f"{service}:{action}", mutates, "" if mutates else f"{service} {request.method} {request.path} {target} {text}")

    def _error(self, call: Call, status: int, code: str, message: str) -> Answer:
        if call.action.startswith("ec2:"):
            error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            text = f"<Response><Errors>{error}</Errors><RequestID>proxy</RequestID></Response>"
        elif call.action.startswith("ssm:"):
            return Answer(status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps({"__type": code, "message": message}).encode())
        else:
            kind = "Receiver" if status >= 500 else "Sender"
            text = (
                f"<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
                "<RequestId>proxy</RequestId></ErrorResponse>"
            )
        return Answer(status, XML, text.encode())

    def throttled(self, call: Call) -> Answer:
        if call.action.startswith("ec2:"):
            return self._error(call, 503, "RequestLimitExceeded", "Request limit exceeded.")
        code = "ThrottlingException" if call.action.startswith("ssm:") else "Throttling"
        return self._error(call, 400, code, "Rate exceeded")

    def broken(self, call: Call) -> Answer:
        if call.action.startswith("ec2:"):
            return self._error(call, 500, "InternalError", "An internal error has occurred")
        return self._error(call, 503, "ServiceUnavailable", "The service is unavailable. Please try again shortly.")

    def created(self, call: Call, answer: Answer) -> set[str]:
        made = CREATED.get(call.action.removeprefix("ec2:"))
        return (
            {element.text for element in ElementTree.fromstring(answer.body).iter() if _tag(element) == made and element.text}
            if made
            else set()
        )

    def hide(self, call: Call, request: Request, answer: Answer, young: set[str]) -> Answer:
        listed = LISTED.get(call.action.removeprefix("ec2:"))
        if not listed or answer.status >= 400:
            return answer
        for name, value in urllib.parse.parse_qsl(request.body.decode("latin1")):
            if value in young and re.fullmatch(rf"{listed}(\.\d+)?", name[:1].lower() + name[1:]):
                return self._error(call, 400, UNKNOWN[listed], f"The ID '{value}' does not exist")
        root = ElementTree.fromstring(answer.body)
        namespace = re.match(r"\{(.*?)\}", root.tag)
        if namespace:
            ElementTree.register_namespace("", namespace[1])
        for parent in root.iter():
            for item in list(parent):
                own = next((child.text for child in item if _tag(child) == listed), None)
                if _tag(item) == "item" and own in young:
                    parent.remove(item)
        for reservations in root.iter():
            for item in list(reservations):
                machines = next((child for child in item if _tag(child) == "instancesSet"), None)
                if machines is not None and not len(machines):
                    reservations.remove(item)
        return Answer(answer.status, answer.headers, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
