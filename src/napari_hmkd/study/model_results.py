"""What a model says about slides, read from the result folders of `napari-hmkd-grade`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from napari_hmkd.errors import DataError
from napari_hmkd.study.names import same_name
from napari_hmkd.study.scores import GRADE_NAMES, WHOLE_SLIDE, GradeName
from napari_hmkd.study.values import HIGHEST, ModelValue, whole_slide_value

SUMMARY_FILE = "summary.json"
TABLE_FILE = "tiles.csv"


@dataclass(frozen=True, slots=True)
class SlideResult:
    """One slide's result folder.

    Attributes
    ----------
    folder : Path
        Where it is.
    slide : str
        The slide's file name.
    values : mapping of str to ModelValue
        By region; see `model_values`.
    model, sha256 : str
        Name of the model and hash of its weights.
    notice : str
        The model card's.
    warnings : tuple of str
        What a reader of the results has to know besides.
    """

    folder: Path
    slide: str
    values: Mapping[str, ModelValue]
    model: str
    sha256: str
    notice: str
    warnings: tuple[str, ...]


class _Slide(BaseModel):
    name: str


class _Model(BaseModel):
    name: str
    sha256: str


class _Region(BaseModel):
    name: Annotated[str, Field(min_length=1)]
    expected_grade: Annotated[float, Field(ge=0, le=HIGHEST)] | None
    grade_of_most_area: GradeName | None


class _Summary(BaseModel):
    slide: _Slide
    model: _Model
    notice: str
    warnings: list[str]
    graded_tiles: int
    regions: list[_Region] = []


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
        except OSError as error:
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
    DataError
        As `model_values`.
    """
    summary = _summary(folder)
    return SlideResult(
        folder=folder,
        slide=summary.slide.name,
        values=model_values(folder),
        model=summary.model.name,
        sha256=summary.model.sha256,
        notice=summary.notice,
        warnings=tuple(warning for warning in summary.warnings if warning != summary.notice),
    )


def model_values(folder: Path) -> dict[str, ModelValue]:
    """A model's values of a slide: of `WHOLE_SLIDE`, and of the regions that `summary.json` lists.

    A slide or region of which no tile was graded has none.

    Raises
    ------
    DataError
        If `summary.json` or `tiles.csv` is missing or damaged, or two regions share a name; the
        message names the file.
    """
    summary = _summary(folder)
    whole = whole_slide_value(folder / TABLE_FILE, summary.graded_tiles)
    values = {} if whole is None else {WHOLE_SLIDE: whole}
    seen: dict[str, str] = {}
    for region in summary.regions:
        if first := seen.get(same_name(region.name)):
            raise DataError(
                f"{folder / SUMMARY_FILE}: the regions {first!r} and {region.name!r} cannot be told "
                "apart: give them different names, and grade the slide again"
            )
        seen[same_name(region.name)] = region.name
        if region.expected_grade is None:  # none of its tiles was graded
            continue
        most = region.grade_of_most_area
        grade = None if most is None else GRADE_NAMES.index(most)
        values[region.name] = ModelValue(region.expected_grade, grade)
    return values


def _is_result(path: Path) -> bool:
    return (path / SUMMARY_FILE).is_file()


def _results_below(path: Path) -> list[Path]:
    # A name that begins with a dot is a folder that was being written.
    return sorted(f for f in path.iterdir() if _is_result(f) and not f.name.startswith("."))


def _summary(folder: Path) -> _Summary:
    path = folder / SUMMARY_FILE
    try:
        return _Summary.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path} is no summary of this program ({where}: {first['msg']}): grade the slide again"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}): grade the slide again") from error
