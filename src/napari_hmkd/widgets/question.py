"""A question that is asked inside a panel."""

from __future__ import annotations

from pathlib import Path

from magicgui.widgets import Container, Label, PushButton
from psygnal import Signal
from upath import UPath

from napari_hmkd.slide import Slide
from napari_hmkd.widgets.notice import wrap
from napari_hmkd.widgets.scrolling import bring_into_sight


class Question(Container):
    """A line and two buttons, hidden until asked: no dialog that would hold up the window.

    Parameters
    ----------
    yes, no : str
        What the buttons say.

    Signals
    -------
    answered(bool)
        Whether it was yes.
    """

    answered = Signal(bool)

    def __init__(self, yes: str, no: str) -> None:
        self.text = Label(value="")
        self.yes, self.no = PushButton(text=yes), PushButton(text=no)
        buttons = Container(widgets=[self.yes, self.no], layout="horizontal", labels=False)
        super().__init__(widgets=[self.text, buttons], labels=False, visible=False)
        wrap(self.text)
        self.yes.clicked.connect(lambda: self._answer(True))
        self.no.clicked.connect(lambda: self._answer(False))

    def ask(self, text: str) -> None:
        """Show the question; an earlier one is forgotten."""
        self.text.value = text
        self.show()
        bring_into_sight(self.native)

    def _answer(self, yes: bool) -> None:
        self.hide()
        self.answered.emit(yes)


class DoubtQuestion(Question):
    """Asks whether to go on with a slide that does not look like one to grade; a yes counts for that slide.

    Parameters
    ----------
    what : str
        What is to be done with it: a verb.

    Signals
    -------
    insisted()
        It is to be done.
    """

    insisted = Signal()

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} all the same", "Leave it")
        self._what = what
        self._doubted: Path | UPath | None = None
        self._insisted: Path | UPath | None = None
        self.answered.connect(self._on_answered)

    def doubt(self, slide: Slide) -> None:
        """Ask about a slide."""
        self._doubted = slide.path
        self.ask(f"{self._what} it all the same?")

    def insists_on(self, slide: Slide) -> bool:
        """Whether the last slide that the user insisted on is this one."""
        return slide.path == self._insisted

    def _on_answered(self, yes: bool) -> None:
        if yes:
            self._insisted = self._doubted
            self.insisted.emit()
