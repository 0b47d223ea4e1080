"""Weights, sums and grids that all methods share."""

from __future__ import annotations

import pytest
import torch

from napari_hmkd.errors import DataError
from napari_hmkd.model.outputs import StudentOutput
from napari_hmkd.training.config import DistillationSettings
from napari_hmkd.training.methods.hmkd import Hmkd
from napari_hmkd.training.methods.rivals import (
    Alone,
    AttentionTransfer,
    Decoupled,
    Dist,
    Hinton,
    Relational,
    Rival,
    Similarity,
    same_grid,
)


def output(logits: torch.Tensor) -> StudentOutput:
    pooled = torch.ones(len(logits), 2)
    return StudentOutput(logits, pooled, pooled, (pooled[..., None, None],) * 4)


@pytest.mark.parametrize(
    ("rival", "weights"),
    [
        (Hinton, {"logits_kl": 1}),
        (AttentionTransfer, {"attention_transfer": 1000}),
        (Similarity, {"similarity": 3000}),
        (Relational, {"distance": 25, "angle": 50}),
        (Decoupled, {"target": 1, "others": 8}),
        (Dist, {"inter": 1, "intra": 1}),
    ],
)
def test_the_authors_weights_unless_the_first_is_named(rival: type[Rival], weights: dict) -> None:
    assert rival(DistillationSettings()).weights == {"cross_entropy": 1, **weights}
    first = next(iter(weights.values()))
    chosen = rival(DistillationSettings(cross_entropy=0.5, rival_weight=2)).weights
    expected = {name: pytest.approx(2 * weight / first) for name, weight in weights.items()}
    assert chosen == {"cross_entropy": 0.5, **expected}


def test_the_total_is_the_weighted_sum() -> None:
    method = Relational(DistillationSettings(cross_entropy=3))
    parts = {"cross_entropy": torch.tensor(2.0), "distance": torch.tensor(0.1)}
    parts["angle"] = torch.tensor(0.01)
    assert method.total(parts).item() == pytest.approx(6 + 2.5 + 0.5)


def test_a_rival_of_weight_0_is_the_student_alone() -> None:
    method = Similarity(DistillationSettings(rival_weight=0))
    assert not method.needs_teacher
    assert method.parts(output(torch.zeros(1, 4)), None, torch.tensor([1])).keys() == {
        "cross_entropy"
    }


@pytest.mark.parametrize("method", [Alone, Hinton, Hmkd])
def test_a_method_without_a_term_is_refused(method: type[Rival | Hmkd]) -> None:
    off = dict.fromkeys(("cross_entropy", "rival_weight", "logits_kl", "cosine", "attention"), 0.0)
    with pytest.raises(DataError, match="cross_entropy"):
        method(DistillationSettings(**off))


@pytest.mark.parametrize(
    ("method", "needed"),
    [(Hinton, False), (Hmkd, False), (Dist, False), (Decoupled, True)],
)
def test_who_reads_labels_without_the_cross_entropy(method: type, needed: bool) -> None:
    assert method(DistillationSettings()).needs_labels
    assert method(DistillationSettings(cross_entropy=0)).needs_labels is needed


def test_only_the_attention_of_hmkd_needs_attention() -> None:
    assert Hmkd(DistillationSettings()).needs_attention
    assert not Hmkd(DistillationSettings(attention=0)).needs_attention
    assert not AttentionTransfer(DistillationSettings()).needs_attention


def test_a_missing_teacher_is_no_silence() -> None:
    with pytest.raises(ValueError, match="Hinton"):
        Hinton(DistillationSettings()).parts(output(torch.zeros(1, 4)), None, torch.tensor([0]))


@pytest.mark.parametrize(("fine", "coarse"), [(8, 4), (4, 4), (6, 1), (9, 4)])
def test_maps_meet_on_the_coarser_grid(fine: int, coarse: int) -> None:
    a, b = torch.randn(2, 3, fine, fine, dtype=torch.bfloat16), torch.randn(2, 5, coarse, coarse)
    for left, right in (same_grid(a, b), same_grid(b, a)[::-1]):
        assert left.dtype == right.dtype == torch.float32
        assert torch.equal(right, b)
        wanted = torch.nn.functional.adaptive_avg_pool2d(a.float(), coarse)
        torch.testing.assert_close(left, wanted)
