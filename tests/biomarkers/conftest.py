"""A painted slide and encoders for its tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import timm
import torch

from napari_hmkd.biomarkers.encoders import Encoder, find_encoder
from napari_hmkd.slide import Slide, open_slide

GRADES = [[0, 1, 2], [3, -1, 0], [1, 2, 3]]
"""Of `paint_slide`: eight tiles of tissue and one of glass."""


@pytest.fixture(scope="session")
def slide_file(tmp_path_factory: pytest.TempPathFactory, paint_slide: Callable[..., Path]) -> Path:
    return paint_slide(tmp_path_factory.mktemp("Schnitte ä") / "TCGA-01.ome.tif", GRADES)


@pytest.fixture
def slide(slide_file: Path) -> Iterator[Slide]:
    with open_slide(slide_file) as opened:
        yield opened


@pytest.fixture(scope="session")
def encoder(student_file: Path) -> Encoder:
    """A small student's, for 256-px tiles at 4 um/px."""
    return find_encoder(str(student_file))


@pytest.fixture
def timm_weights(tmp_path: Path) -> Callable[..., Path]:
    """Writes weights of a network of timm, as its files are: with a classifier of 1,000 classes."""

    def write(name: str = "test_vit", **options: object) -> Path:
        torch.manual_seed(0)
        path = tmp_path / "weights" / "pytorch_model.bin"
        path.parent.mkdir(exist_ok=True)
        torch.save(timm.create_model(name, pretrained=False, **options).state_dict(), path)
        return path

    return write
