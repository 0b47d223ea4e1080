"""Numbers typed with a point or with a comma."""

from __future__ import annotations

from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox


def take_either_point(box: QDoubleSpinBox) -> None:
    """Have a field take both a point and a comma for its language's decimal point.

    Qt leaves the other one out as it is typed: with German settings 0.25, as files and scanners write
    it, became 2. The field is to show no thousands.
    """
    box.lineEdit().setValidator(_EitherPoint(box))


class _EitherPoint(QValidator):
    def __init__(self, box: QDoubleSpinBox) -> None:
        super().__init__(box)
        self._box = box

    def validate(self, text: str, position: int) -> object:
        point = self._box.locale().decimalPoint()
        return self._box.validate(text.replace(",", point).replace(".", point), position)
