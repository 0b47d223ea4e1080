"""What made the bags: one encoder, one kind of patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_hmkd.bags.bag import read_attributes
from napari_hmkd.errors import DataError
from napari_hmkd.training.parallel import side_by_side

UNKNOWN = "unknown"


@dataclass(frozen=True)
class BagSource:
    """What bags say of the encoder that made them, in the fields of a biomarker card.

    Attributes
    ----------
    encoder, encoder_sha256 : str
        "unknown" and "" where they do not tell, as CLAM's and TRIDENT's.
    patch_px : int or None
        Side of what the encoder saw.
    mpp : float or None
        Its pixel size in um/px.
    notice : str
        What must be said wherever the encoder's features are used.
    """

    encoder: str = UNKNOWN
    encoder_sha256: str = ""
    patch_px: int | None = None
    mpp: float | None = None
    notice: str = ""

    def __str__(self) -> str:
        """In words, for messages."""
        return (
            f"the encoder {self.encoder} (SHA-256 {self.encoder_sha256[:16]}) with patches of "
            f"{self.patch_px} px at {self.mpp} um/px"
        )


def bag_source(paths: Sequence[Path]) -> BagSource:
    """The one source of bags; those that do not tell are taken to be of the same.

    Raises
    ------
    DataError
        If they tell of two, which equal dimensions hide.
    """
    told: dict[BagSource, list[Path]] = {}
    for path, said in zip(paths, side_by_side(read_attributes, paths), strict=True):
        if "encoder_sha256" in said:  # written by this program
            source = BagSource(
                encoder=said["encoder"],
                encoder_sha256=said["encoder_sha256"],
                patch_px=said["tile_px"],
                mpp=said["mpp"],
                notice=said.get("notice", ""),
            )
            told.setdefault(source, []).append(path)
    if len(told) > 1:
        shown = "; ".join(f"{len(found)} by {of}, as {found[0].name}" for of, found in told.items())
        raise DataError(
            f"the bags were not made alike: {shown}. Bags of one training come from one encoder, "
            "with patches of one size: make them again"
        )
    return next(iter(told), BagSource())
