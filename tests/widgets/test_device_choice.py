"""Every panel offers the devices that it can compute on."""

from __future__ import annotations

import re

import pytest
import torch

pytest.importorskip("napari", reason="needs the napari extra")

from napari_hmkd.widgets.attention_form import AttentionForm
from napari_hmkd.widgets.biomarker_form import BiomarkerForm
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.tissue_run import TissueRun
from napari_hmkd.widgets.train_form import TrainForm

pytestmark = pytest.mark.gui


@pytest.mark.parametrize(
    "open_fields",
    [
        GradeWidget,
        AttentionForm,
        lambda viewer: BiomarkerForm(viewer, TissueRun(viewer)),
        lambda viewer: TrainForm(),
    ],
    ids=["grade", "attention", "biomarkers", "train"],
)
@pytest.mark.parametrize(
    ("built_for", "offered", "refused"),
    [
        (["sm_70", "sm_90"], ("auto", "cuda:0", "cuda:1", "cpu"), ""),
        (["sm_90"], ("auto", "cuda:1", "cpu"), "Without cuda:0: .* not built for it.*"),
        (["sm_80"], ("auto", "cpu"), "Without cuda:0, cuda:1: .* not built for it.*"),
    ],
)
def test_a_gpu_that_would_be_refused_is_not_offered_and_the_tooltip_says_why(
    built_for: list[str],
    offered: tuple[str, ...],
    refused: str,
    open_fields,
    viewer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capability = {"cuda:0": (7, 0), "cuda:1": (9, 0)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability.__getitem__)
    device = open_fields(viewer).device
    assert device.choices == offered
    assert re.fullmatch(refused, device.tooltip or "")
