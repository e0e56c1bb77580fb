# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything on a real controller: make acceptance-awx, with CONTROLLER_HOST and CONTROLLER_OAUTH_TOKEN of one that tests may use.

FLOTILLA_AWX_VARIABLES is a file with the variables of the role `awx_setup`: project, image, foundations and credentials whose clusters
answer. All of them are brought to the version that their definitions say.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from ansible_collections.flotilla.kubernetes.plugins.module_utils._awx.objects import foundation_id
from awx import site
from awx.walk import Api, walk

HOST, TOKEN = os.environ.get("CONTROLLER_HOST", ""), os.environ.get("CONTROLLER_OAUTH_TOKEN", "")
VERIFY = os.environ.get("CONTROLLER_VERIFY_SSL", "true").lower() not in ("false", "no", "0")


def variables() -> dict[str, Any]:
    path = os.environ.get("FLOTILLA_AWX_VARIABLES")
    assert path, "set FLOTILLA_AWX_VARIABLES to a file with the variables of awx_setup; docs/awx.md shows one"
    return dict(yaml.safe_load(Path(path).read_text(encoding="utf-8")))


def test_everything_on_a_real_controller(tmp_path):
    assert HOST and TOKEN, "set CONTROLLER_HOST and CONTROLLER_OAUTH_TOKEN to those of a controller that tests may use"
    given = variables()
    address = {key: value for key, value in os.environ.items() if key.startswith("CONTROLLER_")}
    first = site.setup(tmp_path, address, variables=given)
    assert first.status == 0, first.output[-6000:]
    again = site.setup(tmp_path, address, variables=given)
    # AWX shows no secrets, so awx.awx takes notifications that have some for changed.
    expected = 1 if given.get("awx_setup_notification_configurations") else 0
    assert (again.status, again.changed) == (0, expected), again.output[-6000:]
    foundation = foundation_id(given["awx_setup_foundations"][0]["source_path"])
    prefix = given.get("awx_setup_prefix", "flotilla")
    walk(Api(HOST, TOKEN, 7200, VERIFY), foundation, {"kubernetes_version": "latest-patch"}, "successful", prefix)
