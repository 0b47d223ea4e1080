"""The networks of MKD take bags of any size at once and treat every case by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from napari_hmkd.bags.packing import PackedBags, pack
from napari_hmkd.model.mkd import (
    MkdOutput,
    build_genomic_network,
    build_multimodal_network,
    build_pathology_network,
)

SIZES = (7, 1, 30)
DIM, TOKENS, TOKEN_GENES, CLASSES = 12, 3, 10, 4
Answer = Callable[[PackedBags, torch.Tensor], MkdOutput]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def networks() -> dict[str, torch.nn.Module]:
    """All three, in eval mode and float64."""
    built = {
        "pathology": build_pathology_network(feature_dim=DIM, classes=CLASSES),
        "genomic": build_genomic_network(token_genes=TOKEN_GENES, classes=CLASSES),
        "multimodal": build_multimodal_network(
            feature_dim=DIM, token_genes=TOKEN_GENES, classes=CLASSES
        ),
    }
    return {name: network.eval().double() for name, network in built.items()}


@pytest.fixture(params=["pathology", "genomic", "multimodal"])
def answer(request: pytest.FixtureRequest, networks: dict[str, torch.nn.Module]) -> Answer:
    """Each of the networks, given what it takes of a case."""
    network = networks[request.param]
    takes = {"pathology": (True, False), "genomic": (False, True), "multimodal": (True, True)}
    tissue, genes = takes[request.param]
    return lambda bags, tokens: network(*([bags] if tissue else []), *([tokens] if genes else []))


@pytest.fixture
def bags() -> list[torch.Tensor]:
    return [torch.randn(n, DIM, dtype=torch.float64) for n in SIZES]


@pytest.fixture
def genes() -> torch.Tensor:
    return torch.randn(len(SIZES), TOKENS, TOKEN_GENES, dtype=torch.float64)


def test_shapes(answer: Answer, bags: list[torch.Tensor], genes: torch.Tensor) -> None:
    output = answer(pack(bags), genes)
    assert output.logits.shape == (len(SIZES), CLASSES)
    assert output.embedding.shape == (len(SIZES), 256)
    assert output.attention.shape in {(sum(SIZES),), (len(SIZES), TOKENS)}


def test_a_batch_answers_as_its_cases_one_by_one(
    answer: Answer, bags: list[torch.Tensor], genes: torch.Tensor
) -> None:
    together = answer(pack(bags), genes)
    alone = [answer(pack([bag]), own[None]) for bag, own in zip(bags, genes, strict=True)]
    for field in ("logits", "embedding", "attention"):
        wanted = torch.cat([getattr(output, field) for output in alone])
        torch.testing.assert_close(getattr(together, field), wanted)


def test_the_order_of_patches_does_not_matter(
    answer: Answer, bags: list[torch.Tensor], genes: torch.Tensor
) -> None:
    shuffled = [bag[torch.randperm(len(bag))] for bag in bags]
    found, wanted = (answer(pack(some), genes).logits for some in (shuffled, bags))
    torch.testing.assert_close(found, wanted)


def test_attention_sums_to_one_within_each_bag(
    networks: dict[str, torch.nn.Module], bags: list[torch.Tensor], genes: torch.Tensor
) -> None:
    packed = pack(bags)
    for attention in (
        networks["pathology"](packed).attention,
        networks["multimodal"](packed, genes).attention,
    ):
        sums = torch.zeros(len(SIZES), dtype=torch.float64).index_add(0, packed.case, attention)
        torch.testing.assert_close(sums, torch.ones_like(sums))
    over_tokens = networks["genomic"](genes).attention.sum(dim=1)
    torch.testing.assert_close(over_tokens, torch.ones_like(over_tokens))


@pytest.mark.parametrize("name", ["pathology", "genomic", "multimodal"])
def test_dropout_acts_in_training_only(
    networks: dict[str, torch.nn.Module],
    bags: list[torch.Tensor],
    genes: torch.Tensor,
    name: str,
) -> None:
    inputs = {"pathology": (pack(bags),), "genomic": (genes,), "multimodal": (pack(bags), genes)}
    network = networks[name]
    once, again = (network(*inputs[name]).logits for _ in range(2))
    assert torch.equal(once, again)
    network.train()
    once, again = (network(*inputs[name]).logits for _ in range(2))
    assert not torch.allclose(once, again)


def test_every_weight_is_trained(
    networks: dict[str, torch.nn.Module], bags: list[torch.Tensor], genes: torch.Tensor
) -> None:
    packed = pack(bags)
    inputs = {"pathology": (packed,), "genomic": (genes,), "multimodal": (packed, genes)}
    for name, network in networks.items():
        network(*inputs[name]).logits.square().sum().backward()
        # A bias that is added to all scores of a bag does not change the softmax.
        moved = {n: p.grad.abs().max() > 1e-12 for n, p in network.named_parameters()}
        assert {n for n, moves in moved.items() if not moves} == {
            n for n in moved if n.endswith("attention.score.bias")
        }


def test_features_are_left_as_they_were(
    networks: dict[str, torch.nn.Module], bags: list[torch.Tensor]
) -> None:
    packed = pack(bags)
    before = packed.features.clone()
    networks["pathology"](packed)
    assert torch.equal(packed.features, before)


def test_bfloat16_answers_as_float32(bags: list[torch.Tensor], genes: torch.Tensor) -> None:
    network = build_multimodal_network(feature_dim=DIM, token_genes=TOKEN_GENES).eval()
    packed, genes = pack([bag.float() for bag in bags]), genes.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = network(packed, genes)
    wanted = network(packed, genes)
    assert found.attention.dtype == torch.float32
    torch.testing.assert_close(found.logits.float(), wanted.logits, atol=0.02, rtol=0)


def test_features_of_another_dimension_are_refused(networks: dict[str, torch.nn.Module]) -> None:
    with pytest.raises(ValueError, match=f"dimension {DIM}, got 5"):
        networks["pathology"](pack([torch.zeros(2, 5)]))
