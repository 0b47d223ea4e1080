"""Small pictures and manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.training.conftest import write_picture


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with the pairs he/0.png to he/3.png and ihc/0.png to ihc/3.png."""
    folder = tmp_path / "Prüfung süd 2"
    for number in range(4):
        write_picture(folder / f"he/{number}.png", seed=number)
        write_picture(folder / f"ihc/{number}.png", seed=100 + number)
    return folder


@pytest.fixture
def manifest(study: Path) -> Callable[..., Path]:
    """Writes lines of text into a manifest beside the pairs, as bytes of an encoding."""

    def write(lines: Sequence[str], encoding: str = "utf-8", ending: str = "\n") -> Path:
        path = study / "Liste 1.csv"
        path.write_bytes((ending.join(lines) + ending).encode(encoding))
        return path

    return write
