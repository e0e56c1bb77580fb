# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what lets machines join and what becomes of it, with an API server of two methods."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import kubeadm
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import ApiError, Client


class Cluster(Client):
    """The Secrets of kube-system: name -> description of a token, or nothing."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self.secrets = secrets

    def items(self, path: str) -> Iterator[dict]:
        name = path.partition("fieldSelector=")[2]
        for secret, description in list(self.secrets.items()):
            token = secret.startswith("bootstrap-token-")
            if name == ("type%3Dbootstrap.kubernetes.io/token" if token else f"metadata.name%3D{secret}"):
                data = {"description": base64.b64encode(description.encode()).decode()} if description else {}
                yield {"metadata": {"name": secret, "ownerReferences": [{"name": "bootstrap-token-bbbbbb"}]}, "data": data}

    def request(self, method: str, path: str, body: None = None) -> None:
        name = path.rpartition("/")[2]
        if self.secrets.pop(name, None) is None:
            raise ApiError(404, method, path, "not found")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(
        {
            "bootstrap-token-aaaaaa": kubeadm.TOKEN_DESCRIPTION,
            "bootstrap-token-bbbbbb": "Proxy for managing TTL for the kubeadm-certs secret",
            "bootstrap-token-cccccc": "of a person",
            "bootstrap-token-dddddd": "",
            "kubeadm-certs": "",
            "flotilla-encryption": "",
        }
    )
    monkeypatch.setattr(kubeadm.Client, "short_lived", lambda *_arguments: made)
    return made


def test_the_secrets_of_runs_are_told_from_those_of_people(cluster: Cluster) -> None:
    assert kubeadm.join_secrets(cluster) == ["bootstrap-token-aaaaaa", "bootstrap-token-bbbbbb", "flotilla-encryption", "kubeadm-certs"]


def test_what_killed_runs_left_is_deleted_and_nothing_else(cluster: Cluster) -> None:
    assert kubeadm.delete_join_secret("10.0.0.11", "flotilla", None) is True
    assert sorted(cluster.secrets) == ["bootstrap-token-cccccc", "bootstrap-token-dddddd"]
    assert kubeadm.delete_join_secret("10.0.0.11", "flotilla", None) is False


def test_a_run_deletes_its_own_token_and_the_certificates(cluster: Cluster) -> None:
    cluster.secrets["bootstrap-token-eeeeee"] = kubeadm.TOKEN_DESCRIPTION
    assert kubeadm.delete_join_secret("10.0.0.11", "flotilla", "aaaaaa") is True
    assert sorted(cluster.secrets) == ["bootstrap-token-cccccc", "bootstrap-token-dddddd", "bootstrap-token-eeeeee"]
