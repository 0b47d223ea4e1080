"""Numbers are typed with a point or a comma, whatever the window's language."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtCore import QLocale, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_hmkd.widgets.grade_widget import GradeWidget

pytestmark = pytest.mark.gui


@pytest.fixture(params=["C", "en_US", "de_DE", "fr_FR"])
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    before = QLocale()
    QLocale.setDefault(QLocale(request.param))
    yield request.param
    QLocale.setDefault(before)


@pytest.mark.parametrize("typed", ["0.25", "0,25"])
@pytest.mark.parametrize("pasted", [False, True], ids=["typed", "pasted"])
def test_a_pixel_size_is_what_was_written(language: str, typed: str, pasted: bool, viewer) -> None:
    field = GradeWidget(viewer).mpp.native
    line = field.lineEdit()
    line.selectAll()
    if pasted:
        QApplication.clipboard().setText(typed)
        line.paste()
    else:
        QTest.keyClicks(line, typed)
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert field.value() == 0.25


@pytest.mark.parametrize("typed", ["0.2.5", "0,2,5", "1.234,5"])
def test_a_second_point_is_left_out(language: str, typed: str, viewer) -> None:
    field = GradeWidget(viewer).mpp.native
    QTest.keyClicks(field.lineEdit(), typed)
    assert field.lineEdit().text().count(QLocale().decimalPoint()) == 1
