# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The suite's NSX manager is strict: of each good body, one thing that is wrong is refused."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import load_balancer, network
from clouds.nsx import schema
from clouds.nsx.schema import Refused

MEMBERS = [{"id": f"vm-{number}", "address": f"10.20.0.{number + 3}", "state": "active"} for number in range(3)]


@pytest.fixture
def bodies(nsx, session, definition):
    """What the modules send, each body with the struct that it is of."""
    network.present(session, definition)
    load_balancer.present(session, definition, MEMBERS)
    found = [(path, schema.route(method, f"{schema.PREFIX}{path}").body, body) for method, path, body in nsx.bodies]
    assert len(found) >= 20
    return found


def _refused(struct, body):
    try:
        schema.check(struct, body)
    except Refused as error:
        assert error.status == 400
        return True
    return False


def _change(body, path, act):
    """Return a copy of a body in which the holder of a path was changed."""
    changed = copy.deepcopy(body)
    holder = changed
    for part in path[:-1]:
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    act(holder, path[-1])
    return changed


def test_good_bodies_are_taken_and_each_mutation_is_refused(bodies):
    tried = 0
    for path, struct, body in bodies:
        assert not _refused(struct, body), path
        for place, value, field in schema.everything(struct, body):
            if field.own:
                continue
            wrong = {str: 7, bool: "true", int: "7", list: {"a": 1}, dict: ["a"]}[type(value)]
            assert _refused(struct, _change(body, place, lambda holder, key, wrong=wrong: holder.update({key: wrong}))), (path, place)
            assert _refused(struct, _change(body, place, lambda holder, key: holder.update({f"{key}x": holder.pop(key)}))), (path, place)
            tried += 2
            if field.values:
                bad = ["NO_SUCH_VALUE"] if isinstance(value, list) else "NO_SUCH_VALUE"
                assert _refused(struct, _change(body, place, lambda holder, key, bad=bad: holder.update({key: bad}))), (path, place)
                tried += 1
            if field.low is not None:
                assert _refused(struct, _change(body, place, lambda holder, key: holder.update({key: -1}))), (path, place)
        kind = schema.kind_of(struct, body)
        for name in schema.REQUIRED.get(kind, ()):
            assert _refused(struct, {key: value for key, value in body.items() if key != name}), (path, name)
            tried += 1
    assert tried > 250


def test_unknown_routes_queries_parents_and_references_are_refused(nsx):
    with pytest.raises(Refused, match="could not be found"):
        schema.route("PATCH", f"{schema.PREFIX}/infra/tier-1/x")
    with pytest.raises(Refused, match="parent"):
        nsx.put("/infra/tier-1s/none/locale-services/default")
    for body in ({"tier0_path": "/infra/tier-0s/none"}, {"tier0_path": "/infra/tier-1s/shop-a"}, {"tier0_path": "tenant-a"}):
        with pytest.raises(Refused, match="is invalid"):
            nsx.put("/infra/tier-1s/x", **body)
    assert "/infra/tier-1s/x" not in nsx.dump()


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/infra/segments/x", {"subnets": [{"gateway_address": "10.1.0.0/24"}]}, "no host"),
        (
            "/infra/segments/x",
            {"subnets": [{"gateway_address": "10.90.0.129/25"}], "connectivity_path": "/infra/tier-1s/shop-a"},
            "overlaps",
        ),
        (
            "/infra/segments/x",
            {"subnets": [{"gateway_address": "10.1.0.1/24", "dhcp_ranges": ["10.1.0.9-10.1.0.20"]}]},
            "without the others",
        ),
        ("/infra/lb-services/x", {"connectivity_path": "/infra/tier-1s/bare"}, "needs an edge cluster"),
        ("/infra/tier-1s/bare/nat/USER/nat-rules/x", {"action": "NO_SNAT"}, "needs an edge cluster"),
        ("/infra/tier-1s/shop-a/nat/USER/nat-rules/x", {"action": "SNAT"}, "needs source_network"),
        ("/infra/lb-pools/x", {"members": [{"ip_address": "10.1.0.1", "port": "1"}] * 2}, "are the same"),
        ("/infra/lb-pools/x", {"members": [{"ip_address": "one"}]}, "Invalid address"),
        (
            "/infra/ip-pools/floating-a/ip-subnets/x",
            {"resource_type": "IpAddressPoolBlockSubnet", "ip_block_path": "/infra/ip-blocks/nodes-a", "size": 20},
            "no power of two",
        ),
    ],
)
def test_what_types_do_not_say_is_refused_too(nsx, path, body, said):
    nsx.put("/infra/tier-1s/bare", tier0_path="/infra/tier-0s/tenant-a")
    with pytest.raises(Refused, match=said):
        nsx.put(path, **body)


def test_revisions_references_realization_and_the_lag_of_the_search(nsx, session):
    path = "/infra/tier-1s/x"
    session.call("PATCH", path, {"tier0_path": "/infra/tier-0s/tenant-b", "tags": [{"scope": "a", "tag": "b c"}]})
    entry = session.call("GET", path)
    assert entry["_revision"] == 0 and entry["resource_type"] == "Tier1" and entry["display_name"] == "x"
    assert (
        session.search(tags__tag="b c") == []
        and session.call("GET", "/infra/realized-state/status", None, intent_path=path)["publish_status"] == "UNREALIZED"
    )
    nsx.clock.advance(10)
    assert [one["path"] for one in session.search(tags__tag="b c")] == [path]
    assert session.call("GET", "/infra/realized-state/status", None, intent_path=path)["publish_status"] == "REALIZED"
    assert session.call("PUT", path, {**entry, "description": "mine"})["_revision"] == 1
    for body in (entry, {key: value for key, value in entry.items() if key != "_revision"}):
        with pytest.raises(Exception, match="revision") as caught:
            session.call("PUT", path, body)
        assert caught.value.code == "NSX_STALE"
    with pytest.raises(Exception, match="referenced by other objects") as caught:
        session.call("DELETE", "/infra/tier-0s/tenant-b")
    assert caught.value.code == "NSX_REFERENCED"
    session.call("DELETE", path)
    assert session.find(path) == {} and len(session.search(tags__tag="b c")) == 1
    with pytest.raises(Exception, match="Search query"):
        session.call("GET", "/search/query", None, query="tags.tag:a-b")
