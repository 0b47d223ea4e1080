"""What the cards of all kinds of models share: fields that are checked, and their JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hmkd.errors import ModelError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# By a field that only its card has: who names the wrong file needs to be told so, not of fields.
_KINDS = {
    "role": "a student or teacher, which grades tiles",
    "targets": "a biomarker model, which predicts a status of slides",
}


_LARGEST, _SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)

# Whether a field's value is right, and what it must be.
Rule = tuple[Callable[[Any], bool], str]


def is_number(value: Any) -> bool:
    """Whether it is a finite number, which no bool is, within what networks compute with."""
    right = isinstance(value, Real) and not isinstance(value, bool)
    return right and bool(-_LARGEST <= value <= _LARGEST)


def is_positive(value: Any) -> bool:
    """Whether it is a number above 0, by which networks can divide."""
    return is_number(value) and value >= _SMALLEST


def is_text(value: Any) -> bool:
    """Whether it is a text that files can hold, be it empty; JSON can write half a letter."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def are_different_texts(values: Any) -> bool:
    """Whether it is a tuple of texts, none of which is there twice."""
    right = isinstance(values, tuple) and all(map(is_text, values))
    return right and len(set(values)) == len(values)


def check_fields(card: DataclassInstance, rules: Mapping[str, Rule], what: str) -> None:
    """Check every field, turn lists into tuples, and say who writes a card that does not tell.

    Parameters
    ----------
    card : dataclass instance
    rules : mapping of str to Rule
        By the field's name; a field that has none must be text.
    what : str
        How a message calls the card.

    Raises
    ------
    ModelError
        Naming the first field that is wrong.
    """
    for field in fields(card):
        value = getattr(card, field.name)
        if isinstance(value, list) and str(field.type).startswith("tuple"):
            value = tuple(value)
        elif field.name == "created_with" and not value:
            value = f"napari-hmkd {version('napari-hmkd')}"
        object.__setattr__(card, field.name, value)
        is_right, wanted = rules.get(field.name, (is_text, "text"))
        if not is_right(value):
            raise ModelError(f"{what}: {field.name} must be {wanted}, found {value!r}")


def card_json(card: DataclassInstance) -> str:
    """A card as JSON text."""
    return json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"


def json_object(text: str, what: str) -> dict[str, Any]:
    """The object that a JSON text holds.

    Raises
    ------
    ModelError
        If it holds none.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what}: not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise ModelError(f"{what}: must be a JSON object, found {type(data).__name__}")
    return data


def check_names(data: Collection[str], card: type[DataclassInstance], what: str) -> None:
    """Require the names of a card's fields, all of them and no others.

    Raises
    ------
    ModelError
        Naming those that lack or are unknown, or the kind of model whose card this is.
    """
    found, known = set(data), {field.name for field in fields(card)}
    for name, kind in _KINDS.items():
        if name in found - known:
            raise ModelError(f"{what}: this is the card of {kind}: choose a file of the other kind")
    for problem, names in (("lacks", known - found), ("unknown", found - known)):
        if names:
            raise ModelError(
                f"{what}: {problem} {', '.join(sorted(names))}; take the card that was written with the weights, "
                "or make the model again"
            )
