"""What a model says about slides, read from the result folders of `napari-hmkd-grade`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from napari_hmkd.errors import DataError
from napari_hmkd.grade_tables import grade_of_most
from napari_hmkd.result_files import (
    SUMMARY_FILE,
    MeanGrade,
    ModelEntry,
    Part,
    Summary,
    TilesEntry,
    read_result_files,
)
from napari_hmkd.study.scores import GRADES, WHOLE_SLIDE
from napari_hmkd.study.values import ModelValue
from napari_hmkd.wording import same_name


@dataclass(frozen=True, slots=True)
class SlideResult:
    """One slide's result folder.

    Attributes
    ----------
    folder : Path
        Where it is.
    slide, fingerprint : str
        The slide's file name, and what its content is known by.
    values : mapping of str to ModelValue
        Of `WHOLE_SLIDE`, and of the regions that were marked, by name. A slide or region of which no
        tile was graded, or not all that are wanted, has none.
    model, sha256 : str
        Name of the model and hash of its weights.
    notice : str
        The model card's.
    warnings : tuple of str
        What a reader of the results has to know besides, with why values are missing.
    """

    folder: Path
    slide: str
    fingerprint: str
    values: Mapping[str, ModelValue]
    model: str
    sha256: str
    notice: str
    warnings: tuple[str, ...]


class _Tiles(TilesEntry):
    only_in_regions: bool


class _Model(ModelEntry):
    sha256: str


class _Area(Part):
    area_mm2: NonNegativeFloat


class _Graded(Part):
    expected_grade: MeanGrade | None
    # From 0 to 3+, as the model's card calls them.
    grades: Annotated[dict[str, _Area], Field(min_length=GRADES, max_length=GRADES)]

    @property
    def value(self) -> ModelValue | None:
        """None where no tile was graded."""
        if self.expected_grade is None:
            return None
        area_mm2 = [one.area_mm2 for one in self.grades.values()]
        return ModelValue(self.expected_grade, grade_of_most(area_mm2))


class _Region(_Graded):
    name: Annotated[str, Field(min_length=1)]
    tiles_left: NonNegativeInt

    @property
    def missing(self) -> str:
        """Why its tiles do not stand for all of it; empty where they do."""
        left = self.tiles_left
        what = f"no value of the region {self.name!r}"
        return f"{what}: {left} of its tiles not graded" if left else ""


class _Summary(_Graded, Summary):
    tiles: _Tiles
    model: _Model
    complete: bool
    warnings: list[str]
    regions: list[_Region]

    @property
    def missing(self) -> str:
        """Why its tiles do not stand for the whole slide; empty where they do."""
        if self.tiles.only_in_regions:
            return "no value of the whole slide: only marked regions were graded"
        return "" if self.complete else "no value of the whole slide: it was graded in part"


def find_results(paths: Sequence[Path]) -> list[Path]:
    """The result folders among `paths` and directly below them, each once.

    Raises
    ------
    DataError
        If a path is no folder, or neither is a result folder nor holds one.
    """
    found: dict[Path, None] = {}
    for path in paths:
        try:
            folders = [path] if _is_result(path) else _results_below(path)
        except (OSError, ValueError) as error:
            raise DataError(
                f"asked for results in {path}, but: {error}; name the folder that "
                "napari-hmkd-grade wrote to with --out"
            ) from error
        if not folders:
            raise DataError(
                f"asked for results in {path}, but neither it nor a folder in it holds "
                f"{SUMMARY_FILE}; name the folder that napari-hmkd-grade wrote to with --out"
            )
        found |= dict.fromkeys(folder.resolve() for folder in folders)
    return list(found)


def read_result(folder: Path) -> SlideResult:
    """Everything of a result folder that a study needs.

    Raises
    ------
    OutputError
        If its files are unusable, see `read_result_files`.
    DataError
        If two regions share a name.
    """
    summary = read_result_files(folder, "compare readers with", _Summary).summary
    said = [warning for warning in summary.warnings if warning != summary.notice]
    missing = [summary.missing, *(region.missing for region in summary.regions)]
    return SlideResult(
        folder=folder,
        slide=summary.slide.name,
        fingerprint=summary.slide.fingerprint,
        values=_values(folder, summary),
        model=summary.model.name,
        sha256=summary.model.sha256,
        notice=summary.notice,
        warnings=(*said, *filter(None, missing)),
    )


def _values(folder: Path, summary: _Summary) -> dict[str, ModelValue]:
    seen: dict[str, str] = {}
    for region in summary.regions:
        if first := seen.get(same_name(region.name)):
            raise DataError(
                f"{folder / SUMMARY_FILE}: the regions {first!r} and {region.name!r} cannot be told "
                "apart: give them different names, and grade the slide again"
            )
        seen[same_name(region.name)] = region.name
    parts: dict[str, _Summary | _Region] = {WHOLE_SLIDE: summary}
    parts |= {one.name: one for one in summary.regions}
    found = {name: one.value for name, one in parts.items() if not one.missing}
    return {name: value for name, value in found.items() if value is not None}


def _is_result(path: Path) -> bool:
    return (path / SUMMARY_FILE).is_file()


def _results_below(path: Path) -> list[Path]:
    # A name that begins with a dot is a folder that was being written.
    return sorted(f for f in path.iterdir() if _is_result(f) and not f.name.startswith("."))
