"""Python ends while panels are left: PySide6 then deletes them and what they have, in any order."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy import API_NAME

pytestmark = [
    pytest.mark.gui,
    pytest.mark.skipif(API_NAME != "PySide6", reason="PyQt6 deletes nothing when Python ends"),
]

SESSION = """
    from qtpy.QtWidgets import QApplication, QWidget
    from napari_hmkd.widgets.pause import Pause
    from napari_hmkd.widgets.train_process import TrainProcess

    class Panel:
        def __init__(self):
            self.native, self.part = QWidget(), {part}
            self.native.destroyed.connect(self.on_destroyed)

        def on_destroyed(self, _widget=None):
            self.part.{end}()

        def look(self):
            pass

    application = QApplication([])
    panels = [Panel() for _ in range(20)]
"""


@pytest.mark.parametrize(
    ("part", "end"), [("Pause(100, self.look)", "stop"), ("TrainProcess()", "abandon")]
)
def test_no_panel_complains(qapp, part: str, end: str) -> None:
    session = textwrap.dedent(SESSION.format(part=part, end=end))
    ended = subprocess.run(
        [sys.executable, "-c", session], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
