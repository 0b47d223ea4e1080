"""What a user chose in a panel, remembered from one day to the next."""

from __future__ import annotations

import json
import logging
from functools import cache, partial
from pathlib import Path
from typing import Any

from magicgui.widgets.bases import ValueWidget
from napari.utils.notifications import show_warning

from napari_hmkd.durable import replaced_file
from napari_hmkd.errors import OutputError, reason_of
from napari_hmkd.user_folders import user_folder
from napari_hmkd.widgets.pause import Pause

_LOG = logging.getLogger(__name__)
_REST_MS = 500


class Preferences:
    """Gives fields the values that they had last, and keeps what they are given from now on.

    A value that a field does not take any more, such as a device that is gone, is left out. What is
    kept is written once the user has left the fields alone for a moment, as a slider changes at every
    step of its way.

    Parameters
    ----------
    panel : str
        Whose fields they are.
    **fields : ValueWidget
        Fields of text, numbers and truth by the names to remember them by.
    """

    def __init__(self, panel: str, **fields: ValueWidget[Any]) -> None:
        self._panel = panel
        self._changed: dict[str, Any] = {}
        self._rest = Pause(_REST_MS, self.write)
        known = remembered(panel)
        for name, field in fields.items():
            if name in known:
                try:
                    field.value = known[name]
                except (ValueError, TypeError) as error:
                    _LOG.debug("%s of %s is not %r any more: %s", name, panel, known[name], error)
            field.changed.connect(partial(self._keep, name))

    def write(self) -> None:
        """Write down what has changed, without waiting."""
        self._rest.stop()
        if self._changed:
            remember(self._panel, self._changed)
            self._changed = {}

    def _keep(self, name: str, value: Any) -> None:
        self._changed[name] = value
        self._rest.start()


def _all() -> dict[str, Any]:
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (FileNotFoundError, OutputError):  # none yet, or no home
        return {}
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _of_panel(known: dict[str, Any], panel: str) -> dict[str, Any]:
    found = known.get(panel)
    return found if isinstance(found, dict) else {}


def _path() -> Path:
    return user_folder("config") / "preferences.json"


def remembered(panel: str) -> dict[str, Any]:
    """What is kept of a panel, by name; nothing where the file cannot be read, which is told."""
    try:
        return _of_panel(_all(), panel)
    except (OSError, ValueError) as error:
        _warn(
            f"What was chosen last is not known: {_path()} cannot be read ({reason_of(error)}). The panels begin "
            "with their defaults, and results are not hidden: the panel Reader study does that."
        )
        return {}


def remember(panel: str, changed: dict[str, Any]) -> None:
    """Write down what has changed in a panel, by name; a file that holds anything else is replaced."""
    try:
        try:
            known = _all()
        except ValueError:  # was told when it was read; what the system refuses now may be sound
            known = {}
        now = {**known, panel: {**_of_panel(known, panel), **changed}}
        with replaced_file(_path()) as part:
            part.write_text(json.dumps(now, indent=2), encoding="utf-8")
    except (OSError, OutputError) as error:  # a home that cannot be written to is no reason to stop
        _LOG.warning("preferences are not remembered: %s", error)


@cache
def _warn(message: str) -> None:
    """Once in a session: each panel reads the file."""
    show_warning(message)
