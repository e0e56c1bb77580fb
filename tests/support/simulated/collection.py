# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A collections path whose flotilla.kubernetes is this repository, with modules that also work on simulated machines.

All of it are links, so playbooks, roles, action plugins, filters and what modules import are the real ones. Of a module it is the real
text with one more import at its beginning, see `stand_in`.
"""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
FIRST = "from __future__ import annotations\n"
STAND_IN = "from ..module_utils._simulated.stand_in import stand_in\n\nstand_in({name!r})\n"
LINKED = ("galaxy.yml", "meta", "playbooks", "roles")
# What of this folder works inside of modules.
INSIDE = ("__init__.py", "api.py", "cluster.py", "stand_in.py")


def build(folder: Path, repository: Path = REPOSITORY) -> Path:
    """Make the collections path ``folder`` and return it.

    :param repository: of which it is made.
    """
    made = folder / "ansible_collections/flotilla/kubernetes"
    made.mkdir(parents=True)
    for name in LINKED:
        (made / name).symlink_to(repository / name)
    real = repository / "plugins"
    plugins = made / "plugins"
    for name in ("modules", "module_utils", "connection"):
        (plugins / name).mkdir(parents=True)
    for path in real.iterdir():
        if path.name not in ("modules", "module_utils", "__pycache__"):
            (plugins / path.name).symlink_to(path)
    for path in (real / "module_utils").iterdir():
        if path.name != "__pycache__":
            (plugins / "module_utils" / path.name).symlink_to(path)
    inside = plugins / "module_utils/_simulated"
    inside.mkdir()
    for name in INSIDE:
        (inside / name).symlink_to(HERE / name)
    (plugins / "connection/simulated.py").symlink_to(HERE / "connection.py")
    for path in (real / "modules").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.stem != "__init__":
            head, found, rest = text.partition(FIRST)
            if not found:
                raise ValueError(f"{path} does not begin as the modules of this collection do")
            # After the documentation, which is no import, and before the first one.
            where = rest.index("\nimport ") if "\nimport " in rest else len(rest)
            where = min(where, rest.index("\nfrom ") if "\nfrom " in rest else len(rest))
            text = f"{head}{found}{rest[:where]}\n{STAND_IN.format(name=path.stem)}{rest[where:]}"
        (plugins / "modules" / path.name).write_text(text, encoding="utf-8")
    return folder
