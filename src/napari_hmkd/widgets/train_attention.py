"""The latest picture of attention in a run's folder, as large as its place allows."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap, QResizeEvent
from qtpy.QtWidgets import QLabel, QSizePolicy

_MIN_HEIGHT_PX = 280
_MEANING = "H&E, and what each token receives of the teacher's and of the student's attention"


class AttentionPicture(QLabel):
    """Shows the picture of the last epoch that a run has one of.

    Attributes
    ----------
    path : pathlib.Path or None
        The picture shown, None where there is none yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None
        self._folder: Path | None = None
        self._pixels = QPixmap()
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setMinimumHeight(_MIN_HEIGHT_PX)
        # A label asks for its picture's size, which would keep the panel from being made narrower.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setAccessibleName(_MEANING)
        self.setToolTip(_MEANING)

    def show_run(self, folder: Path) -> None:
        """Show another run's pictures, from what is there already."""
        self._folder = folder
        self._take(None)
        self.refresh()

    def refresh(self) -> None:
        """Look for the picture of a later epoch."""
        if self._folder is None:
            return
        # 1000 follows 999.
        found = sorted(self._folder.glob("epoch_*.png"), key=lambda path: (len(path.name), path))
        if found and found[-1] != self.path:
            self._take(found[-1])

    def _take(self, path: Path | None) -> None:
        self.path = path
        self._pixels = QPixmap() if path is None else QPixmap(str(path))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the picture within its place."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self._pixels.isNull():
            self.clear()
            return
        ratio = self.devicePixelRatioF()
        fitted = self._pixels.scaled(
            self.size() * ratio,
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        fitted.setDevicePixelRatio(ratio)
        self.setPixmap(fitted)
