"""A fingerprint knows a slide again, and no other slide for it, at an address too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide import fingerprint as module
from napari_hmkd.slide import open_slide, pixel_hash
from napari_hmkd.slide.fingerprint import fingerprint

SIDE = 1024


@pytest.fixture
def write(tmp_path: Path, write_zarr):
    """Write a store whose glass is white, with tissue where it is said to be, and coarser levels."""

    def write(name: str, tissue: tuple[slice, slice], seed: int = 0, levels: int = 1) -> Path:
        pixels = np.full((SIDE, SIDE, 3), 255, np.uint8)
        place = pixels[tissue]
        place[:] = np.random.default_rng(seed).integers(0, 255, place.shape, np.uint8)
        every = [pixels[:: 2**k, :: 2**k] for k in range(levels)]
        write_zarr(tmp_path / name / "slide.zarr", every, chunk_px=512)
        return tmp_path / name / "slide.zarr"

    return write


def at(server, name: str) -> str:
    with open_slide(f"{server.url}/{name}/slide.zarr") as slide:
        return fingerprint(slide)


@pytest.mark.parametrize(
    ("tissue", "seed", "levels"),
    [
        (np.s_[300:430, 300:430], 1, 1),
        (np.s_[300:430, 310:440], 0, 1),
        (np.s_[301:302, 301:302], 0, 2),  # the coarse level is the same
    ],
    ids=["other tissue", "tissue elsewhere", "a pixel of level 0"],
)
def test_slides_of_one_size_at_addresses_are_told_apart(
    tmp_path: Path, serve, write, tissue, seed: int, levels: int
) -> None:
    write("a", np.s_[300:430, 300:430] if levels == 1 else np.s_[0:0, 0:0], 0, levels)
    write("b", tissue, seed, levels)
    shutil.copytree(tmp_path / "a", tmp_path / "copy of a")
    with serve(tmp_path) as server:
        assert at(server, "a") == at(server, "copy of a") != at(server, "b")


def test_an_address_is_asked_once_while_its_slide_is_open(tmp_path: Path, serve, write) -> None:
    write("a", np.s_[300:430, 300:430])
    with serve(tmp_path) as server, open_slide(f"{server.url}/a/slide.zarr") as slide:
        found = fingerprint(slide)
        before = len(server.asked)
        assert (fingerprint(slide), fingerprint(slide.with_mpp(0.25))) == (found, found)
        assert len(server.asked) == before


def test_of_a_giant_without_coarse_levels_a_bounded_part_is_fetched_from_all_over(
    tmp_path: Path, serve, write_zarr, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_zarr(tmp_path / "a.zarr", [np.zeros((4096, 4096, 3), np.uint8)], chunk_px=512)
    monkeypatch.setattr(pixel_hash, "COARSEST_PX", 8 * 512**2)
    with serve(tmp_path) as server, open_slide(f"{server.url}/a.zarr") as slide:
        fingerprint(slide)
        chunks = {path.partition("/c/0/")[2] for path in server.asked if "/c/0/" in path}
    assert chunks == {f"{row}/{column}" for row in (2, 6) for column in (1, 3, 5, 7)}


def test_damage_is_known_again_and_a_server_that_delivers_nothing_names_no_slide(
    tmp_path: Path, serve, write
) -> None:
    write("a", np.s_[300:430, 300:430], levels=2)
    with serve(tmp_path) as server:
        sound = at(server, "a")
        server.failing.add("/0/c/0/1/1")
        damaged = at(server, "a")
        assert damaged == at(server, "a") != sound
        server.failing.add("/c/")
        with pytest.raises(SlideReadError, match="500"):
            at(server, "a")


@pytest.fixture
def long_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is so large that its files are not all listed."""
    monkeypatch.setattr(module, "_MOST_LISTED", 10)


@pytest.mark.usefixtures("long_list")
def test_a_copy_is_the_same_slide_in_whatever_order_its_disk_lists_files(
    write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a", np.s_[:, :])
    with open_slide(path) as slide:
        found = fingerprint(slide)
        walk = os.walk

        def other_order(*arguments, **options):
            for at, folders, names in walk(*arguments, **options):
                folders.sort(reverse=True)
                yield at, folders, sorted(names, reverse=True)

        monkeypatch.setattr(os, "walk", other_order)
        assert fingerprint(slide) == found


@pytest.mark.usefixtures("long_list")
def test_what_lies_behind_the_listed_files_is_not_overlooked(write) -> None:
    found = []
    for name, tissue in (("a", np.s_[900:, 900:]), ("b", np.s_[900:, 899:-1])):
        with open_slide(write(name, tissue)) as slide:
            found.append(fingerprint(slide))
    assert found[0] != found[1]
