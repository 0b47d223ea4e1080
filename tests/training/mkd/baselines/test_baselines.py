"""What all baselines have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from napari_hmkd.bags.packing import pack
from napari_hmkd.training.mkd.baselines import BASELINES, Baseline

Build = Callable[[str], Baseline]
Bags = list[torch.Tensor]
EVERY_BASELINE = pytest.mark.parametrize("name", BASELINES)
OF_TISSUE = [name for name in BASELINES if name != "snn"]


def test_names() -> None:
    assert tuple(BASELINES) == ("mean", "abmil", "clam-sb", "transmil", "dsmil", "snn", "early")


@EVERY_BASELINE
def test_a_packed_batch_answers_as_its_cases_one_by_one(
    build: Build, bags: Bags, genes: torch.Tensor, name: str
) -> None:
    baseline = build(name)
    together = baseline(pack(bags), genes)
    alone = [baseline(pack([bag]), own[None]) for bag, own in zip(bags, genes, strict=True)]
    assert together.shape == (3, 3)
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("name", [name for name in OF_TISSUE if name != "transmil"])
def test_the_order_of_patches_does_not_matter(
    build: Build, bags: Bags, genes: torch.Tensor, name: str
) -> None:
    baseline, shuffled = build(name), [bag.flip(0) for bag in bags]
    torch.testing.assert_close(baseline(pack(shuffled), genes), baseline(pack(bags), genes))


@EVERY_BASELINE
def test_it_looks_at_what_it_says_and_at_nothing_else(
    build: Build, bags: Bags, genes: torch.Tensor, name: str
) -> None:
    baseline = build(name)
    answer = baseline(pack(bags), genes)
    other_tissue = baseline(pack([bag + 1 for bag in bags]), genes)
    other_genes = baseline(pack(bags), genes + 1)
    assert torch.equal(answer, other_tissue) != (name in OF_TISSUE)
    assert torch.equal(answer, other_genes) != baseline.needs_genes


@EVERY_BASELINE
def test_it_can_learn_three_cases_by_heart(
    build: Build, bags: Bags, genes: torch.Tensor, labels: torch.Tensor, name: str
) -> None:
    baseline, packed = build(name).float(), pack([bag.float() for bag in bags])
    optimiser = torch.optim.AdamW(baseline.parameters(), lr=5e-3)
    before = baseline.loss(packed, genes.float(), labels).item()
    for _ in range(6 if name == "transmil" else 30):
        optimiser.zero_grad()
        baseline.loss(packed, genes.float(), labels).backward()
        optimiser.step()
    assert baseline.loss(packed, genes.float(), labels).item() < 0.5 * before
    assert (baseline(packed, genes.float()).argmax(dim=1) == labels).all()


@EVERY_BASELINE
def test_gradients_are_those_of_the_loss(
    build: Build, bags: Bags, genes: torch.Tensor, labels: torch.Tensor, name: str
) -> None:
    baseline, packed = build(name), pack(bags)
    loss = baseline.loss(packed, genes, labels)
    loss.backward()
    weights = [p for p in baseline.parameters() if p.grad is not None]
    steepest = [p.grad.clone() for p in weights]
    # Along the gradient the loss changes by its squared length.
    step = 1e-7
    with torch.no_grad():
        for weight, slope in zip(weights, steepest, strict=True):
            weight += step * slope
    found = (baseline.loss(packed, genes, labels) - loss).item() / step
    wanted = sum(slope.square().sum() for slope in steepest).item()
    assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("name", ["mean", "abmil", "transmil", "snn", "early"])
def test_most_minimise_the_cross_entropy(
    build: Build, bags: Bags, genes: torch.Tensor, labels: torch.Tensor, name: str
) -> None:
    baseline = build(name)
    wanted = functional.cross_entropy(baseline(pack(bags), genes), labels)
    torch.testing.assert_close(baseline.loss(pack(bags), genes, labels), wanted)


@EVERY_BASELINE
def test_bfloat16_answers_as_float32(
    build: Build, bags: Bags, genes: torch.Tensor, labels: torch.Tensor, name: str
) -> None:
    baseline, packed = build(name).float(), pack([bag.float() for bag in bags])
    with torch.autocast("cpu", torch.bfloat16):
        found, loss = baseline(packed, genes.float()), baseline.loss(packed, genes.float(), labels)
    wanted = baseline(packed, genes.float())
    assert loss.isfinite()
    torch.testing.assert_close(found.float(), wanted, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", OF_TISSUE)
def test_features_of_another_dimension_are_refused(
    build: Build, genes: torch.Tensor, name: str
) -> None:
    with pytest.raises(ValueError, match="dimension 10, got 7"):
        build(name)(pack([torch.zeros(2, 7, dtype=torch.float64)] * 3), genes)


@pytest.mark.parametrize("name", ["snn", "early"])
def test_missing_genes_and_genes_of_another_number_are_refused(
    build: Build, bags: Bags, genes: torch.Tensor, name: str
) -> None:
    with pytest.raises(ValueError, match="got None"):
        build(name)(pack(bags), None)
    with pytest.raises(ValueError, match=r"2 tokens of 6 genes .*got \(3, 1, 6\)"):
        build(name)(pack(bags), genes[:, :1])
