"""Which slides' results a reader may not see yet: those that the reader has not scored."""

from __future__ import annotations

from psygnal import Signal


class Blinding:
    """One for all windows and panels of a session, so that no result shows anywhere.

    Signals
    -------
    changed()
    """

    changed = Signal()

    def __init__(self) -> None:
        self._on = False
        self._reader = ""
        self._scored: set[tuple[str, str]] = set()

    @property
    def on(self) -> bool:
        """Whether results are hidden until a slide is scored."""
        return self._on

    def switch(self, on: bool) -> None:
        """Begin or end the hiding; slides that were scored before stay so."""
        self._on = on
        self.changed.emit()

    def sit_down(self, reader: str) -> None:
        """Another reader looks, and may see what that reader has scored."""
        self._reader = reader
        self.changed.emit()

    def reveal(self, slide_path: object) -> None:
        """The reader has scored a slide."""
        self._scored.add((self._reader, str(slide_path)))
        self.changed.emit()

    def hides(self, slide_path: object) -> bool:
        """Whether a slide's results must not be seen."""
        return self._on and (self._reader, str(slide_path)) not in self._scored


blinding = Blinding()
