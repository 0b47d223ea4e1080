"""The patches with most attention as pictures that lead to their place."""

from __future__ import annotations

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QListView, QListWidget, QListWidgetItem

from napari_hmkd.widgets.biomarker_run import TopPatches

_SIDE_PX = 80


class PatchGallery(QListWidget):
    """Pictures with their attention, the first the most; a click or Enter chooses one. Hidden while empty.

    Signals
    -------
    chosen(tile)
        Its (row, column).
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(_SIDE_PX, _SIDE_PX))
        self.setMinimumHeight(round(1.4 * _SIDE_PX))
        self.setAccessibleName("patches with most attention")
        self.itemClicked.connect(self._choose)
        self.itemActivated.connect(self._choose)
        self.hide()

    def show_patches(self, patches: TopPatches | None) -> None:
        """Show the patches of a target, none for None."""
        self.clear()
        self.setVisible(patches is not None)
        if patches is None:
            return
        for tile, attention, picture in zip(
            patches.tiles.tolist(), patches.attention.tolist(), patches.pictures, strict=True
        ):
            item = QListWidgetItem(QIcon(_pixmap(picture)), f"{attention:.2f} x")
            item.setData(Qt.ItemDataRole.UserRole, tuple(tile))
            item.setToolTip(
                f"row {tile[0]}, column {tile[1]}: {attention:.2f} times an even share of the attention"
            )
            self.addItem(item)

    def _choose(self, item: QListWidgetItem) -> None:
        self.chosen.emit(item.data(Qt.ItemDataRole.UserRole))


def _pixmap(picture: np.ndarray) -> QPixmap:
    """Of a picture, uint8 (h, w, 3)."""
    height, width, _ = picture.shape
    image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image).scaled(
        _SIDE_PX,
        _SIDE_PX,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
