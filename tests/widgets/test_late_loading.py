"""The plugin is loaded by napari, in a window that is drawn already."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

pytestmark = pytest.mark.gui
PROGRAM = """
import napari
from qtpy.QtTest import QTest
viewer = napari.Viewer()
QTest.qWait(300)
_, panel = viewer.window.add_plugin_dock_widget("napari-hmkd", "Grade HER2")
print(panel.status.value)
viewer.close()
"""


@pytest.mark.slow
def test_the_panel_opens_in_a_window_whose_graphics_driver_is_loaded(viewer) -> None:
    """Where it is Mesa's, its LLVM and that of torch's triton meet, which once ended the process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Open a slide first" in done.stdout
