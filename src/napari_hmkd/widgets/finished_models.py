"""Students trained in this session, which every grade widget offers."""

from __future__ import annotations

from pathlib import Path

from psygnal import Signal


class FinishedModels:
    """Files of finished students, the latest first.

    Signals
    -------
    changed()
        A file was added.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._paths: list[Path] = []

    def add(self, path: Path) -> None:
        """Offer a student's file from now on."""
        path = path.resolve()
        self._paths = [path, *(other for other in self._paths if other != path)]
        self.changed.emit()

    def choices(self) -> list[tuple[str, Path]]:
        """Labels and files; a label is the run folder's name, with its parent's where two agree."""
        names = [path.parent.name for path in self._paths]
        return [
            (f"trained: {name if names.count(name) == 1 else path.parent}", path)
            for name, path in zip(names, self._paths, strict=True)
        ]


finished_students = FinishedModels()
