"""Whether the parts of a run's split are separate, told by patients and by pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_hmkd.errors import DataError
from napari_hmkd.training.console import say, tracked
from napari_hmkd.training.leaks import PictureDigests, shared_patients, shared_pictures
from napari_hmkd.training.parallel import in_threads
from napari_hmkd.training.sources.images import pixel_digest
from napari_hmkd.training.splits import Split
from napari_hmkd.training.store import PairStore
from napari_hmkd.training.tiles import TileSource
from napari_hmkd.wording import some_of

SHOWN_LEAKS = 10


def picture_digests(source: TileSource, store: PairStore | None = None) -> list[PictureDigests]:
    """What a copy of a tile's pictures is known by, whatever its files are called.

    The pixels are those of the source's store where there is one, which may keep what it decodes.
    Only decoding tells, as copies are saved again: each picture is decoded once, in up to eight
    threads. That is about 20 ms of one core for a JPEG of 1024 px, so about three minutes of one
    core, or half a minute of eight, for BCI's 9,746. Rendered tiles have none, each being drawn for
    itself.

    Raises
    ------
    DataError
        If a picture cannot be decoded.
    """
    count = len(source.tiles)
    if source.renders:
        return [(None, None)] * count

    def digests_of(index: int) -> PictureDigests:
        he, ihc = source.read(index) if store is None else store.read(np.array([index]))[0]
        return pixel_digest(he), pixel_digest(ihc)

    return list(tracked(in_threads(digests_of, range(count)), "Comparing pictures", count))


def refuse_leaks(
    source: TileSource, split: Split, digests: Sequence[PictureDigests], accept: bool
) -> list[str]:
    """Refuse a split with the same patient or the same picture in two of its parts.

    Parameters
    ----------
    source : TileSource
        The tiles.
    split : Split
        The split that training will use.
    digests : sequence of PictureDigests
        Of all tiles of the source; H&E is compared with H&E, IHC with IHC.
    accept : bool
        Warn instead.

    Returns
    -------
    list of str
        The leaks that were accepted, a sentence each.

    Raises
    ------
    DataError
        If there is a leak and it is not accepted.
    """
    parts = {i: part for part, indices in split.parts().items() for i in indices.tolist()}
    used = sorted(parts)
    sides = [parts[i] for i in used]
    patients = [source.tiles[i].patient for i in used]
    names = [source.names(i) for i in used]
    leaks = shared_patients(patients, sides)
    leaks += shared_pictures([digests[i] for i in used], names, patients, sides)[0]
    if not leaks:
        return []
    text = some_of(leaks, SHOWN_LEAKS, "\n  ")
    if not accept:
        raise DataError(
            f"the parts of the split are not separate, so that scores would be too good:\n  {text}\n"
            "Put all of a patient, and all copies of a picture, into one part, or train all the same "
            "with --accept-leaks"
        )
    say(f"warning: leaks were accepted, scores may be too good:\n  {text}")
    return leaks
