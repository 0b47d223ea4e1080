"""Whether a teacher knows the tiles by which its student will be judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.training.console import say
from napari_hmkd.training.leaks import PictureDigests
from napari_hmkd.training.scores.selection import RunSplit, read_split
from napari_hmkd.training.splits import SPLIT_FILE, Split
from napari_hmkd.training.tiles import Tile

# What the teacher learned by heart it passes on. Parts of the student's split, and the parts of the
# teacher's in which their tiles must not be.
SPOILT_BY = {
    "test": ("train", "validation", "calibration"),
    "validation": ("train",),
    "calibration": ("train",),
}
SHOWN_TILES = 3
SEPARATE = "the teacher was fitted to none of the tiles or patients that its student is judged by"
PATIENTS_UNKNOWN = (
    "the teacher was fitted to none of the tiles that its student is judged by; whether to others of "
    "their patients is not known, as some tiles name none"
)


def refuse_seen_by_teacher(
    weights: Path,
    tiles: Sequence[Tile],
    split: Split,
    digests: Sequence[PictureDigests],
    accept: bool,
) -> str:
    """Refuse a teacher that knows what its student is picked, calibrated or tested on.

    The test part must be new to it, validation and calibration parts must not have trained it.
    Tiles are looked up by name, by patient and by picture in the split.csv beside its weights; where
    there is none, this is said, and nothing is refused.

    Parameters
    ----------
    weights : Path
        The teacher's file.
    tiles : sequence of Tile
        All tiles of the student's run.
    split : Split
        The split of the student's run.
    digests : sequence of PictureDigests
        Of all tiles.
    accept : bool
        Warn instead.

    Returns
    -------
    str
        What is to be recorded about it: separate, as far as patients are known, not checked, or accepted.

    Raises
    ------
    DataError
        If the teacher knows a tile and that is not accepted, or split.csv cannot be read.
    """
    path = weights.with_name(SPLIT_FILE)
    if not path.is_file():
        note = (
            "whether the teacher knows tiles that its student is judged by was not checked: there "
            f"is no {SPLIT_FILE} beside {weights}"
        )
        say(f"note: {note}")
        return note
    known = read_split(path)
    found = list(_overlaps(known, tiles, split, digests))
    if not found:
        judged = (tiles[i] for part in SPOILT_BY for i in split.parts()[part])
        nameless = known.nameless or any(tile.patient is None for tile in judged)
        return PATIENTS_UNKNOWN if nameless else SEPARATE
    text = "\n  ".join([f"{weights} knows tiles that its student is judged by:", *found])
    if not accept:
        raise DataError(
            f"{text}\nScores would be too good: train the teacher with the same split or fold as "
            f"the student (its own is in {path}), or train all the same with --accept-leaks"
        )
    say(f"warning: leaks were accepted, scores may be too good: {text}")
    return f"leaks were accepted: the teacher knows {'; '.join(found)}"


def _overlaps(
    known: RunSplit, tiles: Sequence[Tile], split: Split, digests: Sequence[PictureDigests]
) -> Iterator[str]:
    """In words, for each part of the student's and of the teacher's split, what they share."""
    for part, indices in split.parts().items():
        shared = defaultdict(list)
        for i in indices:
            shared[known.part(tiles[i], digests[i])].append(tiles[i].name)
        for taught in SPOILT_BY.get(part, ()):
            if names := shared[taught]:
                shown = ", ".join(names[:SHOWN_TILES])
                more = ", ..." if len(names) > SHOWN_TILES else ""
                yield (
                    f"{len(names)} of {len(indices)} {part} tiles, or their patients, are in its "
                    f"{taught} part ({shown}{more})"
                )
