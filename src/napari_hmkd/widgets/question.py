"""A question that is asked inside a panel."""

from __future__ import annotations

from magicgui.widgets import Container, Label, PushButton
from psygnal import Signal


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
        self.yes.clicked.connect(lambda: self._answer(True))
        self.no.clicked.connect(lambda: self._answer(False))

    def ask(self, text: str) -> None:
        """Show the question; an earlier one is forgotten."""
        self.text.value = text
        self.show()

    def _answer(self, yes: bool) -> None:
        self.hide()
        self.answered.emit(yes)
