# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in Google Cloud, through a strict Compute Engine, whose machines and load balancer are real: `make e2e-gcp`."""

from __future__ import annotations

from collections import Counter

import pytest
from backing.stage import Stage
from clouds.gcp.account import REGION, ask
from on_cloud import PORT, OnCloud

pytestmark = pytest.mark.full

# Every API server has a certificate of its own, which tells who has answered.
_WHO = """\
import hashlib, ssl, sys
for _ in range(12):
    try:
        print(hashlib.sha256(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2])), timeout=5))).hexdigest())
    except OSError as error:
        print(type(error).__name__)
"""
_OWN = "openssl x509 -in /etc/kubernetes/pki/apiserver.crt -outform DER | sha256sum | cut -d' ' -f1"


class TestGoogleCloud(OnCloud):
    cloud = "gcp"
    cidr = "172.30.233.0/24"
    kinds = {
        *("networks", "subnetworks", "firewalls", "routers", "addresses", "instances", "disks"),
        *("instanceGroups", "backendServices", "healthChecks", "forwardingRules"),
    }
    makes = {"instances.bulkInsert": 2, "forwardingRules.insert": 1, "instanceGroups.addInstances": 1}
    leaves = "instanceGroups.removeInstances"
    ends = "instances.delete"

    def healthy(self, stage: Stage) -> set[str]:
        path = f"regions/{REGION}/backendServices/{stage.name}-api"
        groups = [backend["group"] for backend in ask(stage.place.direct, "GET", path)["backends"]]
        answers = [ask(stage.place.direct, "POST", f"{path}/getHealth", {"group": group}) for group in groups]
        found = [entry for answer in answers for entry in answer.get("healthStatus", ())]
        return {entry["instance"].rsplit("/", 1)[-1] for entry in found if entry["healthState"] == "HEALTHY"}

    def test_the_load_balancer_is_a_real_one(self, stage: Stage) -> None:
        """It serves everybody, but what a backend sends to its address comes back to that backend."""
        (balancer,) = stage.picture().balancers
        own = {machine: stage.run_on(machine, "sh", "-c", _OWN).strip() for machine in stage.control_planes}

        def answered(machine: str) -> Counter[str]:
            return Counter(stage.run_on(machine, "python3", "-c", _WHO, balancer.host, str(PORT)).split())

        for machine in stage.control_planes:
            assert answered(machine) == {own[machine]: 12}
        from_outside = answered(stage.machines("workers")[0])
        assert set(from_outside) <= set(own.values()) and len(from_outside) > 1, from_outside
