"""Networks of timm as students: built, weighed, saved, loaded and asked, without any network."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from napari_hmkd.errors import ModelError
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.inspection.tile import inspect_tile
from napari_hmkd.model import ModelCard, TimmStudent, build_timm_student, load, save
from napari_hmkd.model.card import IMAGENET_MEAN, IMAGENET_STD
from napari_hmkd.tile_grader import TileGrader

SIDE = 256
CARD = ModelCard(
    name="small", role="student", width=1, mpp=0.5, tile_px=SIDE, architecture="timm:test_resnet"
)


@pytest.fixture(autouse=True)
def no_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def student() -> TimmStudent:
    torch.manual_seed(0)
    return build_timm_student("timm:test_resnet", tile_px=SIDE).eval()


@pytest.mark.parametrize(
    ("name", "channels", "grids", "pooled"),
    [
        ("test_resnet", (32, 48, 192, 96), (64, 32, 16, 8), 96),
        ("test_convnext", (24, 32, 48, 64), (64, 32, 16, 8), 64),
        ("test_efficientnet", (24, 32, 48, 64), (64, 32, 16, 8), 256),
        ("test_vit", (64,) * 4, (16,) * 4, 64),
    ],
)
def test_convnets_and_transformers_answer_like_a_student(
    name: str, channels: tuple, grids: tuple, pooled: int
) -> None:
    student = build_timm_student(name, tile_px=SIDE).eval()
    he = torch.randn(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        answer = student(he)
        torch.testing.assert_close(answer.logits, student.backbone(he))
    assert answer.logits.shape == (2, 4)
    assert answer.pooled.shape == (2, pooled)
    assert answer.embedding is answer.pooled
    shapes = [(2, c, g, g) for c, g in zip(channels, grids, strict=True)]
    assert [tuple(one.shape) for one in answer.maps] == shapes
    assert answer.attention is None


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("test_vit", (0.5,) * 3, (0.5,) * 3),
        ("test_efficientnet", IMAGENET_MEAN, IMAGENET_STD),
    ],
)
def test_it_knows_what_timm_s_weights_expect(name: str, mean: tuple, std: tuple) -> None:
    student = build_timm_student(name, tile_px=SIDE)
    assert student.pretrained_normalisation() == (mean, std)


def test_a_transformer_takes_the_tiles_of_its_data() -> None:
    student = build_timm_student("test_vit", tile_px=512).eval()
    with torch.inference_mode():
        assert student(torch.randn(1, 3, 512, 512)).maps[0].shape == (1, 64, 32, 32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(student: TimmStudent, dtype: torch.dtype) -> None:
    he = torch.randn(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        exact = student(he).logits
        with torch.autocast("cpu", dtype):
            found = student(he).logits
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.02)


def test_tiles_of_another_shape_are_refused(student: TimmStudent) -> None:
    with pytest.raises(ValueError, match="multiple of 256"):
        student(torch.zeros(1, 3, 200, 200))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", r"no network 'resnet19'.*resnet18"),
        ("timm:hf-hub:somebody/network", "no network"),
        ("resnet18.no_such_weights", "cannot be the student"),
        ("deit_tiny_distilled_patch16_224", "one linear classifier"),  # it has two
        ("mixer_s32_224", r"cannot be the student \(Input height"),  # it takes 224 px alone
        ("levit_128s", "it has 3 stages"),
    ],
)
def test_what_cannot_be_a_student_is_refused(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_timm_student(name, tile_px=SIDE)


def own_weights(classes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return timm.create_model("test_resnet", pretrained=False, num_classes=classes).state_dict()


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def write_torch(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}}, path)
    return path


@pytest.mark.parametrize("write", [write_safetensors, write_torch])
def test_local_weights(write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = own_weights(classes=4)
    student = build_timm_student(
        "test_resnet", write(tmp_path / "größe 1.pth", weights), tile_px=SIDE
    )
    for name, tensor in student.backbone.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert caplog.text == ""


def test_a_classifier_of_other_classes_starts_afresh_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = own_weights(classes=1000)
    path = write_safetensors(tmp_path / "imagenet", weights)
    student = build_timm_student("test_resnet", path, tile_px=SIDE)
    assert student.backbone.fc.weight.shape == (4, 96)
    assert torch.equal(student.backbone.bn1.weight, weights["bn1.weight"])
    assert "imagenet.safetensors" in caplog.text
    assert "fc.weight and fc.bias start afresh" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("conv1.0.weight"), r"lacks the tensor conv1\.0\.weight"),
        (lambda w: w.update({"bn1.weight": torch.ones(7)}), r"bn1\.weight of shape \(7,\)"),
        (lambda w: w.update(extra=torch.ones(1)), "a tensor extra that"),
        (lambda w: w["bn1.bias"].fill_(float("nan")), r"bn1\.bias that are not finite"),
    ],
)
def test_other_weights_are_refused_by_name(tmp_path: Path, change, message: str) -> None:
    weights = own_weights(classes=4)
    change(weights)
    path = write_safetensors(tmp_path / "other", weights)
    with pytest.raises(ModelError, match=message):
        build_timm_student("test_resnet", path, tile_px=SIDE)


class Malice:
    """Would write a file, were its pickle run."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return Path.touch, (self.victim,)


def test_a_file_that_holds_code_is_refused_unrun(tmp_path: Path) -> None:
    path, victim = tmp_path / "bad.pth", tmp_path / "victim"
    torch.save({"state_dict": Malice(victim)}, path)
    with pytest.raises(ModelError, match=r"bad\.pth cannot be read .*code, which is never run"):
        build_timm_student("test_resnet", path, tile_px=SIDE)
    assert not victim.exists()


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no file of weights .*nowhere\.pth"):
        build_timm_student("test_resnet", tmp_path / "nowhere.pth", tile_px=SIDE)


def saved(folder: Path, student: torch.nn.Module, card: ModelCard = CARD, half=False) -> Path:
    path = folder / "Modèle" / "student.safetensors"
    save(path, student, card, half=half)
    return path


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "swin_tiny_patch4_window7_224"])
def test_a_saved_student_answers_the_same(tmp_path: Path, name: str) -> None:
    # Swin has tables that timm computes and no file holds, and position tables of the tile's size.
    student = build_timm_student(name, tile_px=SIDE).eval()
    card = dataclasses.replace(CARD, architecture=f"timm:{name}")
    path = saved(tmp_path, student, card)
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    found, found_card = load(path)
    assert torch.equal(torch.rand(1), wanted)  # loading draws no random numbers
    assert found_card == card
    assert isinstance(found, TimmStudent)
    assert not found.training
    he = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(found(he).logits, student(he).logits)


def test_half_precision_halves_the_file(student: TimmStudent, tmp_path: Path) -> None:
    whole = saved(tmp_path, student).stat().st_size
    path = saved(tmp_path, student, half=True)
    assert path.stat().st_size < 0.6 * whole
    found, _ = load(path)
    counts = found.backbone.bn1.num_batches_tracked
    assert counts.dtype == torch.int64
    he = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        torch.testing.assert_close(found(he).logits, student(he).logits, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "hmkd"}, "to be saved lacks"),
        ({"architecture": "timm:test_convnext"}, "to be saved"),
        (
            {"architecture": "timm:test_resnet", "role": "teacher"},
            "can be a student, but no teacher",
        ),
        ({"architecture": "timm:no_such_network"}, "no network 'no_such_network'"),
    ],
)
def test_a_card_of_another_network_is_not_written(
    student: TimmStudent, tmp_path: Path, change: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        saved(tmp_path, student, dataclasses.replace(CARD, **change))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def opened(student: TimmStudent, tmp_path: Path) -> OpenModel:
    return open_model(saved(tmp_path, student))


def test_it_grades_tiles(opened: OpenModel) -> None:
    tiles = list(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8))
    answer = TileGrader(opened.network, opened.card, torch.device("cpu")).grade(tiles)
    assert answer.evidence is None
    assert answer.probabilities.shape == (3, 4)
    assert answer.probabilities.sum(axis=1) == pytest.approx(1)


def test_it_says_that_it_has_no_attention_to_show(opened: OpenModel) -> None:
    tile = np.zeros((SIDE, SIDE, 3), np.uint8)
    with pytest.raises(ModelError, match="timm:test_resnet has no attention matrices"):
        inspect_tile(opened, tile)
