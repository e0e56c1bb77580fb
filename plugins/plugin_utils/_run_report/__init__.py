# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: what is kept of it, what that means, and how it is shown (private to flotilla.kubernetes).

`record` turns results of tasks into records, `summary` records into a report, `junit` and `page` show it: all pure. `folder` knows files.
"""
