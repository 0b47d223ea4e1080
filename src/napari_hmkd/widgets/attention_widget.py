"""The dock widget that shows where student and teacher look."""

from __future__ import annotations

import napari.layers
import napari.viewer
from magicgui.widgets import CheckBox, Container, FileEdit, Label, PushButton

from napari_hmkd.errors import HmkdError
from napari_hmkd.widgets.attention_run import AttentionRun, AttentionShown, student_grid
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.viewing import to_level0, visible_region

_WEIGHTS = "*.safetensors"
_HINT = "Switch on 'Follow the cursor' and point at a tile, or press the button."


class AttentionWidget(Container):
    """Received attention of the tile under the cursor, over the H&E at true scale.

    The student's maps need the H&E alone; the teacher's need the registered IHC slide too.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._viewer = napari_viewer
        self.run = AttentionRun(napari_viewer)
        self.slide = SlideChoice(napari_viewer, label="H&E slide")
        self.ihc = SlideChoice(napari_viewer, label="IHC slide", nullable=True)
        self.student = FileEdit(label="Student file", mode="r", filter=_WEIGHTS, nullable=True)
        self.teacher = FileEdit(label="Teacher file", mode="r", filter=_WEIGHTS, nullable=True)
        self.follow = CheckBox(text="Follow the cursor")
        self.show_middle = PushButton(text="Show the tile in the middle of the view")
        self.status = Label(value=_HINT)
        super().__init__(
            widgets=[
                self.slide, self.ihc, self.student, self.teacher,
                self.follow, self.show_middle, self.status,
            ]
        )  # fmt: skip
        self.status.native.setWordWrap(True)
        for field, name in ((self.student, "demo student"), (self.teacher, "demo teacher")):
            field.line_edit.native.setPlaceholderText(name)
        self._last: tuple[object, ...] | None = None
        self.show_middle.clicked.connect(self.show_tile_in_middle)
        self.run.shown.connect(self._on_shown)
        self.run.failed.connect(self._on_failed)
        napari_viewer.mouse_move_callbacks.append(self._on_mouse_move)
        self.native.destroyed.connect(self._on_destroyed)

    def show_tile_in_middle(self) -> None:
        """Show the attention of the tile in the middle of the view."""
        if self.slide.value is None:
            self._complain("Open a slide first.")
            return
        self._last = None
        focus, _ = visible_region(self._viewer, self.slide.value)
        self.show_tile_at(*focus)

    def show_tile_at(self, y_px: float, x_px: float) -> None:
        """Show the attention of the tile at a position in level-0 px of the H&E slide."""
        layer = self.slide.value
        slide = self.slide.chosen
        if slide is None:
            return
        student, teacher = self._names()
        try:
            tile = student_grid(slide, student).tile_at(y_px, x_px)
            request = (layer, tile, student, teacher, self.ihc.value)
            if tile is None or request == self._last:
                return
            self._last = request
            self.status.value = f"Looking at tile {tile} ..."
            self.run.show(layer, tile, student, teacher, self.ihc.value)
        except HmkdError as error:
            self._complain(str(error))

    def _names(self) -> tuple[str, str]:
        return str(self.student.value or "demo"), str(self.teacher.value or "demo-teacher")

    def _on_mouse_move(self, _viewer: object, event: object) -> None:
        if self.follow.value and self.slide.value is not None:
            self.show_tile_at(*to_level0(self.slide.value, event.position))  # type: ignore[attr-defined]

    def _on_shown(self, result: AttentionShown) -> None:
        row, column = result.tile
        teacher = (
            "The teacher's maps and the coarser levels are hidden layers."
            if result.with_teacher
            else "The teacher's needs the registered IHC slide."
        )
        self.status.value = (
            f"Row {row}, column {column}: the student's received attention. {teacher}"
        )

    def _on_failed(self, message: str) -> None:
        self._last = None
        self._complain(message)

    def _complain(self, message: str) -> None:
        self.status.value = message

    def _on_destroyed(self, _widget: object = None) -> None:
        self._viewer.mouse_move_callbacks.remove(self._on_mouse_move)
        self.run.close()
