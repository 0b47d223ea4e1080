"""The dock widget of a reader study: score first, then see what the model says."""

from __future__ import annotations

import os
from pathlib import Path

import napari.viewer
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, Label, LineEdit, PushButton
from qtpy.QtWidgets import QFileDialog

from napari_hmkd.errors import HmkdError
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.study.recording import add_score, noted_score
from napari_hmkd.study.scores import WHOLE_SLIDE, Score
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.field_names import name_fields
from napari_hmkd.widgets.notice import wrap
from napari_hmkd.widgets.preferences import Preferences
from napari_hmkd.widgets.question import Question
from napari_hmkd.widgets.result_hiding import result_hiding
from napari_hmkd.widgets.scrolling import scroll
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.viewing import unwrapped
from napari_hmkd.wording import GRADE_NAMES

_HINT = "Score a slide to see the model's result. 'napari-hmkd-grade study' compares the scores."
_FILES = "Scores (*.csv)"
_LIMIT_S = 5.0  # the window waits


class ReaderWidget(Container):
    """Hides the model's results of each slide until its reader's own score is noted in a file.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        napari_viewer = unwrapped(napari_viewer)
        self.hide_results = CheckBox(text="Hide the model's results until I have scored")
        self.slide = SlideChoice(napari_viewer, label="Slide")
        self.reader = LineEdit(label="Reader")
        self.file = FileEdit(label="Scores", mode="w", filter="*.csv", nullable=True)
        self.score = ComboBox(label="HER2 score", choices=list(GRADE_NAMES), nullable=True)
        self.enter = PushButton(text="Note my score")
        self.question = Question("Note it", "Not yet")
        self._asked: Score | None = None
        self.status = Label(value=_HINT)
        super().__init__(
            widgets=[
                self.hide_results, self.slide, self.reader, self.file, self.score, self.enter,
                self.question, self.status,
            ]
        )  # fmt: skip
        wrap(self.status)
        scroll(self.native)
        name_fields(self)
        result_hiding(napari_viewer)
        self._preferences = Preferences("reader", file=self.file.line_edit)
        self.hide_results.value, self.reader.value = blinding.on, blinding.reader
        self.hide_results.changed.connect(blinding.switch)
        blinding.changed.connect(self._follow)
        self.native.destroyed.connect(self._on_destroyed)
        self.reader.changed.connect(self._on_reader_named)
        self.reader.native.editingFinished.connect(self._sit_down)
        self.slide.changed.connect(self._start_anew)
        for field in (self.file, self.score):
            field.changed.connect(self._ask_no_more)
        # magicgui's own dialog warns that a file that exists will be replaced: scores are added to it.
        self.file.choose_btn.changed.disconnect()
        self.file.choose_btn.changed.connect(self._choose_file)
        self.enter.clicked.connect(self.note)
        self.question.answered.connect(self._on_answered)

    def note(self) -> None:
        """Ask whether to write the score down, as the button does; one that is noted already is shown."""
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
        grade = GRADE_NAMES.index(self.score.value)
        try:
            score = Score(slide.name, WHOLE_SLIDE, reader, grade, fingerprint(slide, _LIMIT_S))
            before = noted_score(file, score)
        except HmkdError as error:
            self.status.value = str(error)
            return
        if before is not None:
            self._show_noted(before, "which was noted before and stays,")
            return
        self._asked = score
        self.status.value = "It is for good: a noted score is not changed."
        new = "" if os.path.isfile(file) else ", a new file"
        self.question.ask(
            f"Note {self.score.value} for {slide.name} by '{reader}' in {file.name}{new}?"
        )

    def _on_answered(self, yes: bool) -> None:
        score, self._asked = self._asked, None
        if not yes or score is None:
            self.status.value = _HINT
            return
        try:
            add_score(self.file.value, score)
        except HmkdError as error:
            self.status.value = str(error)
        else:
            self._show_noted(score, "noted")

    def _show_noted(self, score: Score, when: str) -> None:
        """Say what is in the file about the chosen slide, and let its result be seen."""
        self.status.value = (
            f"{score.slide}: {GRADE_NAMES[score.grade]} by {score.reader}, {when} in "
            f"{self.file.value.name}."
        )
        if (slide := self.slide.chosen) is not None:
            self._sit_down()
            blinding.reveal(slide.path)

    def _on_reader_named(self, _name: str) -> None:
        """Half a name may be another reader's: as long as one is typed, nobody's scores count."""
        if self.reader.native.hasFocus():
            blinding.sit_down("")
        else:
            self._sit_down()
        self._start_anew()

    def _sit_down(self) -> None:
        blinding.sit_down(self.reader.value.strip())

    def _follow(self) -> None:
        """Show what was switched or said in the panel of another window, which holds for this one, too."""
        with self.hide_results.changed.blocked():
            self.hide_results.value = blinding.on
        if self.reader.native.hasFocus() or self.reader.value.strip() == blinding.reader:
            return
        with self.reader.changed.blocked():
            self.reader.value = blinding.reader
        self._start_anew()

    def _on_destroyed(self, _widget: object = None) -> None:
        self._preferences.write()
        blinding.changed.disconnect(self._follow)

    def _start_anew(self, _value: object = None) -> None:
        """A score of another slide or reader must not be noted for this one, nor be seen."""
        self.score.value = None
        self.status.value = _HINT
        self._ask_no_more()

    def _ask_no_more(self, _value: object = None) -> None:
        self._asked = None
        self.question.hide()

    def _choose_file(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self.native,
            "A file of scores, new or to be gone on with",
            str(self.file.value or Path.cwd()),
            _FILES,
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if chosen:
            self.file.value = chosen
