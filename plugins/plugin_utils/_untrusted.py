# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values from files and clouds are data, never templates (private to flotilla.kubernetes).

ansible-core 2.19 and newer template only text that was marked as trusted, which nothing of ours is. Older releases template every text
unless it is marked as unsafe. Only texts that could be a template are marked: an inventory sync of AWX shows marked ones as dictionaries.
"""

from __future__ import annotations

from typing import Any

try:
    from ansible.template import trust_as_template as _trust

    TEXTS_ARE_DATA = _trust is not None
except ImportError:
    TEXTS_ARE_DATA = False

_MARKERS = ("{{", "{%", "{#", "#jinja2:")  # the last one could name other delimiters


def as_data(value: Any) -> Any:
    """Return a copy of ``value`` in which no text is ever taken for a template."""
    if TEXTS_ARE_DATA:
        return value
    if isinstance(value, dict):
        return {as_data(key): as_data(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_data(item) for item in value]
    if isinstance(value, str) and any(marker in value for marker in _MARKERS):
        from ansible.utils.unsafe_proxy import wrap_var

        return wrap_var(value)
    return value
