"""The card of a biomarker model: what its bags are made of, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_hmkd.errors import ModelError
from napari_hmkd.model.card_fields import (
    Rule,
    are_different_texts,
    card_json,
    check_fields,
    check_names,
    is_positive,
    is_text,
    json_object,
)

WHAT = "biomarker card"
LARGEST_FEATURE_DIM = 100_000
_SHA256 = re.compile("([0-9a-f]{64})?")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing that a biomarker model tells of a slide.

    Attributes
    ----------
    name : str
        How outputs call it, e.g. "HER2"; no dot, as tensors are named ``NAME.rest``.
    classes : tuple of str
        Two or more different names in the order of the logits, from low to high where ordinal.
    ordinal : bool
        Whether the classes are ordered.
    temperature : float
        P's logits are divided by it before softmax.
    temperature_with_genes : float or None
        The same of M's; None where the file has no M.
    definition : str
        What the classes mean, in a sentence that stands beside each answer: a status is no grade.

    Raises
    ------
    ModelError
        If a field has the wrong type or is out of range; the message names it.
    """

    name: str
    classes: tuple[str, ...]
    ordinal: bool
    temperature: float = 1.0
    temperature_with_genes: float | None = None
    definition: str

    def __post_init__(self) -> None:
        """Bring every field to its type, and check it."""
        check_fields(self, _TARGET_RULES, f"{WHAT}, target {self.name}")


@dataclass(frozen=True, kw_only=True)
class BiomarkerCard:
    """Everything needed to rebuild the networks and to make bags for them.

    Attributes
    ----------
    name : str
        How outputs call the model.
    encoder : str
        Name of the frozen encoder of the patches.
    encoder_sha256 : str
        Of its weights, 64 hexadecimal digits; empty where the bags did not tell.
    feature_dim : int
        Length of a patch's features.
    patch_px : int or None
        Side of a patch as the encoder sees it; None where the bags did not tell. Then the model
        judges bags, but no slide.
    mpp : float or None
        Pixel size of a patch in um/px; None like `patch_px`.
    targets : tuple of Target
        What it tells; at least one, no name twice. For each there is P, and for all or none of them M.
    training_data : str
        What it was trained on.
    notice : str
        The sentence every output made with it must carry; empty for none.
    created_with : str
        Program and version that wrote the card.

    Raises
    ------
    ModelError
        If a field has the wrong type or is out of range; the message names it.
    """

    name: str
    encoder: str
    encoder_sha256: str
    feature_dim: int
    patch_px: int | None
    mpp: float | None
    targets: tuple[Target, ...]
    training_data: str = ""
    notice: str = ""
    created_with: str = ""

    def __post_init__(self) -> None:
        """Bring every field to its type, and check it."""
        check_fields(self, _CARD_RULES, WHAT)

    @property
    def takes_genes(self) -> bool:
        """Whether there is M beside P."""
        return self.targets[0].temperature_with_genes is not None

    def to_json(self) -> str:
        """The card as JSON text."""
        return card_json(self)

    @classmethod
    def from_json(cls, text: str) -> BiomarkerCard:
        """Read a card.

        Raises
        ------
        ModelError
            If the text is no JSON object, or a field is missing, unknown or wrong.
        """
        data = json_object(text, WHAT)
        check_names(data, cls, WHAT)
        if not isinstance(data["targets"], list):
            raise ModelError(f"{WHAT}: targets must be a list, found {data['targets']!r}")
        return cls(**data | {"targets": tuple(map(_read_target, data["targets"]))})


def _read_target(data: Any) -> Target:
    if not isinstance(data, Mapping):
        raise ModelError(f"{WHAT}: each of targets must be a JSON object, found {data!r}")
    check_names(data, Target, f"{WHAT}, target {data.get('name')}")
    return Target(**data)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_targets(targets: Any) -> bool:
    right = isinstance(targets, tuple) and all(isinstance(target, Target) for target in targets)
    different = right and len({target.name for target in targets}) == len(targets) > 0
    return different and len({x.temperature_with_genes is None for x in targets}) == 1


_TARGET_RULES: dict[str, Rule] = {
    "name": (
        lambda name: is_text(name) and name.strip() and "." not in name,
        "a text without a dot",
    ),
    "classes": (
        lambda names: are_different_texts(names) and len(names) > 1 and all(names),
        "two different texts or more",
    ),
    "ordinal": (lambda ordinal: isinstance(ordinal, bool), "true or false"),
    "temperature": (is_positive, "a positive number"),
    "temperature_with_genes": (lambda t: t is None or is_positive(t), "a positive number or null"),
    "definition": (lambda text: is_text(text) and text.strip(), "a sentence"),
}
_CARD_RULES: dict[str, Rule] = {
    "encoder_sha256": (
        lambda digits: is_text(digits) and _SHA256.fullmatch(digits) is not None,
        "64 hexadecimal digits or empty",
    ),
    "feature_dim": (
        lambda length: _is_whole(length) and length <= LARGEST_FEATURE_DIM,
        f"a whole number from 1 to {LARGEST_FEATURE_DIM}",
    ),
    "patch_px": (lambda side: side is None or _is_whole(side), "a positive whole number or null"),
    "mpp": (lambda mpp: mpp is None or is_positive(mpp), "a positive number or null"),
    "targets": (_are_targets, "one target or more, each of another name, all with M or none"),
}
