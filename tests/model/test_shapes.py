"""What networks would answer is known without their answering."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_hmkd.model import build_student, build_teacher, build_timm_student
from napari_hmkd.model.shapes import answer_shapes, answer_widths

SIDE_PX = 256
NETWORKS = {
    "student": lambda: build_student(width=0.5),
    "teacher": lambda: build_teacher(width=0.25),
    "timm": lambda: build_timm_student("test_resnet", tile_px=SIDE_PX),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return NETWORKS[request.param]()


def test_shapes_and_widths_are_those_of_the_answer(network: nn.Module) -> None:
    stains = [torch.zeros(1, 3, SIDE_PX, SIDE_PX)] * (2 if hasattr(network, "ihc_stages") else 1)
    with torch.inference_mode():
        answer = network.eval()(*stains)
    shapes = answer_shapes(network, SIDE_PX)
    for name in ("logits", "pooled", "embedding"):
        assert getattr(shapes, name).shape == getattr(answer, name).shape
    assert [grid.shape for grid in shapes.maps] == [grid.shape for grid in answer.maps]
    widths = answer_widths(network, SIDE_PX)
    assert widths.pooled == answer.pooled.shape[1]
    assert widths.maps == tuple(grid.shape[1] for grid in answer.maps)


def test_asking_moves_no_number_and_no_mode(network: nn.Module) -> None:
    network.train()
    before = {name: kept.clone() for name, kept in network.state_dict().items()}
    answer_shapes(network, SIDE_PX)
    assert all(module.training for module in network.modules())
    for name, kept in network.state_dict().items():
        assert torch.equal(kept, before[name]), name
