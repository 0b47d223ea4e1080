"""Where a user's own files are kept, and what is said where nobody knows: in containers some users have no home."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs

from napari_hmkd.errors import OutputError

Kind = Literal["data", "cache", "config"]
_PROGRAM = "napari-hmkd"


def user_folder(kind: Kind) -> Path:
    """The user's folder of this program for data, for what can be made anew, or for settings; it need not be there.

    Raises
    ------
    OutputError
        If the user has no home.
    """
    try:
        match kind:
            case "data":
                folder = platformdirs.user_data_path(_PROGRAM)
            case "cache":
                folder = platformdirs.user_cache_path(_PROGRAM, appauthor=False)
            case "config":
                folder = platformdirs.user_config_path(_PROGRAM)
    except RuntimeError as error:  # a napari worker would swallow it
        raise _homeless(kind) from error
    if not folder.is_absolute():  # "~" is a folder's name to older platformdirs
        raise _homeless(kind)
    return folder


def _homeless(kind: Kind) -> OutputError:
    variable = f"XDG_{kind.upper()}_HOME"
    return OutputError(
        f"this user has no home folder; set HOME or {variable} to a folder that can be written"
    )
