# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWX: what it is told to hold, and how the plan of a fleet travels through its workflows (private to flotilla.kubernetes). Pure."""
