"""A small student and a small teacher with random weights, for tiles of 256 px, and one that is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from napari_hmkd.grading import OpenModel, open_model


@pytest.fixture(scope="session")
def student(student_file: Path) -> OpenModel:
    return open_model(student_file)


@pytest.fixture(scope="session")
def teacher(teacher_file: Path) -> OpenModel:
    return open_model(teacher_file, "teacher")


@pytest.fixture
def captum() -> None:
    """For tests that ask for a gradient."""
    pytest.importorskip("captum", reason="needs the extra `inspect`")


class Watching(nn.Module):
    """Its logit of grade 2+ is what `look` makes of each normalised tile; the others are 0."""

    def __init__(self, look: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.look, self.runs = look, 0

    def forward(self, he: torch.Tensor) -> SimpleNamespace:
        self.runs += 1
        logits = torch.zeros(len(he), 4)
        logits[:, 2] = self.look(he)
        return SimpleNamespace(logits=logits)


@pytest.fixture
def watching(student: OpenModel) -> Callable[..., OpenModel]:
    """A student that is known to look at nothing but what `look` takes from the tile."""
    return lambda look: OpenModel(Watching(look), student.card, student.path)
