"""What is trained: the terms of the loss, and who needs genes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.bags.packing import pack
from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.model.mkd.outputs import G, M, P
from napari_hmkd.training.mkd.approaches import ALONE, MKD, build_task
from napari_hmkd.training.mkd.baselines import Sizes
from napari_hmkd.training.mkd.config import TERMS, AdamWSettings, MkdRunSettings, MkdSettings
from napari_hmkd.training.mkd.loader import CaseBatch
from napari_hmkd.training.mkd.task import MONITOR, CaseTask

SIZES = Sizes(feature_dim=16, token_genes=8, classes=2)


@pytest.fixture
def batch() -> CaseBatch:
    """Four cases of 1 to 4 patches, two of each class."""
    rng = torch.Generator().manual_seed(0)
    bags = pack([torch.randn(size, 16, generator=rng) for size in (3, 1, 4, 2)])
    genes = torch.randn(4, 3, 8, generator=rng)
    return CaseBatch(bags, genes, torch.tensor([0, 1, 0, 1]), ("a", "b", "c", "d"))


def task(approach: str = MKD, **weights: float) -> CaseTask:
    torch.manual_seed(0)
    return build_task(approach, SIZES, MkdRunSettings(mkd=MkdSettings(**weights))).eval()


def test_the_loss_is_the_weighted_sum_of_its_terms(batch: CaseBatch) -> None:
    weights = dict(zip(TERMS, (2.0, 0.5, 3.0, 0.25, 1.5), strict=True))
    weighted = task(**weights)
    parts = weighted.parts(batch)
    assert parts.keys() == set(TERMS)
    assert all(part > 0 for part in parts.values())
    wanted = sum(weights[name] * part for name, part in parts.items())
    torch.testing.assert_close(weighted.total(parts), wanted)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_weight_0_is_not_computed(batch: CaseBatch, term: str) -> None:
    every, found = task().parts(batch), task(**{term: 0.0}).parts(batch)
    assert found == {name: part for name, part in every.items() if name != term}


@pytest.mark.parametrize("term", TERMS)
def test_each_term_alone_trains_the_student(batch: CaseBatch, term: str) -> None:
    alone = task(**{name: float(name == term) for name in TERMS})
    alone.total(alone.parts(batch)).backward()
    assert any(weight.grad.abs().sum() > 0 for weight in alone.pathology.branch.parameters())


def test_without_genes_p_answers_as_it_does_with_them(batch: CaseBatch) -> None:
    without = replace(batch, genes=None)
    with torch.no_grad():
        both, alone = task().logits(batch), task().logits(without)
    assert both.keys() == {P, M, G}
    assert alone.keys() == {P}
    assert torch.equal(alone[P], both[P])


def test_p_begins_with_the_same_weights_in_both_ways_to_train_it(batch: CaseBatch) -> None:
    with torch.no_grad():
        assert torch.equal(task(ALONE).logits(batch)[P], task(MKD).logits(batch)[P])
    assert task(ALONE, cross_entropy=0.0).parts(batch).keys() == {"cross_entropy"}


@pytest.mark.parametrize("sure", [0.0, 20.0])
def test_answers_of_all_batches_are_ranked_together(
    batch: CaseBatch, monkeypatch: pytest.MonkeyPatch, sure: float
) -> None:
    """Each batch alone is ranked right, both together are not; float32 calls all sure ones 1."""
    judge, logged = task(ALONE), {}
    monkeypatch.setattr(judge, "log", lambda name, value: logged.update({name: value}))
    answers = iter([[0.0, 1.0, 0.0, 1.0], [2.0, 3.0, 2.0, 3.0]])
    monkeypatch.setattr(
        judge,
        "logits",
        lambda batch: {P: torch.tensor([[0.0, sure + z] for z in next(answers)])},
    )
    for number in range(2):
        judge.validation_step(batch, number)
    judge.on_validation_epoch_end()
    assert logged == {MONITOR: pytest.approx(0.75)}


def test_an_answer_that_is_not_finite_ends_the_training(batch: CaseBatch) -> None:
    broken = task()
    torch.nn.init.constant_(broken.genomic.classify.bias, float("nan"))
    with torch.no_grad():
        broken.validation_step(batch, 0)
    with pytest.raises(ModelError, match="network G answers NaN after epoch 1: choose a smaller"):
        broken.on_validation_epoch_end()


def test_the_rate_is_at_0_after_t_max_epochs_and_rises_again() -> None:
    settings = MkdRunSettings(optimiser=AdamWSettings(learning_rate=0.1, cosine_epochs=4))
    found = build_task(ALONE, SIZES, settings).configure_optimizers()
    rates = []
    for _ in range(9):
        rates.append(found["optimizer"].param_groups[0]["lr"])
        found["optimizer"].step()
        found["lr_scheduler"].step()
    np.testing.assert_allclose(rates[4], 0, atol=1e-12)
    np.testing.assert_allclose([rates[2], rates[8]], [0.05, 0.1])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (dict.fromkeys(TERMS, 0.0), "all loss weights are 0"),
        ({"coral": -1.0}, "--coral must be 0 to"),
        ({"temperature": 0.0}, "--temperature must be"),
    ],
)
def test_weights_that_train_nothing_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        MkdSettings(**weights)
