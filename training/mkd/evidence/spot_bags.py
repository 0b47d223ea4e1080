"""The tissue about a spot of her2st as a bag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from napari_hmkd.bags.bag import Bag, write_bag
from napari_hmkd.biomarkers.attributes import ENCODER, ENCODER_SHA256, PATCH_MPP
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.geometry import Size
from napari_hmkd.slide import Slide, open_slide
from napari_hmkd.training.console import tracked
from napari_hmkd.training.mkd.evidence.spots import SLIDES, Spot

TILE_PX = 256
"""Of 0.92 um/px in the demo encoder: 236 um, a spot and the way to the next."""


@dataclass(frozen=True, eq=False)
class Patch:
    """The tile about a spot: its corner (y, x) and side in level-0 px, and its features (d,)."""

    corner: NDArray[np.int64]
    side_px: int
    features: NDArray[np.float32]


Patches = dict[tuple[int, int], Patch]
"""By row and column of the spot."""


def bag_path(folder: Path, train: str, spot: Spot) -> Path:
    """Where a spot's bag lies for runs in which the section `train` teaches."""
    return folder / train / f"{spot.name}.h5"


def write_bags(data: Path, spots: Sequence[Spot], encoder: Encoder, folder: Path) -> None:
    """Two bags for each spot, one for each section that may teach; nothing where all are there.

    A bag has the tiles at a spot and at its neighbours in the array, up to nine. Features are
    standardised by the tiles of the section that teaches: the demo encoder has seen drawn tissue alone,
    and on real tissue many of its features differ in the second decimal only.

    Raises
    ------
    HmkdError
        If a slide cannot be read, or a bag cannot be written.
    """
    if all(bag_path(folder, train, spot).is_file() for train in SLIDES for spot in spots):
        return
    patches = {}
    for section, name in SLIDES.items():
        with open_slide(data / "slides" / name) as slide:
            own = [spot for spot in spots if spot.section == section]
            patches[section] = encoded(slide, own, encoder)
    for train in SLIDES:
        scaler = StandardScaler().fit([patch.features for patch in patches[train].values()])
        said = {
            ENCODER: encoder.name,
            ENCODER_SHA256: encoder.sha256,
            PATCH_MPP: encoder.mpp,
            "tile_px": TILE_PX,
            "standardised_by": train,
        }
        for spot in spots:
            found = _around(spot, patches[spot.section])
            features = scaler.transform([patch.features for patch in found])
            corners = np.stack([patch.corner for patch in found])
            bag = Bag(spot.name, features, corners, found[0].side_px, said)
            write_bag(bag_path(folder, train, spot), bag)


def encoded(slide: Slide, spots: Sequence[Spot], encoder: Encoder) -> Patches:
    """The tile about each spot of a section."""
    side = TILE_PX * encoder.mpp / np.array(slide.require_mpp())
    found: Patches = {}
    for spot in tracked(spots, f"Encoding {slide.name}", len(spots)):
        y, x = np.array(spot.center_px) - side / 2
        tile = slide.read((y, x), Size(TILE_PX, TILE_PX), encoder.mpp)
        corner = np.rint((y, x)).astype(np.int64)
        features = encoder.encode(tile[None])[0]
        found[spot.row, spot.column] = Patch(corner, round(side.mean()), features)
    return found


def _around(spot: Spot, patches: Patches) -> list[Patch]:
    steps = (-1, 0, 1)
    places = [(spot.row + dy, spot.column + dx) for dy in steps for dx in steps]
    return [patches[place] for place in places if place in patches]
