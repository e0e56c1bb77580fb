# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what kubectl's differences say."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import manifest

SHOWN = """diff -u -N /tmp/LIVE-2837/v1.ConfigMap.kube-flannel.kube-flannel-cfg /tmp/MERGED-1123/v1.ConfigMap.kube-flannel.kube-flannel-cfg
--- /tmp/LIVE-2837/v1.ConfigMap.kube-flannel.kube-flannel-cfg\t2026-11-22 11:00:00.000000000 +0000
+++ /tmp/MERGED-1123/v1.ConfigMap.kube-flannel.kube-flannel-cfg\t2026-11-22 11:00:00.000000000 +0000
@@ -0,0 +1,2 @@
+apiVersion: v1
+kind: ConfigMap
diff -u -N /tmp/LIVE-2837/v1.Namespace..kube-flannel /tmp/MERGED-1123/v1.Namespace..kube-flannel
"""


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch):
    def answer(error: FlotillaError | None):
        def run(*_arguments, **_options):
            if error:
                raise error
            return ""

        monkeypatch.setattr(manifest, "run", run)

    return answer


def difference() -> str:
    return manifest.difference("content", Path("/run/kubeconfig"), 5)


def test_a_difference_names_its_objects_and_is_the_same_each_time(kubectl) -> None:
    kubectl(FlotillaError("X", "differs", details={"rc": 1, "stdout": SHOWN, "stderr": ""}))
    shown = difference()
    assert "LIVE-" not in shown and "MERGED-" not in shown
    assert manifest.objects_of(shown) == ["v1.ConfigMap.kube-flannel.kube-flannel-cfg", "v1.Namespace..kube-flannel"]


def test_no_difference_is_nothing(kubectl) -> None:
    kubectl(None)
    assert difference() == "" and manifest.objects_of("") == []


def test_an_object_in_a_namespace_that_is_yet_to_come_is_new_and_other_errors_are_raised(kubectl) -> None:
    kubectl(FlotillaError("X", "failed", details={"rc": 2, "stdout": "", "stderr": 'namespaces "payments" not found'}))
    assert "payments" in difference()
    kubectl(FlotillaError("X", "failed", details={"rc": 2, "stdout": "", "stderr": "refused"}))
    with pytest.raises(FlotillaError):
        difference()
