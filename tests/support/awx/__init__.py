# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An automation controller on this machine, for tests: what AWX 24.6.1 keeps, refuses and answers, as far as our objects need it.

`rules` is what AWX checks of fields, `store` what it keeps, `jobs` how it runs workflows, `server` its API.
"""
