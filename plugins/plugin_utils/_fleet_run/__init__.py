# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run over a fleet: a process of its own that begins a run in one cluster after another (private to flotilla.kubernetes).

`driver` decides and begins, `cluster` is the process of one cluster's run, `launch` becomes its ansible-playbook, `journal` is what they
write down and what everybody else reads, `place` is where all that lies.
"""
