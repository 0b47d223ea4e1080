"""Encoders: students up to their pooled features, and networks of timm from local files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional

from napari_hmkd.biomarkers.encoders import CONFIG_FILE, find_encoder
from napari_hmkd.errors import ModelError
from napari_hmkd.model import ModelCard, build_student, load, save

TILES = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
WriteWeights = Callable[..., Path]


def test_a_student_gives_its_pooled_features(student_file: Path) -> None:
    encoder = find_encoder(str(student_file))
    student, card = load(student_file)
    with torch.inference_mode():
        expected = student(card.normalise(TILES)).pooled.numpy()
    found = encoder.encode(TILES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (encoder.name, encoder.patch_px, encoder.mpp) == (card.name, 256, 4.0)
    assert encoder.feature_dim == expected.shape[1]
    assert encoder.sha256 == hashlib.sha256(student_file.read_bytes()).hexdigest()


def test_features_in_bfloat16_are_nearly_those_in_float32(student_file: Path) -> None:
    encoder = find_encoder(str(student_file))
    exact, found = encoder.encode(TILES), encoder.encode(TILES, "bfloat16")
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact)
    assert np.linalg.norm(found - exact) < 0.03 * np.linalg.norm(exact)


@pytest.mark.parametrize(("width", "features"), [(1.0, 448), (0.5, 224)])
def test_the_published_width_gives_448_features(
    width: float, features: int, tmp_path: Path
) -> None:
    card = ModelCard(name="s", role="student", width=width, mpp=0.46, tile_px=1024)
    save(tmp_path / "s.safetensors", build_student(width=width), card)
    assert find_encoder(str(tmp_path / "s.safetensors")).feature_dim == features


def test_the_demo_is_there() -> None:
    encoder = find_encoder()
    assert (encoder.feature_dim, encoder.patch_px, encoder.mpp) == (224, 512, 0.92)
    assert "not for real tissue" in encoder.model.card.notice


def test_a_network_of_timm_gives_what_its_classifier_sees(timm_weights: WriteWeights) -> None:
    path = timm_weights("test_resnet")
    encoder = find_encoder("timm:test_resnet", path, tile_px=512, mpp=0.25)
    network = timm.create_model("test_resnet", num_classes=1000).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    mean, std = (torch.tensor(network.pretrained_cfg[name]) for name in ("mean", "std"))
    pixels = ((torch.from_numpy(TILES) / 255 - mean) / std).permute(0, 3, 1, 2)
    side = network.pretrained_cfg["input_size"][-1]
    if network.pretrained_cfg["fixed_input_size"]:
        pixels = functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
    np.testing.assert_allclose(encoder.encode(TILES), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert (encoder.name, encoder.patch_px, encoder.mpp) == ("timm:test_resnet", 512, 0.25)


def test_a_network_of_a_fixed_input_gets_its_tiles_resized(timm_weights: WriteWeights) -> None:
    encoder = find_encoder("timm:test_vit", timm_weights("test_vit"))
    side = timm.create_model("test_vit").pretrained_cfg["input_size"][-1]
    assert side != encoder.patch_px == 256
    assert encoder.encode(TILES).shape == (2, encoder.feature_dim)


def test_the_hubs_description_beside_the_weights_is_obeyed(timm_weights: WriteWeights) -> None:
    path = timm_weights("test_vit", init_values=1e-5)
    with pytest.raises(ModelError, match="ls1"):
        find_encoder("timm:test_vit", path)
    config = {
        "architecture": "test_vit",
        "model_args": {"init_values": 1e-5},
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3]},
    }
    path.with_name(CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    encoder = find_encoder("timm:test_vit", path)
    assert encoder.model.card.mean == (0.1, 0.2, 0.3)
    assert np.isfinite(encoder.encode(TILES)).all()
    with pytest.raises(ModelError, match="is test_vit; name that"):
        find_encoder("timm:test_resnet", path)
    path.with_name(CONFIG_FILE).write_text("[]", encoding="utf-8")
    with pytest.raises(ModelError, match="no description"):
        find_encoder("timm:test_vit", path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("timm:test_vit", "test_vit|lacks"),
        ("timm:no_such_network", "has no network"),
        ("no such file", "there is no file"),
    ],
)
def test_what_does_not_exist_or_fit_is_told(
    name: str, reason: str, timm_weights: WriteWeights
) -> None:
    weights = timm_weights("test_resnet") if name.startswith("timm:") else None
    with pytest.raises(ModelError, match=reason):
        find_encoder(name, weights)


def test_options_without_meaning_are_told(
    student_file: Path, teacher_file: Path, timm_weights: WriteWeights
) -> None:
    with pytest.raises(ModelError, match="give their file with --weights"):
        find_encoder("timm:test_vit")
    with pytest.raises(ModelError, match="with --tile-px, which"):
        find_encoder(str(student_file), tile_px=512)
    with pytest.raises(ModelError, match="is a teacher"):
        find_encoder(str(teacher_file))
    with pytest.raises(ModelError, match="multiple of 256"):
        find_encoder("timm:test_vit", timm_weights("test_vit"), tile_px=224)


def test_weights_of_another_kind_are_told(student_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lacks the tensor"):
        find_encoder("timm:test_vit", student_file)
    (tmp_path / "w.bin").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        find_encoder("timm:test_vit", tmp_path / "w.bin")
