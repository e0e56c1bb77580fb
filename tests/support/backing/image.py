# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of a backing's machines: the local cloud's node image with cloud-init, as images of clouds have it."""

from __future__ import annotations

import hashlib

from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.local import image
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.local.session import Session

from backing.podman import Failed, podman, run, runtime

FAMILY = "debian-13"
REPOSITORY = "localhost/flotilla-backing"
_RECIPE = """\
FROM {base}
RUN apt-get --quiet=2 update && DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 install --yes --no-install-recommends cloud-init \\
    && rm -rf /var/lib/apt/lists/* /var/cache/apt
"""


def ensure() -> str:
    """Return the image's name; it is made first where it is not there."""
    recipe = _RECIPE.format(base=image.ensure(Session(), FAMILY))
    name = f"{REPOSITORY}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    try:
        podman("image", "exists", name)
    except Failed:
        # chroot: no container is started, which needs what a host in a container does not have.
        options = ["--isolation", "chroot", "--network", "host", "--quiet", "--tag", name, "--file", "-"]
        run("podman", *runtime(), "build", *options, data=recipe.encode(), timeout=900)
    return name
