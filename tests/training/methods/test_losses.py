"""The four terms of HM-KD against the published program's numbers, and what they must satisfy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd.training.methods.losses import (
    attention_loss,
    attention_losses,
    cosine_loss,
    cross_entropy,
    logits_kl,
)

SIDES = (256, 1024)
Arrays = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def reference(parity: Path) -> Arrays:
    """All reference arrays."""
    with np.load(parity / "hmkd.npz") as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file}


def levels(reference: Arrays, where: str) -> tuple[torch.Tensor, ...]:
    return tuple(reference[f"256.{where}.attention{level}"] for level in range(3))


@pytest.mark.parametrize("side", SIDES)
def test_terms_of_the_batch(reference: Arrays, side: int) -> None:
    student, teacher = (reference[f"{side}.{role}.logits"] for role in ("student", "teacher"))
    grade = torch.arange(len(student)) % 4
    found = {
        "logits_kl": logits_kl(student, teacher),
        "cosine_sum": cosine_loss(
            reference[f"{side}.student.pooled"],
            reference[f"{side}.teacher.pooled"],
            reduction="sum",
        ),
        "cross_entropy": cross_entropy(student, grade),
    }
    for term, value in found.items():
        assert value.item() == pytest.approx(reference[f"{side}.loss.{term}"].item(), rel=1e-5)


def test_attention_of_each_level(reference: Arrays) -> None:
    # The matrices at 1024 px are not stored: tests/model/test_parity.py computes them.
    pair = levels(reference, "student.he"), levels(reference, "teacher.he")
    np.testing.assert_allclose(attention_losses(*pair), reference["256.loss.attention"], rtol=1e-5)
    assert attention_loss(*pair).item() == pytest.approx(
        reference["256.loss.attention"].sum().item(), rel=1e-5
    )


def test_cosine_mean_does_not_grow_with_the_batch() -> None:
    student, teacher = torch.randn(3, 8), torch.randn(3, 8)
    once = cosine_loss(student, teacher)
    torch.testing.assert_close(cosine_loss(student.repeat(4, 1), teacher.repeat(4, 1)), once)
    torch.testing.assert_close(cosine_loss(student, teacher, reduction="sum"), 3 * once)


def test_a_perfect_student_loses_nothing() -> None:
    logits, pooled, matrix = torch.randn(4, 4), torch.randn(4, 8), torch.randn(4, 16, 16)
    for loss in (
        logits_kl(logits, logits),
        cosine_loss(pooled, 3 * pooled),
        attention_loss((matrix,), (-2 * matrix,)),
    ):
        assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_kl_is_that_of_the_softened_grades(temperature: float) -> None:
    student, teacher = torch.randn(2, 6, 4).unbind()
    p, q = ((x / temperature).softmax(dim=1) for x in (teacher, student))
    wanted = temperature**2 * (p * (p / q).log()).sum() / 6
    torch.testing.assert_close(logits_kl(student, teacher, temperature), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_give_float32_losses(dtype: torch.dtype) -> None:
    logits, pooled = torch.randn(4, 4).to(dtype) * 100, torch.randn(4, 448).to(dtype) * 1000
    matrix = (torch.randn(4, 16, 16) * 1e4).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        losses = (
            cross_entropy(logits, torch.zeros(4, dtype=torch.long)),
            logits_kl(logits, logits.flip(0)),
            cosine_loss(pooled, pooled.flip(0)),
            attention_loss((matrix,), (matrix.flip(0),)),
        )
    assert {loss.dtype for loss in losses} == {torch.float32}
    assert all(loss.isfinite() for loss in losses)


def test_levels_that_do_not_pair_up_are_refused() -> None:
    a = torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match="shorter"):
        attention_losses((a, a), (a,))
    with pytest.raises(ValueError, match=r"4.*16"):
        attention_losses((a,), (torch.ones(1, 16, 16),))
