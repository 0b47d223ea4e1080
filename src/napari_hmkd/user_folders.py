"""Where a user's own files are kept, and what is said where nobody knows: in containers some users have no home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs

from napari_hmkd.errors import OutputError

_PROGRAM = "napari-hmkd"


def data_folder() -> Path:
    """The user's data folder of this program; it need not be there.

    Raises
    ------
    OutputError
        If the user has no home.
    """
    return _absolute(lambda: platformdirs.user_data_path(_PROGRAM), "XDG_DATA_HOME")


def cache_folder() -> Path:
    """The user's cache folder of this program; it need not be there.

    Raises
    ------
    OutputError
        If the user has no home.
    """
    return _absolute(
        lambda: Path(platformdirs.user_cache_dir(_PROGRAM, appauthor=False)), "XDG_CACHE_HOME"
    )


def config_folder() -> Path:
    """The user's folder of this program's settings; it need not be there.

    Raises
    ------
    OutputError
        If the user has no home.
    """
    return _absolute(lambda: platformdirs.user_config_path(_PROGRAM), "XDG_CONFIG_HOME")


def _absolute(ask: Callable[[], Path], variable: str) -> Path:
    try:
        folder = ask()
    except RuntimeError as error:  # a napari worker would swallow it
        raise _homeless(variable) from error
    if not folder.is_absolute():  # "~" is a folder's name to older platformdirs
        raise _homeless(variable)
    return folder


def _homeless(variable: str) -> OutputError:
    return OutputError(
        f"this user has no home folder; set HOME or {variable} to a folder that can be written"
    )
