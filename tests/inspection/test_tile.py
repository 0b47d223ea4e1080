"""One tile seen from inside, against the networks and the losses themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_hmkd.errors import ModelError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inspection.tile import LEVELS, Gaze, TileInspection, inspect_tile
from napari_hmkd.model import received_attention
from napari_hmkd.training.methods import losses

RNG = np.random.default_rng(0)
HE, IHC = RNG.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
SIDES = (8, 4, 2)


@pytest.fixture(scope="module")
def inspection(student: OpenModel, teacher: OpenModel) -> TileInspection:
    return inspect_tile(student, HE, teacher, IHC)


@pytest.fixture(scope="module")
def outputs(student: OpenModel, teacher: OpenModel):
    """What student and teacher answer when they are asked directly."""
    with torch.inference_mode():
        he, ihc = (torch.from_numpy(one[None]) for one in (HE, IHC))
        alone = student.network(student.card.normalise(he), attention=True)
        both = (teacher.card.normalise(one) for one in (he, ihc))
        return alone, teacher.network(*both, attention=True)


def test_the_student_alone_needs_no_ihc(student: OpenModel, teacher: OpenModel) -> None:
    for inspection in (inspect_tile(student, HE), inspect_tile(student, HE, teacher)):
        assert not inspection.has_teacher
        assert list(inspection.attention) == [Gaze.STUDENT]
        assert len(inspection.probabilities) == 1
        assert inspection.losses == {}


@pytest.mark.parametrize("level", LEVELS)
def test_received_attention_is_the_networks(
    inspection: TileInspection, outputs, level: int
) -> None:
    alone, both = outputs
    for gaze, matrices in (
        (Gaze.STUDENT, alone.attention),
        (Gaze.TEACHER_HE, both.attention.he),
        (Gaze.TEACHER_IHC, both.attention.ihc),
    ):
        received = inspection.received(gaze, level)
        assert received.shape == (SIDES[level],) * 2
        assert received == pytest.approx(received_attention(matrices[level])[0].numpy(), rel=1e-5)
        assert received.max() <= SIDES[level] ** 0.5


@pytest.mark.parametrize("level", LEVELS)
def test_what_tokens_cost_adds_up_to_the_attention_loss(
    inspection: TileInspection, outputs, level: int
) -> None:
    alone, both = outputs
    loss = losses.attention_losses(alone.attention, both.attention.he)[level].item()
    assert inspection.discrepancy(level).sum() == pytest.approx(loss, rel=1e-5)
    assert 2 - 2 * inspection.agreement(level) == pytest.approx(loss, abs=1e-5)
    assert inspection.losses[f"attention {level}"] == pytest.approx(loss, rel=1e-5)


def test_the_other_losses_are_those_of_training(inspection: TileInspection, outputs) -> None:
    alone, both = outputs
    expected = {
        "attention": losses.attention_loss(alone.attention, both.attention.he),
        "logits_kl": losses.logits_kl(alone.logits, both.logits),
        "cosine": losses.cosine_loss(alone.pooled, both.pooled),
    }
    for name, loss in expected.items():
        assert inspection.losses[name] == pytest.approx(loss.item(), rel=1e-4)


@pytest.mark.parametrize("gaze", Gaze)
@pytest.mark.parametrize("level", LEVELS)
def test_rows_are_where_query_tokens_look(
    inspection: TileInspection, gaze: Gaze, level: int
) -> None:
    side = SIDES[level]
    queries = [(row, column) for row in range(side) for column in range(side)]
    rows = [inspection.looked_at_from(gaze, level, query) for query in queries]
    assert np.sqrt(np.sum(rows, axis=0)) == pytest.approx(
        inspection.received(gaze, level), rel=1e-5
    )
    by_column = inspection.attention[gaze][level].reshape(side, side, side, side)
    assert rows[1] == pytest.approx(by_column[0, 1])


def test_all_that_is_looked_at_alike_receives_one() -> None:
    alike = np.full((16, 16), 1 / 16, np.float32)
    inspection = TileInspection({Gaze.STUDENT: (alike,)}, (), (), {})
    assert inspection.received(Gaze.STUDENT, 0) == pytest.approx(np.ones((4, 4)))


def test_the_teachers_maps_are_of_both_stains(
    student: OpenModel, teacher: OpenModel, inspection: TileInspection
) -> None:
    other = inspect_tile(student, HE, teacher, np.full_like(IHC, 255))
    assert other.received(Gaze.STUDENT, 0) == pytest.approx(inspection.received(Gaze.STUDENT, 0))
    for gaze in (Gaze.TEACHER_HE, Gaze.TEACHER_IHC):
        assert not np.allclose(other.received(gaze, 0), inspection.received(gaze, 0))


@pytest.mark.parametrize("difference", [{"mpp": 0.5}, {"tile_px": 512}])
def test_networks_made_for_different_tiles_are_not_compared(
    student: OpenModel, teacher: OpenModel, difference: dict[str, float]
) -> None:
    other = OpenModel(teacher.network, replace(teacher.card, **difference), teacher.path)
    with pytest.raises(ModelError, match="tiles differ"):
        inspect_tile(student, HE, other, IHC)


def test_attention_that_is_not_finite_is_refused(student: OpenModel) -> None:
    class Overflowing(nn.Module):
        def forward(self, *tiles: torch.Tensor, attention: bool):
            output = student.network(*tiles, attention=attention)
            spoilt = tuple(a * float("inf") for a in output.attention)
            return replace(output, attention=spoilt)

    with pytest.raises(ModelError, match="not finite"):
        inspect_tile(OpenModel(Overflowing(), student.card, student.path), HE)


def test_a_network_without_attention_is_refused(student: OpenModel) -> None:
    class Plain(nn.Module):
        def forward(self, *tiles: torch.Tensor, attention: bool):
            return replace(student.network(*tiles), attention=None)

    with pytest.raises(ModelError, match="has no such attention"):
        inspect_tile(OpenModel(Plain(), student.card, student.path), HE)
