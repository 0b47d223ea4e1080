"""Attention of student and teacher within one tile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd.errors import ModelError
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.model import build_teacher, received_attention
from napari_hmkd.tile_attention import attention_of_tile

RNG = np.random.default_rng(0)
HE, IHC = RNG.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def student(student_file: Path) -> OpenModel:
    return open_model(student_file)


@pytest.fixture(scope="module")
def teacher(student: OpenModel) -> OpenModel:
    torch.manual_seed(1)
    network = build_teacher(width=student.card.width).eval()
    card = replace(student.card, name="random teacher", role="teacher")
    return OpenModel(network, card, student.path)


def test_the_student_alone_needs_no_ihc(student: OpenModel) -> None:
    attention = attention_of_tile(student, HE)
    assert attention.teacher is None
    assert [received.shape for received in attention.student] == [(8, 8), (4, 4), (2, 2)]
    assert all((received >= 0).all() for received in attention.student)


def test_it_is_the_received_attention_of_the_network(student: OpenModel) -> None:
    with torch.inference_mode():
        matrices = student.network(student.card.normalise(HE[None]), attention=True).attention
    for received, matrix in zip(attention_of_tile(student, HE).student, matrices, strict=True):
        assert received == pytest.approx(received_attention(matrix)[0].numpy(), rel=1e-5)


def test_the_teacher_sees_both_stains(student: OpenModel, teacher: OpenModel) -> None:
    one = attention_of_tile(student, HE, teacher, IHC)
    other = attention_of_tile(student, HE, teacher, np.full_like(IHC, 255))
    assert one.teacher is not None
    assert other.teacher is not None
    assert [received.shape for received in one.teacher] == [(8, 8), (4, 4), (2, 2)]
    assert one.student[0] == pytest.approx(other.student[0])
    assert not np.allclose(one.teacher[0], other.teacher[0])


@pytest.mark.parametrize("difference", [{"mpp": 0.5}, {"tile_px": 512}])
def test_networks_made_for_different_tiles_are_not_compared(
    student: OpenModel, teacher: OpenModel, difference: dict[str, float]
) -> None:
    card = replace(teacher.card, **difference)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="random teacher"):
        attention_of_tile(student, HE, replace(teacher, card=card), IHC)
