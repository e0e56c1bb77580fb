# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loaded by Python at its start in every process of a run that is not in the test's own: gives it the clock."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

# The controller's own processes stay as they are: only the module is under test.
if os.environ.get("FLOTILLA_TEST_CLOCK") and not Path(sys.argv[0] if sys.argv else "").name.startswith("ansible"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from clouds.clock import Clock

    _for_ever = contextlib.ExitStack()
    _for_ever.enter_context(Clock(Path(os.environ["FLOTILLA_TEST_CLOCK"])).installed())
