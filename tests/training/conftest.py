"""Small sources of tiles, in memory and on disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from napari_hmkd.model import ModelCard, build_teacher, save
from napari_hmkd.training.tiles import Tile
from napari_hmkd.wording import GRADE_NAMES

WriteFolder = Callable[..., Path]


def write_picture(path: Path, seed: int, side: int = 256) -> None:
    """A picture of 64 random tones."""
    tones = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tones).resize((side, side), Image.Resampling.NEAREST).save(path)


class ArraySource:
    """Pairs of an array as a source; it counts its readings."""

    notice = "research use only"
    renders = False
    mpp = 0.5

    def __init__(self, pairs: NDArray[np.uint8], tiles: Sequence[Tile]) -> None:
        self.pairs, self.tiles = pairs, tiles
        self.tile_px = pairs.shape[2]
        self.identity = self.signature = "array"
        self.training_data = "random pixels"
        self.readings = 0

    def read(self, index: int) -> NDArray[np.uint8]:
        self.readings += 1
        return self.pairs[index]

    def names(self, index: int) -> tuple[str, str]:
        return f"{self.tiles[index].name} HE", f"{self.tiles[index].name} IHC"


def tiles_of_patients(*grades: Sequence[int]) -> list[Tile]:
    """One sequence of grades per patient."""
    return [
        Tile(f"{patient}-{number}", grade, patient=f"patient {patient}")
        for patient, ofpatient in enumerate(grades)
        for number, grade in enumerate(ofpatient)
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BCI folder of 20 pairs of noise, 256 px."""
    folder, rng = tmp_path_factory.mktemp("Gewebe süd"), np.random.default_rng(1)
    for part, count in (("train", 16), ("test", 4)):
        for number in range(count):
            grade = GRADE_NAMES[number % len(GRADE_NAMES)]
            for stain in ("HE", "IHC"):
                path = folder / stain / part / f"{number:05d}_{part}_{grade}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher's file; what it says does not matter."""
    path = tmp_path_factory.mktemp("Lehrer") / "teacher.safetensors"
    torch.manual_seed(0)
    card = ModelCard(name="t", role="teacher", width=0.25, mpp=0.46, tile_px=256)
    save(path, build_teacher(width=0.25), card)
    return path


@pytest.fixture(scope="module")
def whole(data: Path, undrawn_scores: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `cut_short` that was never cut short."""
    from tests.training.cut_short import run

    out = tmp_path_factory.mktemp("Läufe") / "ganz"
    assert run(data, out) == out / "student.safetensors"
    return out


@pytest.fixture(scope="module")
def undrawn_scores() -> Iterator[None]:
    """Spare runs the pictures of their scores, which take longer than such an epoch and which no test asks for.

    They are drawn in the tests of `scores/` and of the command.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_hmkd.training.scores.page.pictures", lambda *_: [])
        yield


@pytest.fixture
def undrawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `undrawn_scores`, for one test alone."""
    monkeypatch.setattr("napari_hmkd.training.scores.page.pictures", lambda *_: [])


@pytest.fixture
def undrawn_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare runs the pictures of where teacher and student look, which take longer than such an epoch.

    They are drawn in `test_attention_watch.py` and by the command.
    """
    picture = io.BytesIO()
    Image.new("L", (1, 1)).save(picture, "PNG")
    draw = "napari_hmkd.training.attention_watch.draw_tiles"
    monkeypatch.setattr(draw, lambda *_: picture.getvalue())


@pytest.fixture
def random_source() -> ArraySource:
    """Six pairs of 8 px, two patients."""
    pairs = np.random.default_rng(0).integers(0, 256, (6, 2, 8, 8, 3), np.uint8)
    return ArraySource(pairs, tiles_of_patients([0, 1, 2], [3, 2, 1]))


@pytest.fixture
def bci_folder(tmp_path: Path) -> WriteFolder:
    """Writes a BCI folder: so many pairs per grade in each part, JPEG bytes in .png names."""

    def write(train: int = 4, test: int = 1, side: int = 256, name: str = "Gewebe süd 2") -> Path:
        rng = np.random.default_rng(1)
        folder = tmp_path / name
        for part, count in (("train", train), ("test", test)):
            for number in range(count * len(GRADE_NAMES)):
                grade = GRADE_NAMES[number % len(GRADE_NAMES)]
                for stain in ("HE", "IHC"):
                    path = folder / stain / part / f"{number:05d}_{part}_{grade}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    tone = rng.integers(60, 256, (1, 1, 3), np.uint8)
                    Image.fromarray(np.tile(tone, (side, side, 1))).save(path, format="JPEG")
        return folder

    return write


@pytest.fixture
def mist_folder(tmp_path: Path) -> WriteFolder:
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
