# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a cluster in Google Cloud."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp import image, machines, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import Wish
from clouds.gcp.endpoint import error

from .conftest import REGION, ZONES, Google

Definition = dict[str, Any]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostKeyOfATest"


@pytest.fixture
def ready(session: Session, google: Google, definition: Definition) -> Definition:
    """A definition whose network is there."""
    network.present(session, definition)
    session.calls.clear()
    return definition


def apply(session: Session, definition: Definition, check_mode: bool = False, roll_out: bool = False, **wish: Any) -> Any:
    options = {"scan": lambda _definition, _machine: KEY, "check_mode": check_mode, "roll_out": roll_out}
    return machines.present(session, definition, wait_timeout=60, wish=Wish(**wish), **options)


def _zones(google: Google) -> Counter[str]:
    return Counter(body["zone"].rsplit("/", 1)[-1] for _key, body in google.world.of("instances"))


def test_machines_are_made_as_asked_for_kept_and_removed(session: Session, google: Google, ready: Definition) -> None:
    foretold = apply(session, ready, check_mode=True)
    assert foretold.changed and len(foretold.value["planned"]) == 5 and google.names("instances") == []
    made = apply(session, ready)
    assert _zones(google) == {ZONES[0]: 2, ZONES[1]: 2, ZONES[2]: 1}
    assert len(made.value["machines"]) == 5 and all(machine["host_key"] == KEY for machine in made.value["machines"])
    session.calls.clear()
    again = apply(session, ready)
    assert not again.changed and again.before == again.after and sum(session.calls.values()) == 2, session.calls
    assert [machine["id"] for machine in again.value["machines"]] == [machine["id"] for machine in made.value["machines"]]
    assert machines.observed(session, ready).value["machines"] == again.value["machines"]
    names = [machine["name"] for machine in made.value["machines"]]
    assert machines.neighbours(session, {**ready, "name": "other"}) == {"payments": names}
    gone = machines.absent(session, ready)
    assert gone.changed and google.names("instances") == google.names("disks") == []
    assert not machines.absent(session, ready).changed


def test_machines_are_what_the_definition_says(session: Session, google: Google, ready: Definition) -> None:
    ready["gcp"].update(
        service_accounts={"worker": "nodes@contract.iam.gserviceaccount.com"},
        scopes=["https://www.googleapis.com/auth/compute"],
        kms_key="projects/keys/locations/us-central1/keyRings/disks/cryptoKeys/nodes",
        disk_type="pd-ssd",
    )
    ready["pools"][0]["machine"].update(spot=True, extra_disks_gib=[50])
    apply(session, ready)
    bodies = {body["labels"]["flotilla-pool"]: body for _key, body in google.world.of("instances")}
    worker, control_plane = bodies["general"], bodies["control-plane"]
    assert worker["scheduling"]["provisioningModel"] == "SPOT" and worker["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert worker["serviceAccounts"][0]["scopes"] == ["https://www.googleapis.com/auth/compute"] and "serviceAccounts" not in control_plane
    assert worker["labels"]["team"] == "payments" and worker["tags"]["items"] == ["payments-worker"]
    shield = control_plane["shieldedInstanceConfig"]
    assert shield == {"enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True}
    metadata = {item["key"]: item["value"] for item in control_plane["metadata"]["items"]}
    assert metadata["block-project-ssh-keys"] == "TRUE" and '"lock_passwd": true' in metadata["user-data"]
    assert metadata["ssh-keys"] == f"ops:{ready['access']['ssh_public_keys'][0]}" and metadata["enable-oslogin"] == "FALSE"
    assert not any("accessConfigs" in nic for nic in control_plane["networkInterfaces"])
    disks = [body for _key, body in google.world.of("disks") if body["name"].startswith("payments-general")]
    assert Counter((disk["sizeGb"], disk["type"].rsplit("/", 1)[-1]) for disk in disks) == {("40", "pd-ssd"): 2, ("50", "pd-ssd"): 2}
    assert all(disk["diskEncryptionKey"]["kmsKeyName"].endswith("/nodes") and disk["labels"]["team"] == "payments" for disk in disks)
    machines.absent(session, ready)
    assert google.names("disks") == []


def test_a_full_zone_sends_workers_elsewhere(session: Session, google: Google, ready: Definition) -> None:
    google.world.capacity = {ZONES[0]: 1}
    apply(session, ready)
    assert _zones(google) == {ZONES[0]: 1, ZONES[1]: 3, ZONES[2]: 1}


def test_a_control_plane_waits_for_its_zone(session: Session, google: Google, ready: Definition) -> None:
    google.world.capacity = {ZONES[2]: 0}
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready)
    assert caught.value.code == "GCP_CAPACITY" and ZONES[2] in caught.value.remedy and "What was made is kept" in caught.value.message
    google.world.capacity = {}
    assert apply(session, ready).changed and _zones(google) == {ZONES[0]: 2, ZONES[1]: 2, ZONES[2]: 1}


def test_some_of_an_order_is_taken_and_the_rest_goes_on(session: Session, google: Google, ready: Definition) -> None:
    ready["pools"][0].update(count=6, zones=ZONES[:2])
    google.world.capacity = {ZONES[0]: 3}
    apply(session, ready)
    assert len(google.names("instances")) == 9 and _zones(google)[ZONES[0]] == 3


def test_a_quota_is_named_with_its_remedy(session: Session, google: Google, ready: Definition) -> None:
    google.world.quota = {"CPUS": 6}
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready)
    assert f"CPUS in {REGION} (now 6)" in caught.value.remedy, caught.value.remedy


def test_a_size_that_a_zone_does_not_have_is_said_before_anything_is_made(session: Session, google: Google, ready: Definition) -> None:
    ready["pools"][0].update(machine={"size": "t2a-standard-2"}, zones=[ZONES[0], ZONES[2]])
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready, check_mode=True)
    assert caught.value.code == "GCP_SIZE_UNKNOWN" and f"t2a-standard-2 in {ZONES[2]}" in caught.value.message
    assert f"{REGION}-f" in caught.value.remedy


def test_a_call_whose_answer_was_lost_makes_nothing_twice(session: Session, google: Google, ready: Definition) -> None:
    # It does what it is asked, and breaks the connection.
    endpoint, lost = google.endpoint, list[str]()

    def answer(request: Any) -> Any:
        done = endpoint(request)
        if "bulkInsert" in request.path and len(lost) < 3:
            lost.append(request.path)
            return None
        return done

    google.endpoint = answer  # type: ignore[assignment]
    apply(session, ready)
    google.endpoint = endpoint
    assert len(lost) == 3 and len(google.names("instances")) == 5


def test_a_name_that_is_taken_is_that_machine(session: Session, google: Google, ready: Definition) -> None:
    first = apply(session, ready)
    # Google has forgotten the request ids, and the list of machines shows none of them yet.
    google.world.requests.clear()
    cloud = machines.Gce(session, machines.names.place(ready), ready, network.base(session, machines.names.place(ready)))
    groups = [cloud.group(group) for group in machines.fleet.planning.desired_groups(ready)]
    cloud.choose_images(groups, [])
    group = next(group for group in groups if group.pool == "general")
    token = machines.fleet.planning.idempotency_token(cloud.uid, group, ZONES[0], 1, [], cloud.request_hash(group, ZONES[0]), 0, 0)
    again = cloud.create(machines.Order(group, ZONES[0], 1, token))
    assert [machine.state for machine in again] == ["running"]
    assert again[0].id in {machine["id"] for machine in first.value["machines"]} and len(google.names("instances")) == 5


def test_a_machine_deleted_by_hand_comes_back_under_another_name(session: Session, google: Google, ready: Definition) -> None:
    made = apply(session, ready)
    victim = next(machine for machine in made.value["machines"] if machine["pool"] == "general")
    session.call("instances", "delete", zone=victim["zone"], instance=victim["name"])
    # It is still going, which looks like one that is being stopped.
    again = apply(session, ready)
    names = [machine["name"] for machine in again.value["machines"]]
    assert len(names) == 5 and victim["name"] not in names and again.changed


def test_a_stopped_machine_is_started(session: Session, google: Google, ready: Definition) -> None:
    made = apply(session, ready)
    victim = made.value["machines"][0]
    session.finish([session.call("instances", "stop", zone=victim["zone"], instance=victim["name"])])
    again = apply(session, ready)
    assert [step["machine"] for step in again.value["steps"] if step["action"] == "start"] == [victim["name"]]
    assert google.body("instances", victim["name"])["status"] == "RUNNING" and len(again.value["machines"]) == 5


def test_labels_tags_and_keys_of_the_project_are_put_right(session: Session, google: Google, ready: Definition) -> None:
    name = apply(session, ready).value["machines"][0]["name"]
    body = google.body("instances", name)
    body["labels"].update(team="others", extra="stays")
    body["tags"]["items"] = ["extra"]
    body["metadata"]["items"] = [item for item in body["metadata"]["items"] if item["key"] != "block-project-ssh-keys"]
    for key, _body in list(google.world.of("instances")):
        google.world._mark(key)
    changed = apply(session, ready)
    assert [step["action"] for step in changed.value["steps"] if step["machine"] == name] == ["update"]
    body = google.body("instances", name)
    assert (body["labels"]["team"], body["labels"]["extra"]) == ("payments", "stays")
    assert body["tags"]["items"] == ["extra", "payments-control-plane"]
    assert {item["key"]: item["value"] for item in body["metadata"]["items"]}["block-project-ssh-keys"] == "TRUE"
    assert not apply(session, ready).changed


def test_a_fingerprint_that_is_old_by_now_is_read_again(session: Session, google: Google, ready: Definition) -> None:
    name = apply(session, ready).value["machines"][0]["name"]
    google.body("instances", name)["labels"]["team"] = "others"
    google.answers = [("setLabels", error(412, "conditionNotMet", "Labels fingerprint either invalid or resource labels have changed"))]
    apply(session, ready)
    assert google.body("instances", name)["labels"]["team"] == "payments" and not google.answers


def test_machines_of_another_cluster_under_the_name_are_refused(session: Session, google: Google, ready: Definition) -> None:
    name = apply(session, ready).value["machines"][0]["name"]
    google.body("instances", name)["labels"]["flotilla-uid"] = "0123456789abcdef"
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready)
    assert caught.value.code == "CLUSTER_FOREIGN_UID"


def test_only_named_machines_are_removed(session: Session, google: Google, ready: Definition) -> None:
    names = [machine["name"] for machine in apply(session, ready).value["machines"]]
    gone = machines.removed(session, ready, [names[-1], "payments-general-00000000"])
    assert gone.changed and google.names("instances") == sorted(names[:-1])
    google.body("instances", names[0])["labels"]["flotilla-cluster"] = "other"
    with pytest.raises(FlotillaError) as caught:
        machines.removed(session, ready, [names[0], names[1]])
    assert caught.value.code == "MACHINES_FOREIGN" and google.names("instances") == sorted(names[:-1])


def test_pages_may_be_empty(session: Session, google: Google, ready: Definition) -> None:
    apply(session, ready)
    google.world.page = 1
    assert len(machines.observed(session, ready).value["machines"]) == 5


def test_the_image_of_a_pool_stays_while_it_lives(session: Session, google: Google, ready: Definition) -> None:
    ready["image"] = {"id": "projects/debian-cloud/global/images/debian-13-trixie-v20260915"}
    apply(session, ready)
    # The definition's word for it means another one by now.
    cloud = machines.Gce(session, machines.names.place(ready), ready, network.base(session, machines.names.place(ready)))
    groups = [cloud.group(group) for group in machines.fleet.planning.desired_groups(ready)]
    cloud.choose_images(groups, cloud.observe())
    assert {found.id for found in cloud.images.values()} == {ready["image"]["id"]}


@pytest.mark.parametrize(
    ("wanted", "architecture", "found"),
    [
        ({"family": "debian-13"}, "amd64", "debian-13-trixie-v20261015"),
        ({"family": "debian-13"}, "arm64", "debian-13-trixie-arm64-v20261015"),
        ({"id": "projects/debian-cloud/global/images/family/debian-12"}, "amd64", "debian-12-bookworm-v20260915"),
        ({"id": "projects/debian-cloud/global/images/debian-13-trixie-v20260915"}, "amd64", "debian-13-trixie-v20260915"),
    ],
)
def test_images(session: Session, google: Google, wanted: dict[str, Any], architecture: str, found: str) -> None:
    assert image.resolve(session, wanted, architecture).name == found


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"family": "debian-99"}, "GCP_IMAGE_FAMILY"),
        ({"id": "projects/debian-cloud/global/images/none"}, "GCP_IMAGE_NONE"),
        ({"id": "none"}, "GCP_IMAGE_NONE"),
        ({"id": "a/b/c/d/e/f/g"}, "GCP_IMAGE_NONE"),
        ({"id": "projects/debian-cloud/global/images/debian-13-trixie-arm64-v20261015"}, "GCP_IMAGE_ARCHITECTURE"),
    ],
)
def test_images_that_can_not_be_had(session: Session, google: Google, wanted: dict[str, Any], code: str) -> None:
    with pytest.raises(FlotillaError) as caught:
        image.resolve(session, wanted)
    assert caught.value.code == code
