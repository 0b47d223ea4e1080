"""What a panel said of a file that it could not use does not stand there once another is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.biomarkers import OpenPanel
from tests.widgets.inspector import Opening
from tests.widgets.pressing import PATIENCE_MS

from napari_hmkd.widgets.grade_widget import GradeWidget

pytestmark = pytest.mark.gui
NOBODYS = Path("of nobody.safetensors")


def press_and_wait(panel, button, qtbot) -> None:
    button.native.click()
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    assert NOBODYS.name in panel.status.value


def test_in_grade_her2(widget: GradeWidget, qtbot) -> None:
    about = widget.status.value
    widget.model.listed.value = widget.model.listed.choices[-1]
    widget.start.native.click()
    assert "choose the file" in widget.status.value
    widget.model.file.value = NOBODYS
    assert widget.status.value == about
    press_and_wait(widget, widget.start, qtbot)
    widget.model.listed.value = widget.model.listed.choices[0]
    assert widget.status.value == about


def test_in_predict_biomarkers(open_biomarkers: OpenPanel, qtbot) -> None:
    panel = open_biomarkers()
    about = panel.status.value
    panel.form.model.value = NOBODYS
    press_and_wait(panel, panel.start, qtbot)
    panel.form.model.value = None
    assert panel.status.value == about


def test_in_show_attention(open_inspector: Opening, student_file: Path, qtbot) -> None:
    panel = open_inspector(with_ihc=False)
    hint = panel.status.value
    panel.form.student.value = NOBODYS
    press_and_wait(panel, panel.inspect, qtbot)
    panel.form.student.value = student_file
    assert panel.status.value == hint
