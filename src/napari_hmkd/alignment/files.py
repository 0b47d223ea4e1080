"""Alignments in files, beside the results that were read through them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_hmkd.alignment.alignment import Alignment, Method
from napari_hmkd.durable import replaced_file
from napari_hmkd.errors import AlignmentError, OutputError
from napari_hmkd.slide import Slide
from napari_hmkd.slide.fingerprint import fingerprint

_Row = tuple[float, float, float]
_Pair = tuple[float, float]
_SAME_MPP = 1e-4  # of it: um have to be the same um


class _File(BaseModel):
    """What a file holds, as JSON."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")

    format: Literal["napari-hmkd alignment"]
    version: Literal[1]
    maps: Literal["(y, x, 1) on the H&E in um to (y, x) on the IHC in um"]
    affine: tuple[_Row, _Row]
    method: Method
    residual_um: Annotated[float, Field(ge=0)] | None
    score: float | None
    he_fingerprint: str
    ihc_fingerprint: str
    he_mpp: _Pair
    ihc_mpp: _Pair


def save_alignment(path: Path, alignment: Alignment) -> None:
    """Write a JSON file, which appears whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written; what stood there before stands there still.
    """
    content = _File(
        format="napari-hmkd alignment",
        version=1,
        maps="(y, x, 1) on the H&E in um to (y, x) on the IHC in um",
        affine=alignment.affine[:2].tolist(),
        method=alignment.method,
        residual_um=alignment.residual_um,
        score=alignment.score,
        he_fingerprint=alignment.he_fingerprint,
        ihc_fingerprint=alignment.ihc_fingerprint,
        he_mpp=alignment.he_mpp,
        ihc_mpp=alignment.ihc_mpp,
    )
    try:
        with replaced_file(path) as part:
            part.write_text(content.model_dump_json(indent=2), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise OutputError(
            f"asked to write the alignment to {path}, but: {error}; look at the permissions and the free "
            "space, or choose another file"
        ) from error


def load_alignment(path: Path, he_slide: Slide, ihc_slide: Slide) -> Alignment:
    """Read what `save_alignment` wrote, for the slides that it was made for.

    Raises
    ------
    OutputError
        The file cannot be read, or is no alignment.
    AlignmentError
        It belongs to other slides, or to other pixel sizes of these.
    """
    try:
        content = _File.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = _first(error) if isinstance(error, ValidationError) else error
        raise OutputError(
            f"asked to read an alignment from {path}, but: {reason}; choose a file that this version of "
            "napari-hmkd wrote, or align the slides anew"
        ) from error
    kept = {"H&E": content.he_fingerprint, "IHC": content.ihc_fingerprint}
    for (stain, expected), slide in zip(kept.items(), (he_slide, ihc_slide), strict=True):
        if (found := fingerprint(slide)) != expected:
            raise AlignmentError(
                f"{path} aligns another {stain} than '{slide.name}' (fingerprint {expected[:8]} there, "
                f"{found[:8]} here): choose the file of these two slides, or align them anew"
            )
    sizes = {"H&E": content.he_mpp, "IHC": content.ihc_mpp}
    for (stain, there), slide in zip(sizes.items(), (he_slide, ihc_slide), strict=True):
        if not np.allclose(there, slide.require_mpp(), rtol=_SAME_MPP):
            raise AlignmentError(
                f"{path} was made with {there[0]:.4g} um/px for the {stain}, and '{slide.name}' has "
                f"{slide.require_mpp()[0]:.4g} now: state the same pixel size, or align them anew"
            )
    values = content.model_dump(exclude={"format", "version", "maps"})
    return Alignment(**values)


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
