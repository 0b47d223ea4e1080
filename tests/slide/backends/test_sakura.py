"""SVSLIDE: an SQLite database with tiles of one colour each."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import openslide
import pytest
from tests.slide.backends.test_vendor_tiffs import LABEL, NAME, differ_by, tissue
from tests.vendor_slides.common import reduced
from tests.vendor_slides.sakura import UNIQUE, write_svslide

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.layers import slide_layer
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.backends.sakura_checks import require_sound_database
from napari_hmkd.slide.description import describe
from napari_hmkd.slide.fingerprint import fingerprint

HEIGHT, WIDTH = 333, 450  # levels end within a tile
PIXELS = tissue(HEIGHT, WIDTH)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three focal planes, of which the middle one is to be shown."""
    planes = [255 - PIXELS, PIXELS, PIXELS[::-1]]
    write_svslide(tmp_path / "a.svslide", planes, LABEL, creator=NAME)
    return tmp_path / "a.svslide"


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def test_every_level_is_shown_and_no_label_and_no_name(path: Path):
    path = path.rename(path.with_name("A 100%.SVSLIDE"))
    with open_slide(path) as slide, openslide.OpenSlide(path) as own:
        assert (slide.backend, slide.vendor) == ("openslide", "sakura")
        assert (slide.mpp, slide.mpp_source) == ((0.5, 0.5), "openslide.mpp-x")
        assert (slide.size, slide.origin_px) == (Size(HEIGHT, WIDTH), (0, 0))
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        for index, step in enumerate((1, 2, 4)):
            expected = reduced(PIXELS, step)
            found = slide.read_level(index, Region(0, 0, *expected.shape[:2]))
            assert differ_by(found, expected) < 2
            stored = own.read_region((0, 0), index, own.level_dimensions[index])
            assert np.array_equal(found, np.asarray(stored)[..., :3])
        arrays, layer, _ = slide_layer(slide)
        assert min(array.compute()[..., 1].min() for array in arrays) > 60  # the label has no green
        assert {"label", "macro", "thumbnail"} == set(own.associated_images)
        assert NAME in slide.properties.values()
        assert NAME not in f"{describe(slide)} {layer}"
        assert describe(slide)["objective"] == "20x"


def test_a_change_in_any_tile_makes_another_slide(path: Path):
    known = []
    for _ in range(2):
        with open_slide(path) as slide:
            known.append(fingerprint(slide))
        change(path, f"UPDATE '{UNIQUE}' SET data = data || x'00' WHERE id = 'T;64|64;1;2;1'")
    assert known[0] != known[1]


@pytest.mark.parametrize("share", [0.002, 0.3, 0.95, 0.999])
def test_a_file_that_was_cut_off_is_refused_at_once(path: Path, share: float):
    stored = path.read_bytes()
    path.write_bytes(stored[: int(share * len(stored))])
    with pytest.raises(SlideError, match=r"a\.svslide' is truncated"):
        open_slide(path)


def test_a_tile_without_data_is_damage_and_one_that_is_not_listed_glass(path: Path):
    change(path, f"UPDATE '{UNIQUE}' SET data = x'' WHERE id = 'T;0|0;1;1;1'")
    change(path, f"DELETE FROM '{UNIQUE}' WHERE id LIKE 'T;64|0;1;%'")
    with open_slide(path) as slide:
        with pytest.raises(SlideReadError, match="damaged"):
            slide.read_level(0, Region(0, 0, 64, 64))
        assert (slide.read_level(0, Region(0, 64, 64, 64)) == 255).all()
        beside = slide.read_level(0, Region(0, 128, 64, 64))
        assert differ_by(beside, PIXELS[:64, 128:192]) < 3


@pytest.mark.parametrize(
    ("table", "column"), [("SVSlideDataXPO", "Creator"), ("SVHRScanDataXPO", "ScanId")]
)
@pytest.mark.parametrize("backend", [None, "openslide", "tifffile"])
def test_a_text_that_was_taken_out_ends_no_process(path: Path, table, column, backend):
    """As where a name was; over what is then NULL, OpenSlide ends the process."""
    change(path, f"UPDATE {table} SET {column} = NULL")
    with pytest.raises(SlideError, match=rf"no {table}\.{column} .*empty text"):
        open_slide(path, backend=backend)


@pytest.mark.parametrize(
    ("entry", "data", "problem"),
    [
        ("++MagicBytes", "NULL", "NULL"),
        ("Header", "x'05b50000c20100004d0100000000000003000000'", "pieces of 6,442 MB"),
    ],
    ids=["no magic", "tiles of 46,341 px"],
)
def test_a_table_of_tiles_that_would_end_the_process_is_refused(path: Path, entry, data, problem):
    """The check alone: without it, OpenSlide would end these tests."""
    change(path, f"UPDATE '{UNIQUE}' SET data = {data} WHERE id = '{entry}'")
    with pytest.raises(SlideError, match=rf"a\.svslide' is damaged: .*{problem}.*Copy it again"):
        require_sound_database(path)


@pytest.mark.parametrize(
    "changed",
    ["DELETE FROM '{}' WHERE id = 'Header'"]
    + [
        f"UPDATE '{{}}' SET data = {data} WHERE id = 'Header'"
        for data in ("NULL", "x''", "x'00000000'", "7")
    ],
)
def test_a_table_of_tiles_without_their_size_is_refused(path: Path, changed: str):
    change(path, changed.format(UNIQUE))
    with pytest.raises(SlideError, match="damaged: its Header tells no size of tiles"):
        require_sound_database(path)


def test_such_a_text_is_found_beside_one_of_another_encoding_and_nothing_is_written(path: Path):
    """The check alone: where it finds none, OpenSlide would end these tests."""
    change(path, "UPDATE SVSlideDataXPO SET Creator = NULL, Keywords = CAST(x'ff' AS TEXT)")
    change(path, "PRAGMA journal_mode = WAL")
    before = sorted(path.parent.iterdir())
    with pytest.raises(SlideError, match=r"no SVSlideDataXPO\.Creator"):
        require_sound_database(path)
    assert sorted(path.parent.iterdir()) == before


def test_another_database_is_no_slide(tmp_path: Path):
    change(tmp_path / "a.svslide", "CREATE TABLE other (text TEXT)")
    with pytest.raises(SlideError, match="OpenSlide knows no such format"):
        open_slide(tmp_path / "a.svslide")


def test_a_file_that_goes_is_a_disk_s_failure_and_no_damage(path: Path):
    with open_slide(path) as slide:
        path.rename(path.with_name("gone"))
        with pytest.raises(SlideStalledError, match=r"'a\.svslide' cannot be read any more"):
            slide.read_level(0, Region(0, 0, 32, 32))
