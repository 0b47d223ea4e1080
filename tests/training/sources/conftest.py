"""Small pictures and manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_picture(path: Path, seed: int, side: int = 256) -> None:
    tones = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tones).resize((side, side), Image.Resampling.NEAREST).save(path)


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


@pytest.fixture
def mist_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder in MIST's layout with so many pairs in each part."""

    def write(**parts: int) -> Path:
        folder = tmp_path / "MIST HER2"
        for shift, (part, count) in enumerate(parts.items()):
            for number in range(count):
                for stain in ("A", "B"):
                    seed = 1000 * shift + 100 * (stain == "B") + number
                    write_picture(folder / f"{part}{stain}" / f"{number}.png", seed)
        return folder

    return write
