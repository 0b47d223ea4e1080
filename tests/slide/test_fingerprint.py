"""A fingerprint knows a slide again, and no other slide for it, at an address too."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from unittest.mock import Mock

import numpy as np
import pytest

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import Slide, open_slide, pixel_hash
from napari_hmkd.slide import fingerprint as module
from napari_hmkd.slide import slide as slide_module
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.slide.pixel_hash import hash_pixels
from napari_hmkd.slide.reader_threads import READING_LIMIT_S

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


def of(path: Path | str) -> str:
    with open_slide(path) as slide:
        return fingerprint(slide)


def at(server, name: str) -> str:
    return of(f"{server.url}/{name}/slide.zarr")


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


def test_damage_is_known_again_unless_nothing_is_sound(tmp_path: Path, serve, write) -> None:
    store = write("a", np.s_[300:430, 300:430], levels=2)
    with serve(tmp_path) as server:
        sound = at(server, "a")
        (store / "0/c/0/1/1").write_bytes(b"damaged!")
        damaged = at(server, "a")
        assert damaged == at(server, "a") != sound
        for chunk in store.glob("?/c/*/*/*"):
            chunk.write_bytes(b"damaged!")
        with pytest.raises(SlideReadError, match="cannot be read"):
            at(server, "a")


def test_a_server_that_refuses_one_request_makes_no_other_slide(
    tmp_path: Path, serve, write
) -> None:
    write("a", np.s_[300:430, 300:430], levels=2)
    with serve(tmp_path) as server:
        server.failing.add("/0/c/0/1/1")
        with pytest.raises(SlideReadError, match=r"rows 512 to 1024.* 500.*try again"):
            at(server, "a")


def test_a_stall_makes_no_other_slide(write, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_slide(write("a", np.s_[300:430, 300:430])) as slide:
        read = slide.reader.backend.read

        def stall(level: int, region: Region) -> np.ndarray:
            if region.y:
                raise SlideStalledError("no answer")
            return read(level, region)

        monkeypatch.setattr(slide.reader.backend, "read", stall)
        with pytest.raises(SlideStalledError, match="no answer"):
            hash_pixels(slide)


def test_blank_slides_of_two_sizes_are_two(tmp_path: Path, write_zarr) -> None:
    hashes = set()
    for number, size in enumerate([(512, 1024), (1024, 512)]):
        write_zarr(tmp_path / f"{number}.zarr", [np.zeros((*size, 3), np.uint8)], chunk_px=512)
        with open_slide(tmp_path / f"{number}.zarr") as slide:
            hashes.add(hash_pixels(slide))
    assert len(hashes) == 2


def plain_tiff(side: int) -> bytes:
    """A TIFF in one strip, every byte of which is known."""
    tags = {
        256: (3, 1, side), 257: (3, 1, side), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 2),
        273: (4, 1, 256), 277: (3, 1, 3), 278: (3, 1, side), 279: (4, 1, side * side * 3),
    }  # fmt: skip
    listed = b"".join(struct.pack("<HHII", tag, *value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + listed
    return header.ljust(256, b"\0") + bytes(range(256)) * (side * side * 3 // 256)


@pytest.mark.parametrize(
    ("side", "digest"),
    [
        (64, "07acc13175ee1ef77f7d463570335ceec46af857cd1fb11ea677321495771950"),
        (2432, "f4a1c2b4d880281b5a6ad2054d727c9db1757737631deeb6b80a453a31f057bd"),
    ],
    ids=["read whole", "sampled"],
)
def test_the_fingerprint_of_a_file_is_the_same_whatever_version_reads_it(
    tmp_path: Path, side: int, digest: str
) -> None:
    """Results and alignments are known again by it."""
    (tmp_path / "a.tif").write_bytes(plain_tiff(side))
    with open_slide(tmp_path / "a.tif") as slide:
        assert fingerprint(slide) == digest


@pytest.mark.parametrize("part", ["m0.ome.tif", "m1.ome.tif"], ids=["itself", "one beside"])
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(
            "replaced",
            marks=pytest.mark.skipif(os.name == "nt", reason="Windows replaces no open file"),
        ),
        "written to",
    ],
)
def test_a_slide_whose_file_is_another_by_now_has_no_fingerprint(
    tmp_path: Path, write_channel_files, noise, part: str, way: str
) -> None:
    """Its pixels would be recorded as the other's."""
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        write_channel_files(tmp_path / folder, noise(64, 64, seed=seed))
    with open_slide(tmp_path / "a/m0.ome.tif") as slide:
        before = fingerprint(slide)
        if way == "replaced":
            (tmp_path / "b" / part).replace(tmp_path / "a" / part)
        else:
            (tmp_path / "a" / part).write_bytes((tmp_path / "b" / part).read_bytes())
        with pytest.raises(SlideReadError, match=rf"{part}' was replaced, written to .* open it"):
            fingerprint(slide)
    assert of(tmp_path / "a/m0.ome.tif") != before


@pytest.mark.parametrize("given", ["", "0.dcm", "1.dcm"], ids=["folder", "itself", "one beside"])
def test_a_dicom_slide_has_no_fingerprint_once_any_of_its_levels_is_another(
    tmp_path: Path, write_dicom, noise, given: str
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    write_dicom(tmp_path / "a", [noise(256, 256), noise(128, 128)])
    write_dicom(tmp_path / "b", [noise(256, 256), noise(128, 128, seed=1)])
    with open_slide(tmp_path / "a" / given) as slide:
        fingerprint(slide)
        (tmp_path / "a/1.dcm").write_bytes((tmp_path / "b/1.dcm").read_bytes())
        with pytest.raises(SlideReadError, match=r"1\.dcm' was replaced, written to .* open it"):
            fingerprint(slide)


def test_a_file_that_is_written_to_while_it_is_being_opened_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(plain_tiff(64))
    open_backend = slide_module.open_backend

    def open_slowly(*given):
        opened = open_backend(*given)
        path.write_bytes(plain_tiff(128))
        return opened

    monkeypatch.setattr(slide_module, "open_backend", open_slowly)
    with open_slide(path) as slide, pytest.raises(SlideReadError, match="written to"):
        fingerprint(slide)


def test_each_file_of_an_ome_tiff_counts_wherever_they_lie(
    tmp_path: Path, link, write_channel_files, noise
) -> None:
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        write_channel_files(tmp_path / folder, noise(64, 64, seed=seed))
    shutil.copytree(tmp_path / "a", tmp_path / "copy of a")
    link(tmp_path / "link to a", tmp_path / "a")
    first = of(tmp_path / "a/m0.ome.tif")
    assert of(tmp_path / "copy of a/m0.ome.tif") == of(tmp_path / "link to a/m0.ome.tif") == first
    for part in ("m1.ome.tif", "m2.ome.tif"):
        shutil.copyfile(tmp_path / "b" / part, tmp_path / "a" / part)
        assert of(tmp_path / "a/m0.ome.tif") != first
        shutil.copyfile(tmp_path / "copy of a" / part, tmp_path / "a" / part)


def test_a_dicom_slide_is_the_same_by_its_folder_each_of_its_files_and_under_other_names(
    tmp_path: Path, write_dicom, noise
) -> None:
    pixels, label = noise(256, 256), np.zeros((50, 60, 3), np.uint8)
    (tmp_path / "slide").mkdir()
    files = write_dicom(tmp_path / "slide", [pixels, pixels[::2, ::2]], label=label)
    first = of(tmp_path / "slide")
    assert {of(file) for file in files} == {first}
    (tmp_path / "slide/scores.csv").write_text("slide,score\n")
    shutil.copytree(tmp_path / "slide", tmp_path / "copy")
    for number, name in enumerate(("0.dcm", "1.dcm")):
        (tmp_path / "copy" / name).rename(tmp_path / "copy" / f"IM{9 - number}")
    (tmp_path / "copy/label.dcm").unlink()  # as it can name the patient
    assert of(tmp_path / "slide") == of(tmp_path / "copy") == of(tmp_path / "copy/IM8") == first


@pytest.mark.parametrize("changed", [0, 1])
def test_each_level_of_a_dicom_slide_counts(
    tmp_path: Path, write_dicom, noise, changed: int
) -> None:
    """OpenSlide's own hash is that of the series' number."""
    levels = [noise(256, 256), noise(128, 128)]
    files = write_dicom(tmp_path, levels)
    first = [of(file) for file in files]
    levels[changed] = np.flip(levels[changed], 1)
    files = write_dicom(tmp_path, levels)
    assert not {of(file) for file in files} & set(first)


def test_what_a_system_leaves_in_a_folder_makes_no_other_slide(write) -> None:
    store = write("a", np.s_[300:430, 300:430])
    found = of(store)
    for name in (".DS_Store", "Thumbs.db", "Desktop.ini", "0/._zarr.json"):
        (store / name).write_bytes(b"seen")
    assert of(store) == found
    (store / ".zattrs").write_text("{}")
    assert of(store) != found


@pytest.mark.parametrize(
    ("kind", "limit_s"),
    [
        ("address", module._STORE_LIMIT_S),
        ("folder", module._STORE_LIMIT_S),
        ("file", READING_LIMIT_S),
    ],
)
def test_many_files_are_waited_for_longer_than_one(
    tmp_path: Path, serve, write, monkeypatch: pytest.MonkeyPatch, kind: str, limit_s: float
) -> None:
    waited = []
    monkeypatch.setattr(
        Slide, "in_time", lambda self, work, seconds: [work(), waited.append(seconds)][0]
    )
    (tmp_path / "a.tif").write_bytes(plain_tiff(64))
    store = write("a", np.s_[300:430, 300:430])
    with serve(tmp_path) as server:
        of(
            {"address": f"{server.url}/a/slide.zarr", "folder": store, "file": tmp_path / "a.tif"}[
                kind
            ]
        )
    assert waited == [limit_s]
    assert module._STORE_LIMIT_S > 2 * READING_LIMIT_S


@pytest.mark.parametrize("system", [PurePosixPath, PureWindowsPath])
def test_files_of_a_store_count_in_one_order_on_every_system(
    system: type[PurePath], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Folder(system):
        def is_dir(self) -> bool:
            return True

    names = ["OME/METADATA.ome.xml", "Z.json", "a/0", "a-1", "a.json"]
    monkeypatch.setattr(
        module, "_files_in", lambda folder: (folder / name for name in sorted(names, key=str.lower))
    )
    found = module._named_files(Mock(vendor=None), Folder("slide.zarr"))
    assert [name for name, _ in found] == names


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
