"""S softmax(S) has no bound: products that half precision cannot hold give no NaN and no infinity."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_hmkd.model import build_student, build_teacher
from napari_hmkd.model.planes import AttentionPlanes, set_recompute
from napari_hmkd.training.methods import losses

FP16_LARGEST = torch.finfo(torch.float16).max
# Weights of queries and keys, and of the norm of S, are multiplied by these. In fp16 the queries
# themselves have to be representable; their products with the keys are not. In evaluation mode a
# fresh norm passes on what it is given, so that less is needed.
FACTORS = {
    (torch.bfloat16, True): (1e3, 1e4),
    (torch.bfloat16, False): (1e3, 1e4),
    (torch.float16, True): (120.0, 10.0),
    (torch.float16, False): (70.0, 10.0),
}


def exaggerated(network: nn.Module, dtype: torch.dtype, training: bool) -> tuple[nn.Module, list]:
    """The network with huge scores, and a list that will hold the largest one of each block."""
    projections, norms = FACTORS[dtype, training]
    largest: list[float] = []

    def look(planes: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        with torch.autocast("cpu", enabled=False), torch.no_grad():
            query, key = (x.float().flatten(2) for x in inputs)
            channels = key.shape[1] // 4
            scores = query[:, :channels].transpose(1, 2) @ key[:, :channels]
            largest.append(scores.abs().max().item())

    for name, module in network.named_modules():
        if name.rpartition(".")[2] in ("query", "key"):
            for weight in module.parameters():
                weight.data *= projections
        if isinstance(module, AttentionPlanes):
            module.norm.weight.data *= norms
            module.register_forward_pre_hook(look)
    set_recompute(network, recompute=True)
    return network.train(training), largest


@pytest.mark.parametrize(("dtype", "training"), FACTORS)
def test_large_weights_give_finite_losses_and_gradients(dtype: torch.dtype, training: bool) -> None:
    torch.manual_seed(0)
    teacher, crossed = exaggerated(build_teacher(width=0.25), dtype, training)
    student, within = exaggerated(build_student(width=0.25), dtype, training)
    he, ihc, grade = torch.randn(2, 3, 256, 256), torch.randn(2, 3, 256, 256), torch.tensor([0, 2])
    with torch.autocast("cpu", dtype):
        taught, own = teacher(he, ihc, attention=True), student(he, attention=True)
        terms = {
            "teacher": losses.cross_entropy(taught.logits, grade),
            "label": losses.cross_entropy(own.logits, grade),
            "grades": losses.logits_kl(own.logits, taught.logits.detach(), 5.0),
            "pooled": losses.cosine_loss(own.pooled, taught.pooled.detach()),
            "attention": losses.attention_loss(
                own.attention, tuple(a.detach() for a in taught.attention.he)
            ),
        }
    torch.stack(list(terms.values())).sum().backward()
    assert max(crossed) > FP16_LARGEST
    assert max(within) > FP16_LARGEST
    assert [name for name, term in terms.items() if not term.isfinite()] == []
    for output in (taught.logits, taught.pooled, own.logits, own.pooled, *own.attention):
        assert output.isfinite().all()
    for network in (teacher, student):
        gradients = {name: weight.grad for name, weight in network.named_parameters()}
        assert [name for name, g in gradients.items() if g is None or not g.isfinite().all()] == []
