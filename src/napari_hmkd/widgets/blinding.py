"""Which slides' results a reader may not see yet: those that the reader has not scored."""

from __future__ import annotations

from psygnal import Signal

from napari_hmkd.slide import Slide


class Blinding:
    """One for all windows and panels of a session, so that no result shows anywhere.

    Signals
    -------
    changed()
    """

    changed = Signal()

    def __init__(self) -> None:
        self._on = False
        self._scored: set[str] = set()

    @property
    def on(self) -> bool:
        """Whether results are hidden until a slide is scored."""
        return self._on

    def switch(self, on: bool) -> None:
        """Begin or end the hiding; slides that were scored before stay so."""
        self._on = on
        self.changed.emit()

    def reveal(self, slide: Slide) -> None:
        """A slide has been scored."""
        self._scored.add(str(slide.path))
        self.changed.emit()

    def hides(self, slide: Slide) -> bool:
        """Whether a slide's results must not be seen."""
        return self._on and str(slide.path) not in self._scored


blinding = Blinding()
