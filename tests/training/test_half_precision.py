"""S softmax(S) has no bound: products that half precision cannot hold give no NaN and no infinity."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_hmkd.model import build_student, build_teacher
from napari_hmkd.model.planes import AttentionPlanes, set_recompute
from napari_hmkd.training.methods import losses

FP16_LARGEST = torch.finfo(torch.float16).max
# Weights of queries and keys, and of the norm of S, are multiplied by these.
PROJECTIONS, NORMS = 1e3, 1e4
CASES = [
    (dtype, training) for dtype in (torch.bfloat16, torch.float16) for training in (True, False)
]


def exaggerated(network: nn.Module, training: bool) -> tuple[nn.Module, list]:
    """The network with huge scores, and a list that will hold the largest one of each block."""
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
                weight.data *= PROJECTIONS
        if isinstance(module, AttentionPlanes):
            module.norm.weight.data *= NORMS
            module.register_forward_pre_hook(look)
    set_recompute(network, recompute=True)
    return network.train(training), largest


@pytest.mark.parametrize(("dtype", "training"), CASES)
def test_large_weights_give_finite_losses_and_gradients(dtype: torch.dtype, training: bool) -> None:
    # A gradient of such weights can exceed float16: training's scaler lowers the loss until it fits.
    scale = 2.0**-20 if dtype is torch.float16 else 1.0
    torch.manual_seed(0)
    teacher, crossed = exaggerated(build_teacher(width=0.25), training)
    student, within = exaggerated(build_student(width=0.25), training)
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
    (scale * torch.stack(list(terms.values())).sum()).backward()
    assert max(crossed) > FP16_LARGEST
    assert max(within) > FP16_LARGEST
    assert [name for name, term in terms.items() if not term.isfinite()] == []
    for output in (taught.logits, taught.pooled, own.logits, own.pooled, *own.attention):
        assert output.isfinite().all()
    for network in (teacher, student):
        gradients = {name: weight.grad for name, weight in network.named_parameters()}
        assert [name for name, g in gradients.items() if g is None or not g.isfinite().all()] == []
