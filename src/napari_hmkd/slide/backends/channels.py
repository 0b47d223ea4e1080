"""Whether three channels are the colours of a brightfield slide or those of fluorescence."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PRIMARIES = ["FF0000", "00FF00", "0000FF"]
_COLOUR_WORDS = ({"r", "red"}, {"g", "green"}, {"b", "blue"})


def channels_problem(labels: Sequence[str], colours: Sequence[str]) -> str | None:
    """Why three channels are not red, green and blue, as far as their labels and colours tell; or None.

    Parameters
    ----------
    labels : sequence of str
        What each channel is called, empty where it has no name.
    colours : sequence of str
        How each is to be drawn, as "RRGGBB" in upper case, empty where that is not said.
    """
    if all(labels) and len(set(labels)) == len(labels) == 3 and not _are_primaries(labels):
        return f"its channels are called {', '.join(labels)}"
    if all(colours) and len(set(colours)) > 1 and list(colours) != _PRIMARIES:
        return f"its channels have the colours {', '.join(colours)}"
    return None


def _are_primaries(labels: Sequence[str]) -> bool:
    """Whether three labels end in red, green, blue, or only number the channels from 0 or 1 on."""
    numbers = [int(one[0]) if (one := re.findall(r"\d+$", label)) else -1 for label in labels]
    last = [(re.findall("[a-z]+", label.lower()) or [""])[-1] for label in labels]
    named = all(word in known for word, known in zip(last, _COLOUR_WORDS, strict=True))
    return named or numbers in ([0, 1, 2], [1, 2, 3])
