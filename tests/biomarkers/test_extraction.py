"""From slides to bags: which tiles, in which order, and going on after a kill."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_hmkd.bags.bag import read_bag, write_bag
from napari_hmkd.biomarkers.attributes import bag_name
from napari_hmkd.biomarkers.encoders import Encoder, find_encoder
from napari_hmkd.biomarkers.extraction import (
    BagExtraction,
    EncodedBatch,
    TileEncoder,
    start_extraction,
)
from napari_hmkd.errors import ModelError, SlideError, UnsuitableSlideError
from napari_hmkd.geometry import Region
from napari_hmkd.model import replay
from napari_hmkd.planning import GradeSettings, read_tile
from napari_hmkd.queueing import TileQueue, View
from napari_hmkd.slide import Slide, open_slide

SETTINGS = GradeSettings(batch_size=3, device="cpu")


def finished(extraction: BagExtraction) -> BagExtraction:
    for _ in extraction.run():
        pass
    return extraction


def test_a_bag_holds_the_features_of_the_tissue_row_by_row(slide: Slide, encoder: Encoder) -> None:
    extraction = start_extraction(slide, encoder, SETTINGS)
    sizes = [len(batch.tiles) for batch in extraction.run()]
    bag = extraction.bag()
    assert sizes == [3, 3, 2]
    assert bag.name == "TCGA-01"
    assert bag.patch_px == 256
    assert (bag.coords // 256).tolist() == extraction.plan.tiles.tolist()
    assert [1, 1] not in (bag.coords // 256).tolist()  # the glass
    for number in (0, 7):
        tile = tuple(extraction.plan.tiles[number])
        alone = encoder.encode(read_tile(slide, extraction.plan.grid, tile)[None])[0]
        np.testing.assert_allclose(bag.features[number], alone, rtol=1e-3, atol=1e-4)


def test_a_bag_says_what_it_was_made_from(slide: Slide, encoder: Encoder, tmp_path: Path) -> None:
    write_bag(tmp_path / "a.h5", finished(start_extraction(slide, encoder, SETTINGS)).bag())
    said = read_bag(tmp_path / "a.h5").attributes
    assert (said["encoder"], said["encoder_sha256"]) == (encoder.name, encoder.sha256)
    assert (said["mpp"], said["tile_px"], said["failed_patches"]) == (4.0, 256, 0)
    assert said["patch_size"] * said["downsample"][0] == said["patch_size_level0"] == 256
    ratio = said["level0_magnification"] / said["target_magnification"]
    assert said["patch_size"] * ratio == pytest.approx(256)
    assert str(slide.path.parent) not in str(said)


def test_coordinates_of_a_bag_are_those_of_openslide_where_a_part_was_scanned(
    slide_file: Path, encoder: Encoder, state_bounds: Callable[..., None]
) -> None:
    """CLAM and TRIDENT read patches there, and know of no bounds."""
    state_bounds(y=256, x=256, height=512, width=512)
    with open_slide(slide_file, mpp=4.0, backend="openslide") as part:
        bag = finished(start_extraction(part, encoder, SETTINGS)).bag()
    assert bag.coords.tolist() == [[256, 512], [512, 256], [512, 512]]
    said = bag.attributes
    assert (said["level0_height"], said["level0_width"]) == (768, 768)
    assert said["level_dim"] == (768, 768)


@pytest.mark.parametrize(("level0_mpp", "patch_size", "level"), [(2.0, 256, 1), (3.1, 330, 0)])
def test_clams_patch_size_is_that_of_a_level_that_exists(
    level0_mpp: float,
    patch_size: int,
    level: int,
    slide: Slide,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    halved = replace(slide.levels[0], downsample=2.0)
    restated = slide.with_mpp(level0_mpp)
    extraction = finished(start_extraction(restated, encoder, SETTINGS))
    monkeypatch.setattr(restated, "levels", (slide.levels[0], halved))
    said = extraction.bag().attributes
    assert (said["patch_size"], said["patch_level"]) == (patch_size, level)
    assert said["patch_size_level0"] == round(256 * 4 / level0_mpp)


@pytest.mark.parametrize("batches_before", [0, 1, 2, 3])
def test_what_was_cut_short_goes_on_with_the_same_numbers(
    batches_before: int, slide: Slide, encoder: Encoder, tmp_path: Path
) -> None:
    whole = finished(start_extraction(slide, encoder, SETTINGS)).bag()
    with closing(start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path).run()) as batches:
        list(islice(batches, batches_before))
    again = start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path)
    assert again.resumed_tiles == min(3 * batches_before, 8)
    assert len(again.remaining) == 8 - again.resumed_tiles
    np.testing.assert_array_equal(finished(again).bag().features, whole.features)


def view_of(row: int, column: int) -> View:
    """A tile in the middle of the window, and nothing else in it."""
    y_px, x_px = 256 * row, 256 * column
    return (y_px + 128, x_px + 128), Region(y_px + 64, x_px + 64, 128, 128)


@pytest.mark.parametrize("tile", [(0, 2), (1, 0), (2, 2)], ids=str)
def test_the_batch_in_the_middle_of_the_view_comes_first(
    tile: tuple[int, int], slide: Slide, encoder: Encoder
) -> None:
    extraction = start_extraction(slide, encoder, SETTINGS)
    tiles = extraction.plan.tiles.tolist()
    batches = [tiles[first : first + 3] for first in range(0, 8, 3)]
    order = [batch.tiles.tolist() for batch in extraction.run(TileQueue(view_of(*tile)))]
    assert list(tile) in order[0]
    assert sorted(order) == batches, "of the same tiles as in any other order"


def test_single_tiles_come_nearest_the_middle_of_the_view_first(
    slide: Slide, encoder: Encoder
) -> None:
    extraction = start_extraction(slide, encoder, replace(SETTINGS, batch_size=1))
    view = view_of(2, 1)
    order = [tile for batch in extraction.run(TileQueue(view)) for tile in batch.tiles.tolist()]
    plan = extraction.plan
    assert order == plan.grid.nearest_first(plan.tiles, *view).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("views", [[(2, 2)], [(1, 2), (0, 0)], [(2, 0), (0, 2), (1, 0)]], ids=str)
@pytest.mark.parametrize("stopped_after", [0, 1, 2], ids="stopped after {}".format)
def test_bag_store_and_failures_are_the_same_whatever_the_view_did(
    views: list[tuple[int, int]],
    stopped_after: int,
    paint_slide: Callable[..., Path],
    encoder: Encoder,
    tmp_path: Path,
) -> None:
    path = paint_slide(tmp_path / "d.tif", [[0, 1, 2], [3, -1, 0], [1, 2, 3]], damaged=[(1, 2)])
    with open_slide(path) as slide:
        plain = finished(start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path / "plain"))
        kept_in = tmp_path / "followed"
        with closing(
            run_looking(start_extraction(slide, encoder, SETTINGS, None, kept_in), views)
        ) as run:
            list(islice(run, stopped_after))
        followed = start_extraction(slide, encoder, SETTINGS, None, kept_in)
        list(run_looking(followed, views))
        for name, extraction in (("plain", plain), ("followed", followed)):
            write_bag(tmp_path / name / "bag.h5", extraction.bag())
    plain_bag, followed_bag = (tmp_path / name / "bag.h5" for name in ("plain", "followed"))
    assert followed_bag.read_bytes() == plain_bag.read_bytes()
    assert plain.store is not None
    assert followed.store is not None
    for one, other in zip(followed.store.read(), plain.store.read(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert followed.failed == plain.failed != {}


def run_looking(
    extraction: BagExtraction, views: list[tuple[int, int]]
) -> Generator[EncodedBatch, None, None]:
    """Run it while the window goes from view to view, to another with each batch."""
    queue = TileQueue(view_of(*views[0]))
    for number, batch in enumerate(extraction.run(queue), start=1):
        queue.look(view_of(*views[number % len(views)]))
        yield batch


def test_features_of_another_encoder_are_not_taken_up(
    slide: Slide, encoder: Encoder, other_student_file: Path, tmp_path: Path
) -> None:
    finished(start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path))
    other = start_extraction(
        slide, find_encoder(str(other_student_file)), SETTINGS, kept_in=tmp_path
    )
    assert other.resumed_tiles == 0


def test_tiles_that_cannot_be_read_are_left_out_and_tried_again(
    paint_slide: Callable[..., Path], encoder: Encoder, tmp_path: Path
) -> None:
    path = paint_slide(tmp_path / "d.tif", [[0, 1, 2, 3]], damaged=[(0, 1)])
    with open_slide(path) as slide:
        first = finished(start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path))
        assert list(first.failed) == [(0, 1)]
        bag = first.bag()
        assert bag.coords[:, 1].tolist() == [0, 512, 768]
        assert bag.attributes["failed_patches"] == 1
        assert first.tried_tiles == 4
        again = start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path)
        assert again.remaining[:, 1].tolist() == [0, 1, 2]  # the batch as it was
        np.testing.assert_array_equal(finished(again).bag().features, bag.features)


class Answering(nn.Module):
    """Gives the same features for each tile."""

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.features = features

    def forward(self, he: torch.Tensor) -> torch.Tensor:
        return self.features.expand(len(he), -1)


def answering(encoder: Encoder, *features: float) -> Encoder:
    model = replace(encoder.model, network=Answering(torch.tensor(features)))
    return Encoder(model, 2)


def test_a_bag_without_a_patch_is_an_error(slide: Slide, encoder: Encoder) -> None:
    extraction = finished(start_extraction(slide, answering(encoder, 1.0, float("nan")), SETTINGS))
    assert len(extraction.failed) == 8
    with pytest.raises(SlideError, match=r"none of its 8 tiles.*not finite"):
        extraction.bag()


def test_an_encoder_of_other_features_is_an_error(slide: Slide, encoder: Encoder) -> None:
    extraction = start_extraction(slide, answering(encoder, 1.0, 2.0, 3.0), SETTINGS)
    with pytest.raises(ModelError, match="3 features instead of 2"):
        finished(extraction)


@pytest.mark.usefixtures("one_thread")
def test_a_batch_too_large_is_halved_and_told(
    slide: Slide, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = encoder.model.network.forward

    def hungry(he: torch.Tensor) -> torch.Tensor:
        if len(he) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(he)

    monkeypatch.setattr(encoder.model.network, "forward", hungry)
    extraction = finished(start_extraction(slide, encoder, SETTINGS))
    assert len(extraction.bag().features) == 8
    assert "ran out of memory with 3 tiles" in extraction.warnings[-1]


def test_features_that_cannot_be_kept_end_nothing(
    slide: Slide, encoder: Encoder, impossible_folder: Path
) -> None:
    extraction = start_extraction(slide, encoder, SETTINGS, kept_in=impossible_folder)
    assert len(finished(extraction).bag().features) == 8
    assert "not kept for another time" in extraction.warnings[-1]
    assert str(impossible_folder) not in extraction.warnings[-1], "results carry no folder"


def test_damaged_features_are_computed_again(
    slide: Slide, encoder: Encoder, tmp_path: Path
) -> None:
    first = finished(start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path))
    assert first.store is not None
    with closing(sqlite3.connect(first.store.path)) as database, database:
        database.execute("UPDATE tiles SET features = substr(features, 1, 6)")
    again = start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path)
    assert again.resumed_tiles == 0
    np.testing.assert_array_equal(finished(again).bag().features, first.bag().features)
    kept = start_extraction(slide, encoder, SETTINGS, kept_in=tmp_path)
    assert kept.resumed_tiles == len(first.bag().features)


def test_a_tile_that_is_read_the_second_time_is_no_longer_failed(
    slide: Slide, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    extraction = start_extraction(slide, answering(encoder, 1.0, float("nan")), SETTINGS)
    assert len(finished(extraction).failed) == 8
    monkeypatch.setattr(extraction.runner.network, "features", torch.tensor([1.0, 2.0]))
    assert not finished(extraction).failed
    assert len(extraction.bag().features) == 8


def test_a_slide_without_tissue_is_refused(
    paint_slide: Callable[..., Path],
    encoder: Encoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    monkeypatch.setattr(TileEncoder, "rest", lambda _: done.append("rest"))
    with (
        open_slide(paint_slide(tmp_path / "glass.tif", [[-1, -1], [-1, -1]])) as slide,
        pytest.raises(UnsuitableSlideError),
    ):
        start_extraction(slide, encoder, SETTINGS)
    assert done == ["rest"], "a GPU works no more for it"


@pytest.mark.usefixtures("one_thread")
def test_a_gpu_replays_what_the_encoder_does_until_the_run_has_ended(
    slide: Slide, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: set[int] = set()

    def record(function: Callable[..., object], x: torch.Tensor) -> Callable[..., object]:
        held.add(len(x))
        weakref.finalize(x, held.discard, len(x))
        return lambda pixels, _held=x: function(pixels)

    wanted = finished(start_extraction(slide, encoder, replace(SETTINGS, batch_size=2))).bag()
    monkeypatch.setattr(replay, "_record", record)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    extraction = start_extraction(slide, encoder, replace(SETTINGS, batch_size=2))
    recorded = [set(held) for _ in extraction.run()]
    assert recorded == [set(), {2}, {2}, {2}]
    assert not held
    np.testing.assert_array_equal(extraction.bag().features, wanted.features)


@pytest.mark.usefixtures("gpus")
def test_a_gpu_extracts_what_the_cpu_does(slide: Slide, student_file: Path) -> None:
    found, wanted = (
        finished(start_extraction(slide, find_encoder(str(student_file)), settings)).bag().features
        for settings in (GradeSettings(2, "cuda:0", "float32"), replace(SETTINGS, batch_size=2))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("slide_name", "name"),
    [
        ("TCGA-A1-A0SB-01Z-00-DX1.B34F.svs", "TCGA-A1-A0SB-01Z-00-DX1.B34F"),
        ("a.OME.TIFF", "a"),
        ("b.ome.zarr", "b"),
        ("c.tif", "c"),
        ("dicom folder", "dicom folder"),
    ],
)
def test_a_bag_has_the_slides_name_without_its_format(slide_name: str, name: str) -> None:
    assert bag_name(slide_name) == name


def test_on_real_tissue_the_demo_finds_patches_that_differ(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "her2st_C2.ome.tif") as slide:
        extraction = start_extraction(slide, find_encoder(), replace(SETTINGS, batch_size=8))
        with closing(extraction.run()) as batches:
            next(batches)
        bag = extraction.bag()
    assert bag.features.shape == (8, 224)
    assert bag.features.std(axis=0).max() > 0
    assert (bag.coords >= 0).all()
    assert (bag.coords < (slide.size.height, slide.size.width)).all()
