"""The fields of the Train panel."""

from __future__ import annotations

from pathlib import Path

from magicgui.widgets import ComboBox, Container, FileEdit, LineEdit, SpinBox
from psygnal import Signal

from napari_hmkd.widgets.device_choice import device_choice
from napari_hmkd.widgets.train_command import PROCEDURAL, TrainRequest

_ROLES = [("teacher (H&E + IHC)", "teacher"), ("student (H&E alone)", "student")]
_FOLDER, _MANIFEST = "folder", "manifest"
_SOURCES = [
    ("procedural cohort", PROCEDURAL),
    ("folder of BCI or MIST", _FOLDER),
    ("manifest file (CSV)", _MANIFEST),
]


class TrainForm(Container):
    """What to build, from which data, where to.

    Signals
    -------
    edited()
        A field has changed.
    """

    edited = Signal()

    def __init__(self) -> None:
        self.role = ComboBox(label="Build a", choices=_ROLES)
        self.source = ComboBox(label="Data", choices=_SOURCES)
        self.data = FileEdit(label="Data path", mode="d", nullable=True)
        self.teacher = FileEdit(
            label="Teacher file", mode="r", filter="*.safetensors", nullable=True
        )
        self.out = FileEdit(label="Run folder", mode="d", nullable=True)
        self.epochs = SpinBox(label="Epochs", value=30, min=1, max=100_000)
        self.batch_size = SpinBox(label="Batch size", value=16, min=1, max=4096)
        self.device = device_choice()
        self.more = LineEdit(label="Options")
        super().__init__()
        # Not through __init__, which does not align the labels.
        self.extend(
            [
                self.role, self.source, self.data, self.teacher, self.out, self.epochs,
                self.batch_size, self.device, self.more,
            ]
        )  # fmt: skip
        self._set_up()

    def _set_up(self) -> None:
        for field in (self.data, self.teacher, self.out):
            field.choose_btn.text = "..."
            field.choose_btn.native.setMaximumWidth(32)
        self.out.line_edit.native.setPlaceholderText("a new folder, or one to go on in")
        self.teacher.line_edit.native.setPlaceholderText("teacher.safetensors of a finished run")
        self.more.native.setPlaceholderText("--method hinton --mpp 0.5")
        self.more.tooltip = "As in a terminal; `napari-hmkd-train student --help` lists them all."
        for field in self:
            field.changed.connect(self._on_edited)
        self._on_edited()

    @property
    def request(self) -> TrainRequest:
        """The run that the fields ask for."""
        data = PROCEDURAL if self.source.value == PROCEDURAL else str(self.data.value or "")
        return TrainRequest(
            role=self.role.value,
            data=data,
            teacher=self.teacher.value if self.role.value == "student" else None,
            out=self.out.value,
            epochs=self.epochs.value,
            batch_size=self.batch_size.value,
            device=self.device.value,
            more=self.more.value,
        )

    def offer_teacher(self, path: Path) -> None:
        """Put a finished teacher into its empty field."""
        if self.teacher.value is None:
            self.teacher.value = path

    def set_enabled(self, enabled: bool) -> None:
        """Let the fields be edited, or hold them while a run is under way."""
        for field in self:
            field.enabled = enabled

    def _on_edited(self, _value: object = None) -> None:
        self.data.visible = self.source.value != PROCEDURAL
        self.teacher.visible = self.role.value == "student"
        self.data.mode = "r" if self.source.value == _MANIFEST else "d"
        self.data.filter = "*.csv" if self.source.value == _MANIFEST else None
        self.data.choose_btn.text = "..."
        self.edited.emit()
