"""The card of a biomarker model keeps what it is given and refuses what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from napari_hmkd.errors import ModelError
from napari_hmkd.model.mkd import BiomarkerCard


def changed(card: BiomarkerCard, **changes: Any) -> str:
    return json.dumps(json.loads(card.to_json()) | changes)


def changed_target(card: BiomarkerCard, **changes: Any) -> str:
    first, *others = json.loads(card.to_json())["targets"]
    return changed(card, targets=[first | changes, *others])


def test_json_round_trip(biomarker_card: BiomarkerCard) -> None:
    again = BiomarkerCard.from_json(biomarker_card.to_json())
    assert again == biomarker_card
    assert again.targets[1].classes == ("none", "low", "high")
    assert again.created_with.startswith("napari-hmkd ")


def test_a_target_says_whether_there_is_m(biomarker_card: BiomarkerCard) -> None:
    assert not BiomarkerCard.from_json(biomarker_card.to_json()).takes_genes
    content = json.loads(biomarker_card.to_json())
    del content["targets"][0]["temperature_with_genes"]
    message = "target HER2: lacks temperature_with_genes; take the card that was written with"
    with pytest.raises(ModelError, match=message):
        BiomarkerCard.from_json(json.dumps(content))


def test_all_targets_have_m_or_none_has(biomarker_card: BiomarkerCard) -> None:
    with pytest.raises(ModelError, match=r"targets must be .* all with M or none"):
        BiomarkerCard.from_json(changed_target(biomarker_card, temperature_with_genes=2.0))


def test_what_bags_did_not_tell_is_left_open(biomarker_card: BiomarkerCard) -> None:
    text = changed(biomarker_card, encoder_sha256="", patch_px=None, mpp=None)
    found = BiomarkerCard.from_json(text)
    assert (found.encoder_sha256, found.patch_px, found.mpp) == ("", None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 3),
        ("encoder", None),
        ("encoder_sha256", "0f"),
        ("encoder_sha256", "0F" * 32),
        ("feature_dim", 0),
        ("feature_dim", 10**18),
        ("feature_dim", 12.0),
        ("feature_dim", True),
        ("patch_px", -256),
        ("mpp", float("nan")),
        ("targets", []),
        ("targets", "HER2"),
        ("targets", ["HER2"]),
        ("notice", None),
    ],
)
def test_a_wrong_field_is_named(biomarker_card: BiomarkerCard, field: str, value: Any) -> None:
    with pytest.raises(ModelError, match=rf"{field} must be .*found"):
        BiomarkerCard.from_json(changed(biomarker_card, **{field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a.b"),
        ("name", " "),
        ("classes", ["one"]),
        ("classes", ["same", "same"]),
        ("classes", [0, 1]),
        ("classes", "ab"),
        ("classes", ["low", ""]),
        ("classes", ["low", "\ud800"]),
        ("ordinal", 1),
        ("temperature", 0),
        ("temperature_with_genes", 0),
        ("temperature_with_genes", "1"),
        ("definition", ""),
    ],
)
def test_a_wrong_field_of_a_target_is_named(
    biomarker_card: BiomarkerCard, field: str, value: Any
) -> None:
    with pytest.raises(ModelError, match=rf"target .*: {field} must be .*found"):
        BiomarkerCard.from_json(changed_target(biomarker_card, **{field: value}))


def test_two_targets_of_one_name_are_refused(biomarker_card: BiomarkerCard) -> None:
    with pytest.raises(ModelError, match="of another name"):
        BiomarkerCard.from_json(changed_target(biomarker_card, name="ER level"))


@pytest.mark.parametrize("field", ["mpp", "targets", "encoder"])
def test_a_missing_field_is_named(biomarker_card: BiomarkerCard, field: str) -> None:
    data = json.loads(biomarker_card.to_json())
    del data[field]
    with pytest.raises(ModelError, match=f"lacks {field}"):
        BiomarkerCard.from_json(json.dumps(data))


def test_the_card_of_a_grader_is_named_as_one(biomarker_card: BiomarkerCard) -> None:
    data = json.loads(biomarker_card.to_json())
    data["role"] = data.pop("targets")
    with pytest.raises(
        ModelError, match="biomarker card: this is the card of a student or teacher"
    ):
        BiomarkerCard.from_json(json.dumps(data))


def test_unknown_fields_are_named(biomarker_card: BiomarkerCard) -> None:
    with pytest.raises(ModelError, match="unknown encodr"):
        BiomarkerCard.from_json(changed(biomarker_card, encodr="x"))
    with pytest.raises(ModelError, match="target HER2: unknown class"):
        BiomarkerCard.from_json(changed_target(biomarker_card, **{"class": "x"}))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
def test_broken_json_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"biomarker card: .*JSON"):
        BiomarkerCard.from_json(text)
