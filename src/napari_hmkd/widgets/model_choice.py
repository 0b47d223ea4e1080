"""The choice of a student: the demo, one trained in this session, or a file."""

from __future__ import annotations

from magicgui.widgets import ComboBox, FileEdit

from napari_hmkd.errors import ModelError
from napari_hmkd.widgets.finished_models import finished_students
from napari_hmkd.widgets.notice import keep_narrow

_DEMO = "demo student (procedural tissue)"
_FROM_FILE = "from a file ..."


class ModelChoice:
    """Fields to choose a student in, to be laid out in a panel.

    Attributes
    ----------
    listed : ComboBox
        The demo, the students trained in this session, and "from a file".
    file : FileEdit
        Shown where that is chosen.
    fields : list of magicgui widgets
        Both.
    """

    def __init__(self) -> None:
        self.listed = ComboBox(label="Model", choices=_choices)
        self.file = FileEdit(label="Student file", mode="r", filter="*.safetensors", nullable=True)
        self.fields = [self.listed, self.file]
        keep_narrow(self.listed)
        self.listed.changed.connect(self._on_listed_chosen)
        finished_students.changed.connect(self.listed.reset_choices)
        self._on_listed_chosen()

    @property
    def name(self) -> str:
        """The model's registered name or its file, as `open_model` takes it.

        Raises
        ------
        ModelError
            If a file is to be chosen and none is.
        """
        if self.listed.value == _DEMO:
            return "demo"
        if self.listed.value != _FROM_FILE:
            return self.listed.value
        if self.file.value is None:
            raise ModelError("grading with a model from a file was asked for: choose the file")
        return str(self.file.value)

    def close(self) -> None:
        """Hear of no more trained students: the panel is going away."""
        finished_students.changed.disconnect(self.listed.reset_choices)

    def _on_listed_chosen(self, _value: object = None) -> None:
        self.file.visible = self.listed.value == _FROM_FILE


def _choices(_widget: object) -> list[tuple[str, str]]:
    """Labels and values."""
    trained = [(label, str(path)) for label, path in finished_students.choices()]
    return [(_DEMO, _DEMO), *trained, (_FROM_FILE, _FROM_FILE)]
