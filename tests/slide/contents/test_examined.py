"""What a slide is found to be is kept while it is open, and looked for once, whoever asks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from tests.watched_looks import WAIT_S, WatchedLook

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide import Slide, StainKind, find_tissue, open_slide
from napari_hmkd.slide.contents import examined as examined_module
from napari_hmkd.slide.contents.examined import examined, tissue_found
from napari_hmkd.slide.contents.stain import examine


@pytest.fixture
def path(tmp_path: Path, paint_slide: Callable[..., Path]) -> Path:
    return paint_slide(tmp_path / "slide.tif", [[0, 1, 2], [3, -1, 0]])


@pytest.fixture
def slide(path: Path) -> Iterator[Slide]:
    with open_slide(path) as slide:
        yield slide


def asked_twice(
    slide: Slide, looks: WatchedLook, second_asks: Callable[[Slide], object] = examined
) -> tuple[Future, Future]:
    """The answers to two threads, of which the second asks, and waits, while the first looks."""
    looks.go_on.clear()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(examined, slide)
        assert looks.begun.wait(WAIT_S)
        second = threads.submit(second_asks, slide)
        with pytest.raises(TimeoutError):
            second.result(0.2)
        looks.go_on.set()
    return first, second


def test_it_is_what_examine_finds_and_found_once(slide: Slide, looks: WatchedLook) -> None:
    stain, tissue = examined(slide)
    expected_stain, expected_tissue = examine(slide)
    assert stain == expected_stain
    np.testing.assert_array_equal(tissue.mask, expected_tissue.mask)
    assert tissue.mask.any()
    assert examined(slide)[1] is tissue
    assert len(looks.seen) == 1


def test_a_slide_of_no_tissue_is_found_to_be_blank_once(
    tmp_path: Path, paint_slide: Callable[..., Path], looks: WatchedLook
) -> None:
    with open_slide(paint_slide(tmp_path / "glass.tif", [[-1, -1]])) as glass:
        for _ in range(2):
            stain, tissue = examined(glass)
            assert (stain.kind, tissue) == (StainKind.BLANK, None)
    assert len(looks.seen) == 1


def test_who_asks_meanwhile_waits_and_gets_the_same(slide: Slide, looks: WatchedLook) -> None:
    first, second = asked_twice(slide, looks)
    assert second.result()[1] is first.result()[1]
    assert len(looks.seen) == 1


def test_a_failure_is_raised_to_all_who_wait_and_the_next_tries_anew(
    slide: Slide, looks: WatchedLook
) -> None:
    looks.failure = "the disk went away"
    for one in asked_twice(slide, looks):
        with pytest.raises(SlideReadError, match="the disk went away"):
            one.result()
    assert len(looks.seen) == 1
    looks.failure = ""
    assert examined(slide)[1].mask.any()


def test_another_pixel_size_is_another_result(slide: Slide, looks: WatchedLook) -> None:
    finer = slide.with_mpp(2.0)
    assert examined(slide)[1].mpp == pytest.approx((8.0, 8.0))
    assert examined(finer)[1].downsample == pytest.approx((4.0, 4.0))
    assert len(looks.seen) == 2


def test_a_closed_slide_is_not_read_and_a_file_that_is_opened_again_is_looked_at_anew(
    path: Path, looks: WatchedLook
) -> None:
    slide, unread = open_slide(path), open_slide(path)
    examined(slide)
    for one in (slide, unread):
        one.close()
    with pytest.raises(SlideReadError, match="was closed"):
        examined(unread)
    with open_slide(path) as again:
        assert examined(again)[1].mask.any()
    assert len(looks.seen) == 3


def test_no_slide_is_kept_alive(path: Path, looks: WatchedLook) -> None:
    def look() -> ref[Slide]:
        slide = open_slide(path)
        examined(slide)
        return ref(slide)

    seen = look()
    gc.collect()
    assert seen() is None


def test_a_failure_lets_its_slide_go_without_the_garbage_collector(
    path: Path, looks: WatchedLook
) -> None:
    def look() -> ref[Slide]:
        slide = open_slide(path)
        with pytest.raises(SlideReadError):
            examined(slide)
        return ref(slide)

    looks.failure = "the disk went away"
    gc.disable()
    try:
        assert look()() is None
    finally:
        gc.enable()


def test_the_tissue_of_a_slide_that_was_looked_at_is_not_searched_for(
    slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tissue = examined(slide)
    monkeypatch.setattr(examined_module, "find_tissue", pytest.fail)
    assert tissue_found(slide) is tissue


def test_the_tissue_of_a_slide_that_is_being_looked_at_is_waited_for(
    slide: Slide, looks: WatchedLook
) -> None:
    look, tissue = asked_twice(slide, looks, tissue_found)
    assert tissue.result() is look.result()[1]


def test_the_tissue_of_another_slide_is_found_without_a_look_at_stain_and_focus(
    slide: Slide, looks: WatchedLook
) -> None:
    np.testing.assert_array_equal(tissue_found(slide).mask, find_tissue(slide).mask)
    assert looks.seen == []


def test_a_blank_slide_has_a_mask_of_no_tissue(
    tmp_path: Path, paint_slide: Callable[..., Path]
) -> None:
    with open_slide(paint_slide(tmp_path / "glass.tif", [[-1, -1]])) as glass:
        assert examined(glass)[1] is None
        assert not tissue_found(glass).mask.any()


def test_the_tissue_of_a_slide_whose_look_fails_is_found_nevertheless(
    slide: Slide, looks: WatchedLook
) -> None:
    looks.failure = "a field did not answer"
    look, tissue = asked_twice(slide, looks, tissue_found)
    assert tissue.result().mask.any()
    assert isinstance(look.exception(), SlideReadError)
