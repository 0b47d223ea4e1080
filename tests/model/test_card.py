"""The model card keeps what it is given and refuses what is wrong."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from napari_hmkd.errors import ModelError
from napari_hmkd.model import ModelCard


def test_json_round_trip(card: ModelCard) -> None:
    card = dataclasses.replace(
        card, temperature=1.7, notice="not for real tissue — é", mean=[0, 0, 0]
    )
    again = ModelCard.from_json(card.to_json())
    assert again == card
    assert again.mean == (0, 0, 0)


def test_defaults(card: ModelCard) -> None:
    assert card.class_names == ("0", "1+", "2+", "3+")
    assert card.temperature == 1.0
    assert card.notice == ""
    assert card.created_with.startswith("napari-hmkd ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 3),
        ("role", "tutor"),
        ("width", 0),
        ("width", 1e30),
        ("width", True),
        ("mpp", -0.5),
        ("mpp", float("nan")),
        ("mpp", "0.5"),
        ("tile_px", 500),
        ("tile_px", 512.0),
        ("mean", [0.5, 0.5]),
        ("mean", 0.5),
        ("std", [0.2, 0.2, 0.0]),
        ("std", [0.2, None, 0.2]),
        ("class_names", ["0", "1+", "2+"]),
        ("class_names", [0, 1, 2, 3]),
        ("class_names", ["0", "1+", "2+", "2+"]),
        ("temperature", 0),
        ("architecture", "resnet18"),
        ("conformal_level", 1),
        ("conformal_thresholds", [0.5, 0.5]),
        ("notice", None),
        # What JSON can say, and neither float32 nor UTF-8 can hold.
        pytest.param("mpp", 10**400, id="mpp-huge"),
        ("mean", [1e39, 0, 0]),
        ("std", [1, 1, 1e-46]),
        ("temperature", 1e40),
        ("temperature", 1e-45),
        ("name", "\ud800"),
        ("class_names", ["0", "1+", "2+", "\ud800"]),
    ],
)
def test_a_wrong_field_is_named(card: ModelCard, field: str, value: Any) -> None:
    data = json.loads(card.to_json()) | {field: value}
    with pytest.raises(ModelError, match=rf"{field} must be .*found"):
        ModelCard.from_json(json.dumps(data))


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ModelCard)])
def test_a_missing_field_is_named(card: ModelCard, field: str) -> None:
    data = json.loads(card.to_json())
    del data[field]
    with pytest.raises(ModelError, match=f"lacks {field}; take the card"):
        ModelCard.from_json(json.dumps(data))


def test_an_unknown_field_is_named(card: ModelCard) -> None:
    data = json.loads(card.to_json()) | {"temprature": 2}
    with pytest.raises(ModelError, match="unknown temprature"):
        ModelCard.from_json(json.dumps(data))


def test_the_card_of_a_biomarker_model_is_named_as_one(card: ModelCard) -> None:
    data = json.loads(card.to_json())
    data["targets"] = data.pop("class_names")
    with pytest.raises(ModelError, match="model card: this is the card of a biomarker model"):
        ModelCard.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "[" * 100_000])
def test_broken_json_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="JSON"):
        ModelCard.from_json(text)


@pytest.mark.parametrize(
    "convert", [np.asarray, torch.from_numpy, lambda tiles: tiles[..., ::-1].copy()[..., ::-1]]
)
def test_normalises_channel_by_channel(card: ModelCard, convert: Any) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found = card.normalise(convert(tiles))
    wanted = (tiles / 255 - np.array(card.mean)) / np.array(card.std)
    assert found.dtype == torch.float32
    assert found.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(found.numpy(), wanted.transpose(0, 3, 1, 2), atol=1e-6)


def test_normalises_in_float32_whatever_torch_computes_in_by_default(card: ModelCard) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    wanted = card.normalise(tiles)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(card.normalise(tiles), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_normalising_leaves_the_tiles_alone(card: ModelCard) -> None:
    tiles = np.full((1, 4, 4, 3), 200, dtype=np.uint8)
    tiles.flags.writeable = False
    card.normalise(tiles)
    assert (tiles == 200).all()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 4, 4, 3), np.float32), ((4, 4, 3), np.uint8), ((1, 3, 4, 4), np.uint8)],
)
def test_other_tiles_are_refused(card: ModelCard, shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match=np.dtype(dtype).name):
        card.normalise(np.zeros(shape, dtype))
