"""The run folder: settings, versions, split, curves, scores, weights."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_hmkd.errors import OutputError

PACKAGES = ("napari-hmkd", "torch", "timm", "lightning", "torchmetrics", "scikit-learn", "numpy")


class RunFolder:
    """A folder for one training run; an existing one must be empty.

    Raises
    ------
    OutputError
        If something is there already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"{path} exists and is not empty: name a new folder with --out")

    def create(self) -> None:
        """Make the folder; called once the data has proved usable.

        Raises
        ------
        OutputError
            If it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the run folder {self.path} cannot be made: {error}") from error

    def write_settings(self, **groups: Any) -> None:
        """Write `settings.json`: every setting as resolved, and the versions it ran with."""
        named = {
            name: asdict(group) if is_dataclass(group) and not isinstance(group, type) else group
            for name, group in groups.items()
        }
        write_json(self.path / "settings.json", {**named, "versions": versions()})


def write_json(path: Path, content: Any) -> None:
    """Write a whole JSON file or none.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}") from error


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
