# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of what Kubernetes knows, against the programs that the bundle ships.

The newest release of the catalogue stands for all: one program writes every table. Its binaries are compiled here if no bundle was built.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import tables

ROOT = Path(__file__).resolve().parents[2]
RELEASE = catalogue.RELEASES[0]
TABLE = tables.table(RELEASE.kubernetes)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    loader = SourceFileLoader("kubernetes_tables", str(ROOT / "tools/kubernetes-tables"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def programs(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the release's own programs."""
    return generator.Builder(RELEASE, tmp_path_factory.mktemp("build")).binaries("kubernetes")


def run(program: Path, *arguments: str) -> str:
    done = subprocess.run(
        [program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout


def test_a_table_that_is_made_again_is_the_same(generator: ModuleType, tmp_path: Path) -> None:
    made = generator.text(generator.table(RELEASE, tmp_path))
    assert made == (tables.FOLDER / f"{RELEASE.minor}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("component", tables.COMPONENTS)
def test_a_component_shows_the_flags_of_its_table(programs: Path, component: str) -> None:
    shown = set(re.findall(r"^ {1,6}(?:-\w, )?--([\w-]+)", run(programs / component, "--help"), re.M)) - {"help"}
    flags = TABLE.flags[component]
    assert shown == {name for name, flag in flags.items() if not flag.get("hidden")}


@pytest.mark.parametrize("component", tables.COMPONENTS)
def test_a_component_takes_the_hidden_flags_of_its_table_and_no_others(programs: Path, component: str) -> None:
    unknown = "unknown flag: --no-such-flag"
    assert unknown in run(programs / component, "--no-such-flag=1", "--version")
    hidden = [name for name, flag in TABLE.flags[component].items() if flag.get("hidden")]
    for name in hidden:
        # Whether 1 is a good value does not matter here.
        assert "unknown flag" not in run(programs / component, f"--{name}=1", "--version"), name
    for name, flag in TABLE.flags[component].items():
        if flag.get("deprecated") and name not in ("version", "config"):
            assert "unknown flag" not in run(programs / component, f"--{name}=1", "--version"), name


def test_the_feature_gates_that_kube_apiserver_shows(programs: Path) -> None:
    shown = re.findall(r"kube:(\w+)=true\|false \((ALPHA|BETA) - default=(true|false)\)", run(programs / "kube-apiserver", "--help"))
    gates = TABLE.gates("kube-apiserver")
    assert len(shown) > 50
    assert {name: {"stage": stage, "default": default == "true"} for name, stage, default in shown} == {
        name: {"stage": gate["stage"], "default": gate["default"]} for name, gate in gates.items() if gate["stage"] in ("ALPHA", "BETA")
    }


def test_what_kube_apiserver_says_of_the_gates_that_it_does_not_show(programs: Path) -> None:
    gates = TABLE.gates("kube-apiserver")
    locked = [name for name, gate in sorted(gates.items()) if gate.get("locked")]
    free = [name for name, gate in sorted(gates.items()) if not gate.get("locked") and gate["stage"] in ("GA", "DEPRECATED")]
    assert locked and free

    def answer(name: str) -> str:
        value = str(not gates.get(name, {"default": False})["default"]).lower()
        return run(programs / "kube-apiserver", f"--feature-gates={name}={value}", "--version")

    for name in locked[:: max(1, len(locked) // 10)]:
        assert "feature is locked" in answer(name), name
    for name in free:
        assert answer(name).endswith(f"Kubernetes v{RELEASE.kubernetes}\n"), name
    assert "unrecognized feature gate: NoSuchGate" in answer("NoSuchGate")


def test_the_admission_plugins_that_kube_apiserver_shows(programs: Path) -> None:
    text = run(programs / "kube-apiserver", "--help")
    (default, known) = re.search(
        r"--enable-admission-plugins strings +.*?default enabled ones \((.*?)\)\. Comma-delimited list of admission plugins: (.*?)\.", text
    ).groups()
    assert set(default.split(", ")) == {name for name, on in TABLE.admission_plugins.items() if on}
    assert set(known.split(", ")) == set(TABLE.admission_plugins)


def test_kubeadm_takes_its_feature_gates_and_no_others(programs: Path) -> None:
    listed = re.findall(r"^\s+(\w+)=true\|false \(", run(programs / "kubeadm", "init", "--help"), re.M)
    gates = TABLE.gates("kubeadm")
    # It shows neither those that are locked nor those that are deprecated, but takes them.
    assert set(listed) <= set(gates)
    for name in [*gates, "NoSuchGate"]:
        answer = run(
            programs / "kubeadm", "config", "images", "list", f"--feature-gates={name}=true", f"--kubernetes-version=v{RELEASE.kubernetes}"
        )
        assert ("unrecognized feature-gate key" in answer) == (name == "NoSuchGate"), answer
