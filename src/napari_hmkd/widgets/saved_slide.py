"""Which slide saved results are of: many slides share a name, and a folder is named after its slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from napari_hmkd.errors import OutputError
from napari_hmkd.result_files import SavedSlide
from napari_hmkd.slide import Slide
from napari_hmkd.study.identity import SHOWN


class _Summary(BaseModel):
    slide: SavedSlide


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """Where a slide's results are to be saved.

    Attributes
    ----------
    path : pathlib.Path
    summary_file : str
        Name of the JSON file in it that tells whose results they are.
    fingerprint : str
        The slide's.
    """

    path: Path
    summary_file: str
    fingerprint: str

    def check_own(self) -> None:
        """Check that no other slide's results would be replaced.

        Raises
        ------
        OutputError
            If those of another file of the slide's name are there.
        """
        try:
            summary = (self.path / self.summary_file).read_bytes()
            there = _Summary.model_validate_json(summary).slide
        except (OSError, ValueError):  # no such file, or a damaged one
            return
        if there.fingerprint != self.fingerprint:
            raise OutputError(
                f"asked to write results to {self.path}, which has those of another slide of that name "
                f"(fingerprint {there.fingerprint[:SHOWN]} there, {self.fingerprint[:SHOWN]} here); choose "
                "another output folder"
            )


def may_be_of(about: Mapping[str, Any], slide: Slide) -> bool:
    """Whether saved results can be a slide's, from what is known without reading it.

    Parameters
    ----------
    about : mapping
        A layer's `metadata["napari_hmkd"]`; saved results have `slide_name` and `saved_slide`.
    slide : Slide
        An open slide.
    """
    if about.get("slide_name") != slide.name:
        return False
    saved = about["saved_slide"]
    return (saved.height_px, saved.width_px) == (slide.size.height, slide.size.width)
