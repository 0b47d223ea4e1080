"""Fields of settings: each knows its option's help text, and keeps its number in range."""

from __future__ import annotations

import math
from dataclasses import field
from typing import TypeVar

from napari_hmkd.errors import DataError

T = TypeVar("T")


def option(default: T, text: str, name: str | None = None) -> T:
    """A field with its default, its help text, and its option's name where that is not the field's."""
    return field(default=default, metadata={"help": text, "name": name})


def require(name: str, value: float | None, low: float, high: float = math.inf) -> None:
    """Refuse a number outside low to high, infinity and NaN; None stands for a default.

    Raises
    ------
    DataError
        Naming the option.
    """
    if value is not None and not (low <= value <= high and value < math.inf):
        # Whole numbers are not rounded, as seeds have ten digits.
        to = "finite" if value == math.inf else f"at least {low:.15g}"
        wanted = to if high == math.inf else f"{low:.15g} to {high:.15g}"
        raise DataError(f"--{name.replace('_', '-')} must be {wanted}, got {value:.15g}")
