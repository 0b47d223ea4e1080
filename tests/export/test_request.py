"""What later runs know results by."""

from __future__ import annotations

import pytest
import shapely

from napari_hmkd.export.request import outline_entries, request_entry
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import MarkedRegion

SQUARE = [(0, 0), (0, 9), (9, 9), (9, 0)]


def entries(corners: list[tuple[float, float]]) -> list[dict[str, str]]:
    return outline_entries([MarkedRegion("tumour", shapely.Polygon(corners))])


def test_results_of_painted_tissue_are_not_those_of_the_same_settings_without() -> None:
    found, painted = (
        request_entry(GradeSettings(), (), one, geojson_origin="slide") for one in (False, True)
    )
    assert found != painted


@pytest.mark.parametrize("corners", [SQUARE[::-1], SQUARE[2:] + SQUARE[:2]])
def test_an_outline_is_the_same_wherever_it_begins_and_whichever_way_it_goes(
    corners: list[tuple[float, float]],
) -> None:
    assert entries(corners) == entries(SQUARE)


def test_another_outline_is_another_region() -> None:
    assert entries([*SQUARE[:3], (8, 0)]) != entries(SQUARE)
