"""What the attention inspector says."""

from __future__ import annotations

from collections.abc import Mapping

from napari_hmkd.inspection.faithfulness import RECEIVED, Faithfulness
from napari_hmkd.inspection.importance import Method
from napari_hmkd.inspection.maps import MapKind
from napari_hmkd.inspection.tile import Tile, Token
from napari_hmkd.wording import counted


def map_words(kind: MapKind) -> str:
    """What the numbers of a map are."""
    if kind is MapKind.DIFFERENCE:
        return "Above 0 the student looks more than the teacher, below 0 less."
    if kind is MapKind.DISCREPANCY:
        return "0: both attend alike from this token. The sum over a tile is its attention loss."
    return "1: looked at as much as if all tokens were alike; 0: not at all."


def tile_words(tile: Tile) -> str:
    """A tile's name."""
    return f"row {tile[0]}, column {tile[1]}"


def nothing_words(only_regions: bool, marked: bool) -> str:
    """Why no tile in view is inspected."""
    if only_regions and not marked:
        return "No region is marked: mark one, or switch off 'Only inside marked regions'."
    return f"Nothing of {'a marked region' if only_regions else 'the slide'} is in view."


def extent_words(chosen: int, in_view: int) -> str:
    """Which of the tiles in view are not inspected; empty where all are."""
    if chosen == in_view:
        return ""
    return (
        f" They are the nearest to the middle of {in_view} tiles in view, as many as are kept: zoom in for the "
        "others."
    )


def progress_words(done: int, planned: int, failed: Mapping[Tile, str]) -> str:
    """How far it is, and what could not be inspected."""
    if not planned:
        return "All of it was inspected before."
    text = f"{done} of {counted(planned, 'tile')} inspected."
    if failed:
        tile, reason = next(iter(failed.items()))
        be = "is" if len(failed) == 1 else "are"
        text += f" {len(failed)} could not be and {be} not painted, such as {tile_words(tile)}: {reason}"
    return text


def query_words(tile: Tile, token: Token, level: int, with_teacher: bool) -> str:
    """What is shown of a token."""
    who = (
        "green the student, magenta the teacher on H&E, white both"
        if with_teacher
        else "the student"
    )
    return f"Tile {tile_words(tile)}, level {level}, token {token[0]}, {token[1]}: where it attends, {who}."


def verdict(tile: Tile, checked: Faithfulness) -> str:
    """How far received attention of a tile tells what the answer hangs on."""
    found = checked.correlations
    gradient, occlusion = found[RECEIVED, Method.GRADIENT], found[RECEIVED, Method.OCCLUSION]
    each_other = found[Method.GRADIENT, Method.OCCLUSION]
    return (
        f"Tile {tile_words(tile)}, level {checked.level}, {occlusion.n} tokens. Rank correlation, with 95 % "
        f"interval, of the student's received attention with importance by occlusion: {occlusion}; by "
        f"gradient: {gradient}. Of the two with each other: {each_other}. Where the student looks is not "
        "what its answer hangs on unless these are high."
    )
