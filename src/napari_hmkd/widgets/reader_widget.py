"""The dock widget of a reader study: score first, then see what the model says."""

from __future__ import annotations

import napari.viewer
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, Label, LineEdit, PushButton

from napari_hmkd.errors import HmkdError
from napari_hmkd.study.recording import add_score, noted_score
from napari_hmkd.study.scores import GRADE_NAMES, WHOLE_SLIDE, Score
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.slide_choice import SlideChoice

_HINT = "Score a slide to see the model's result. 'napari-hmkd-grade study' compares the scores."


class ReaderWidget(Container):
    """Hides the model's results of each slide until its reader's own score is noted in a file.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self.hide_results = CheckBox(text="Hide the model's results until I have scored")
        self.slide = SlideChoice(napari_viewer, label="Slide")
        self.reader = LineEdit(label="Reader")
        self.file = FileEdit(label="Scores", mode="w", filter="*.csv", nullable=True)
        self.score = ComboBox(label="HER2 score", choices=list(GRADE_NAMES), nullable=True)
        self.enter = PushButton(text="Note my score")
        self.status = Label(value=_HINT)
        super().__init__(
            widgets=[
                self.hide_results, self.slide, self.reader, self.file, self.score, self.enter,
                self.status,
            ]
        )  # fmt: skip
        self.status.native.setWordWrap(True)
        self.hide_results.value = blinding.on
        self.hide_results.changed.connect(blinding.switch)
        self.reader.changed.connect(lambda name: blinding.sit_down(name.strip()))
        self.slide.changed.connect(self._on_slide_chosen)
        self.enter.clicked.connect(self.note)

    def note(self) -> None:
        """Write the score down and show the model's result, as the button does."""
        slide, reader, file = self.slide.chosen, self.reader.value.strip(), self.file.value
        missing = [
            what
            for what, given in (
                ("open a slide", slide),
                ("name the reader", reader),
                ("choose a file for the scores", file),
                ("choose a score", self.score.value),
            )
            if not given
        ]
        if missing or slide is None:
            self.status.value = f"First {', '.join(missing)}."
            return
        score = Score(slide.name, WHOLE_SLIDE, reader, GRADE_NAMES.index(self.score.value))
        try:
            before = noted_score(file, score.case, reader)
            if before is None:
                add_score(file, score)
        except HmkdError as error:
            self.status.value = str(error)
            return
        noted = before or score
        when = "noted" if before is None else "which was noted before and stays,"
        self.status.value = (
            f"{slide.name}: {GRADE_NAMES[noted.grade]} by {reader}, {when} in {file.name}."
        )
        blinding.reveal(slide.path)

    def _on_slide_chosen(self, _value: object = None) -> None:
        """A score of another slide must not be noted for this one."""
        self.score.value = None
        self.status.value = _HINT
