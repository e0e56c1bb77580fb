# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real machines behind a cloud's endpoint: what the API says runs, runs, in containers of this host.

`picture` says in words of no cloud what a backing has to know, `aws` and its like read it from an API, and the others make it real:
`network` (a bridge with the whole network's addresses, and its resolver), `machines` (node containers with the real cloud-init),
`balancers` (HAProxy) with `health`, and `keeper`, which does so again and again. `python -m backing --help` runs it by hand.
"""
