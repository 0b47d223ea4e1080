"""Which slides' results a reader may not see yet: those that the reader has not scored."""

from __future__ import annotations

from pathlib import Path

from psygnal import Signal
from upath import UPath

from napari_hmkd.widgets.preferences import remember, remembered

HIDDEN = "hidden until you have scored the slide; the panel Reader study is for that, and ends the hiding, too"
_PANEL, _HIDE = "reader", "hide_results"


class Blinding:
    """One for all windows and panels of a session, so that no result shows anywhere.

    Whether results are hidden is remembered: a reader who comes back from a break, and opens any panel
    first, must not see them. Who reads is not, as the next one may be another.

    Signals
    -------
    changed()
    """

    changed = Signal()

    def __init__(self) -> None:
        self._on: bool | None = None  # not read yet
        self._reader = ""
        self._scored: dict[tuple[str, str], str] = {}  # from reader and path to the slide's name

    @property
    def on(self) -> bool:
        """Whether results are hidden until a slide is scored."""
        if self._on is None:
            self._on = remembered(_PANEL).get(_HIDE) is True
        return self._on

    @property
    def reader(self) -> str:
        """Who looks; "" as long as nobody has said."""
        return self._reader

    def switch(self, on: bool) -> None:
        """Begin or end the hiding; slides that were scored before stay so."""
        remember(_PANEL, {_HIDE: on})
        self._on = on
        self.changed.emit()

    def sit_down(self, reader: str) -> None:
        """Another reader looks, and may see what that reader has scored."""
        if reader != self._reader:
            self._reader = reader
            self.changed.emit()

    def reveal(self, slide_path: Path | UPath) -> None:
        """The reader has scored a slide."""
        self._scored[self._reader, str(slide_path)] = slide_path.name
        self.changed.emit()

    def hides(self, slide_path: object) -> bool:
        """Whether a slide's results must not be seen."""
        return self.on and (self._reader, str(slide_path)) not in self._scored

    def hides_name(self, slide_name: str) -> bool:
        """Whether the results of a slide must not be seen of which the file's name is all that is known."""
        scored = {name for (reader, _), name in self._scored.items() if reader == self._reader}
        return self.on and slide_name not in scored


blinding = Blinding()
