# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make upstream's test image agnhost (servers and clients for network tests) from the pinned sources of a Kubernetes version.

usage: tools/run python tests/e2e/agnhost.py [KUBERNETES_VERSION]     prints the image's name and the path of its docker-archive
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "collection"))

from ansible_collections.flotilla.kubernetes.plugins.module_utils import _paths
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue, image_archive, images, toolchain
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.components import COMPONENTS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.gomodule import Compiler
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.progress import Report
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.source import controller_architecture

MODULES = ROOT / "tests/e2e/modules"
# Pinned apart from Kubernetes: it needs a module more. `tools/new-module agnhost 1.36.3` writes that.
COMPONENT = dataclasses.replace(
    COMPONENTS["kubernetes"], name="agnhost", commands={"agnhost": "k8s.io/kubernetes/test/images/agnhost"}, disk_mib=700
)


def make(version: str) -> tuple[str, Path]:
    """Return the name of the image (with upstream's tag) and its docker-archive, made unless it is there.

    :raises FlotillaError: it does not compile.
    """
    release, cache = catalogue.release(version), _paths.cache_dir()
    folder = cache / "test-images"
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(lambda event: print(event["line"], file=sys.stderr), "agnhost")
    architecture = controller_architecture()
    compiler = Compiler(cache, MODULES, architecture, lambda: toolchain.find(release.go, cache), folder / "agnhost.log", report)
    built, _compiled = compiler.build(COMPONENT, version)
    source = Path(compiler.source(COMPONENT, version)["Dir"])
    tag = (source / "test/images/agnhost/VERSION").read_text(encoding="utf-8").strip()
    name, target = f"registry.k8s.io/e2e-test-images/agnhost:{tag}", folder / f"agnhost-{tag}.tar"
    entries = (image_archive.Entry("agnhost", built.directory / "agnhost"), *images.system("busybox"))
    temporary = target.with_suffix(".tmp")
    image_archive.write(image_archive.Image(name, entries, architecture, ("/agnhost",)), temporary)
    temporary.replace(target)
    return name, target


if __name__ == "__main__":
    print(*make(sys.argv[1] if len(sys.argv) > 1 else catalogue.RELEASES[0].kubernetes))
