"""Of results that are seen over another slide of their name a window tells once."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari.layers import Image, Points
from upath import UPath

from napari_hmkd.errors import SlideReadError
from napari_hmkd.result_files import SavedSlide
from napari_hmkd.slide import Slide
from napari_hmkd.widgets import namesakes
from napari_hmkd.widgets.namesakes import tell_of_namesakes

SIDE_PX = 64
NAME = "a.svs"
SAVED = SavedSlide(fingerprint="af12", height_px=SIDE_PX, width_px=SIDE_PX)


def layer(**about: Any) -> Image:
    return Image(np.zeros((2, 2)), metadata={"napari_hmkd": about})


def slide_layer(path: Path | UPath) -> Image:
    size = SimpleNamespace(height=SIDE_PX, width=SIDE_PX)
    return layer(slide=SimpleNamespace(name=NAME, path=path, size=size))


def result_layer(side_px: int) -> Image:
    saved = SAVED.model_copy(update={"height_px": side_px, "width_px": side_px})
    return layer(slide_name=NAME, folder=Path("out"), saved_slide=saved)


@pytest.mark.parametrize("first", ["results", "slide"])
def test_it_tells_once_of_a_folder_whatever_comes_later(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(namesakes, "show_warning", told.append)
    slide, results = slide_layer(Path(NAME)), [result_layer(SIDE_PX + 1) for _ in range(2)]
    layers = [*results, slide] if first == "results" else [slide, *results]
    layers += [Points(), layer(slide_name="b.svs", folder=Path("b"), saved_slide=SAVED)]
    for count in range(1, len(layers) + 1):
        tell_of_namesakes(layers[:count], layers[count - 1])
    (warning,) = told
    assert f"{SIDE_PX + 1} x {SIDE_PX + 1} px" in warning


@pytest.mark.parametrize(
    ("path", "compared"),
    [(Path("slides") / NAME, True), (UPath(f"memory://slides/{NAME}"), False)],
    ids=["file", "address"],
)
def test_nothing_is_fetched_from_an_address_to_compare_slides_of_one_size(
    path: Path | UPath, compared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(namesakes, "_Comparison", lambda *given: begun.append(given))
    results = result_layer(SIDE_PX)
    tell_of_namesakes([slide_layer(path), results], results)
    assert bool(begun) == compared


@pytest.mark.parametrize(
    ("fingerprints", "warnings"),
    [
        (
            {"a": None, "b": "bf34"},
            [r"and that of the open one bf34\. Not compared: 'a' was touched"],
        ),
        ({"a": None, "b": SAVED.fingerprint}, []),
        ({"a": None}, []),
    ],
    ids=["another slide", "their slide", "nothing to compare"],
)
def test_a_slide_that_cannot_be_compared_leaves_the_comparison_of_the_others(
    fingerprints: dict[str, str | None], warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(slide: Slide) -> str:
        folder = slide.path.parent.name
        if (found := fingerprints[folder]) is None:
            raise SlideReadError(f"'{folder}' was touched")
        return found

    told: list[str] = []
    monkeypatch.setattr(namesakes, "show_warning", told.append)
    monkeypatch.setattr(namesakes, "fingerprint", fingerprint)
    monkeypatch.setattr(
        namesakes._Comparison, "_begin_once", lambda self, what, work: self._on_step(work())
    )
    results = result_layer(SIDE_PX)
    tell_of_namesakes(
        [*(slide_layer(Path(folder) / NAME) for folder in fingerprints), results], results
    )
    assert len(told) == len(warnings)
    assert all(re.search(*pair) for pair in zip(warnings, told, strict=True))
