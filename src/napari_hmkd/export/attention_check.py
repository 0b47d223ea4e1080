"""Whether attention is importance in the worst tiles of a slide, as its files say it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from napari_hmkd.errors import ModelError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inspection.faithfulness import (
    RECEIVED,
    Faithfulness,
    RankCorrelation,
    check_faithfulness,
    mean_correlations,
)
from napari_hmkd.inspection.importance import Method
from napari_hmkd.inspection.pair import StainPair
from napari_hmkd.inspection.tile import LEVELS, Tile, inspect_tile, token_side_px
from napari_hmkd.wording import counted

_WORST, _HIGHEST = "the greatest attention loss", "the highest expected grade"
"""What tiles are chosen by, and without a teacher."""

_FEWEST_TOKENS = 64  # ranks of fewer say little


@dataclass(frozen=True, slots=True, eq=False)
class CheckedTile:
    """A tile in which importance was measured, or why it could not be."""

    tile: Tile
    found: Faithfulness | ModelError


@dataclass(frozen=True, slots=True)
class ImportanceCheck:
    """Measures importance in some tiles.

    Attributes
    ----------
    student : OpenModel
    tiles : int
        How many, 0 for none.
    """

    student: OpenModel
    tiles: int

    def run(self, pair: StainPair, tiles: Sequence[Tile]) -> Generator[CheckedTile, None, None]:
        """Check tiles, at the coarsest level of 64 tokens or more.

        Raises
        ------
        SlideReadError
            The H&E does not answer.
        DeviceError, HmkdError
            As `measure_importance` does.
        """
        level = _level(pair.grid.tile_px)
        for tile in tiles:
            he = pair.he.in_time(partial(pair.read_he, tile))
            yield CheckedTile(tile, self._found(he, level))

    def _found(self, he: np.ndarray, level: int) -> Faithfulness | ModelError:
        try:
            *_, found = check_faithfulness(self.student, he, inspect_tile(self.student, he), level)
        except ModelError as error:
            return error
        assert isinstance(found, Faithfulness)
        return found


def importance_entry(checked: Sequence[CheckedTile]) -> dict[str, object]:
    """What `attention.json` says: the mean rank correlations, and those of each tile."""
    measured = _measured(checked)
    return {
        "tiles": f"those with {_WORST}, without a teacher with {_HIGHEST}",
        "level": measured[0].level if measured else None,
        "mean_rank_correlation": _entry(mean_correlations(measured)),
        "each": [
            {"row": one.tile[0], "column": one.tile[1]}
            | (
                {"rank_correlation": _entry(one.found.correlations)}
                if isinstance(one.found, Faithfulness)
                else {"failed": str(one.found)}
            )
            for one in checked
        ],
    }


def importance_words(checked: Sequence[CheckedTile], with_teacher: bool) -> str:
    """The same in a sentence; empty where nothing was measured."""
    measured = _measured(checked)
    if not measured:
        return ""
    mean, tiles = mean_correlations(measured), len(measured)
    occlusion, gradient = (
        _mean_words(mean[RECEIVED, method], tiles) for method in (Method.OCCLUSION, Method.GRADIENT)
    )
    return (
        f"Attention is not importance: mean rank correlation of the student's received attention, level "
        f"{measured[0].level}, over {counted(tiles, 'tile')} with {_WORST if with_teacher else _HIGHEST} "
        f"(95 % interval over tiles) with importance by occlusion {occlusion}, by gradient {gradient}."
    )


def _mean_words(mean: RankCorrelation, tiles: int) -> str:
    """A mean, and of how many tiles it is where it is undefined in others."""
    return f"{mean}, defined in {mean.n}" if 0 < mean.n < tiles else str(mean)


def _level(tile_px: int) -> int:
    enough = [one for one in LEVELS if (tile_px // token_side_px(one)) ** 2 >= _FEWEST_TOKENS]
    return max(enough, default=LEVELS[0])


def _measured(checked: Sequence[CheckedTile]) -> list[Faithfulness]:
    return [one.found for one in checked if isinstance(one.found, Faithfulness)]


def _entry(correlations: Mapping[tuple[str, str], RankCorrelation]) -> dict[str, object]:
    return {f"{first} with {second}": asdict(one) for (first, second), one in correlations.items()}
