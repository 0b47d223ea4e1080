"""OME-Zarr in a ZIP file: as it is in a folder, or refused in words."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_hmkd.errors import SlideError, SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.reader import get_reader
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.backends import zarr_archive
from napari_hmkd.slide.finding import find_slides
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.slide.loading.cache import TileCache

Pack = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path, noise, write_zarr) -> Path:
    """A store of two levels, below a folder of its own."""
    path = tmp_path / "stores/Präparat.zarr"
    pixels = noise(100, 140)
    write_zarr(path, [pixels, pixels[::2, ::2]])
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Zips a folder's content, below another folder's name if asked to."""

    def write(
        store: Path, name: str, within: str = "", compression: int = zipfile.ZIP_STORED
    ) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", compression) as archive:
            for file in sorted(one for one in store.rglob("*") if one.is_file()):
                archive.write(file, within + file.relative_to(store).as_posix())
        return path

    return write


@pytest.mark.parametrize("name", ["a.ozx", "Schnitt 1.ome.zarr.zip", "b.ZIP"])
@pytest.mark.parametrize("within", ["", "Präparat.zarr/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_its_pixels_are_those_of_the_folder(store, pack, name, within, compression):
    with open_slide(store) as wanted, open_slide(pack(store, name, within, compression)) as slide:
        assert (slide.backend, slide.mpp) == ("zarr", (0.5, 0.5))
        assert "ZIP" in slide.backend_reason
        regions = [(0, Region(0, 0, 100, 140)), (0, Region(31, 7, 40, 60)), (1, Region(3, 9, 5, 5))]
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda one: slide.read_level(*one), regions * 8))
        for one, place in zip(found, regions * 8, strict=True):
            np.testing.assert_array_equal(one, wanted.read_level(*place))


def test_what_macos_adds_is_no_store(store, pack):
    path = pack(store, "a.zarr.zip", "Präparat.zarr/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/Präparat.zarr/._zarr.json", b"\0\5\x16\7")
    with open_slide(path) as slide:
        assert slide.size == Size(100, 140)


def test_the_xml_in_it_tells_the_label_from_the_slide(tmp_path, noise, write_zarr, pack):
    lot = tmp_path / "lot.zarr"
    root = zarr.create_group(lot, zarr_format=3)
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for name, side in (("0", 90), ("1", 50)):
        write_zarr(lot / name, [noise(side, side)])
    xml = '<OME><Image Name="label image"/><Image Name="scan"/></OME>'
    (lot / "OME").mkdir()
    (lot / "OME/METADATA.ome.xml").write_text(xml, encoding="utf-8")
    with open_slide(pack(lot, "lot.ozx")) as slide:
        assert slide.size == Size(50, 50)


def test_it_is_a_slide_of_its_folder_and_a_layer(store, pack, tmp_path):
    for name in ("a.ozx", "b.zarr.zip"):
        path = pack(store, name)
        ((data, keywords, kind),) = get_reader(str(path))(str(path))
        assert (kind, keywords["name"], data[0].shape) == ("image", name, (100, 140, 3))
    (tmp_path / "notes.zip").write_bytes(b"")
    assert [Path(one).name for one in find_slides([str(tmp_path)])] == ["a.ozx", "b.zarr.zip"]


def test_a_copy_is_the_same_slide(store, pack, tmp_path):
    path = pack(store, "a.ozx")
    shutil.copy(path, tmp_path / "b.ozx")
    with open_slide(path) as one, open_slide(tmp_path / "b.ozx") as other:
        assert fingerprint(one) == fingerprint(other)


def test_a_damaged_chunk_fails_alone(store, pack, noise):
    path = pack(store, "a.ozx")
    with zipfile.ZipFile(path) as archive:
        chunk = archive.getinfo("0/c/0/0/0")
    whole = bytearray(path.read_bytes())
    whole[chunk.header_offset + 60] ^= 255
    path.write_bytes(whole)
    with open_slide(path) as slide:
        with pytest.raises(SlideReadError, match=r"a\.ozx.*part of the store is damaged"):
            slide.read_level(0, Region(0, 0, 10, 10))
        np.testing.assert_array_equal(
            slide.read_level(0, Region(32, 0, 68, 140)), noise(100, 140)[32:]
        )


def test_one_that_was_cut_off_is_refused(store, pack):
    path = pack(store, "a.ozx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SlideError, match=r"a\.ozx' cannot be opened: .*zip file\. The file is dam"):
        open_slide(path)


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [(8, 1, "is encrypted"), (10, 9, "by ZIP's method 9, "), (10, 93, "by ZIP's method 93, ")],
)
def test_what_cannot_be_unpacked_here_is_refused_in_words(store, pack, at, value, why):
    """For a ZIP of more than 2 GB Windows takes method 9."""
    path = pack(store, "a.ozx")
    whole = bytearray(path.read_bytes())
    whole[whole.rindex(b"PK\1\2") + at] = value  # of one file alone
    path.write_bytes(whole)
    with pytest.raises(SlideError, match=f"{why}.*Unpack it, and open the folder") as refused:
        open_slide(path)
    assert "damaged" not in str(refused.value)
    assert _open_files(path) == 0


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_level_alone_is_called_so_and_its_file_let_go(tmp_path, pack, zarr_format):
    zarr.create_array(tmp_path / "0", data=np.zeros((3, 8, 8), np.uint8), zarr_format=zarr_format)
    path = pack(tmp_path / "0", "a.ozx")
    with pytest.raises(SlideError, match="is a single zarr array"):
        open_slide(path)
    assert _open_files(path) == 0


def test_a_file_that_is_no_slide_is_let_go(tmp_path, pack):
    zarr.create_group(tmp_path / "store")
    path = pack(tmp_path / "store", "a.ozx")
    with pytest.raises(SlideError, match="without an OME-Zarr image"):
        open_slide(path)
    assert _open_files(path) == 0


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(store, pack, monkeypatch):
    monkeypatch.setattr(zarr_archive, "LARGEST_PIECE_BYTES", 9_999)
    (store / "0/c/0/0/0").write_bytes(bytes(10_000))
    with open_slide(pack(store, "a.ozx")) as slide:  # as it lies in the file
        assert slide.size == Size(100, 140)
    with pytest.raises(SlideError, match="compressed file of 10,000 bytes"):
        open_slide(pack(store, "b.ozx", compression=zipfile.ZIP_DEFLATED))


def test_the_file_is_let_go(store, pack, tmp_path):
    path = pack(store, "a.ozx")
    slide = open_slide(path)
    slide.read_level(0, Region(0, 0, 10, 10))
    assert _open_files(path) == 1
    slide.close()
    assert _open_files(path) == 0


def test_closed_under_its_readers_it_is_let_go_and_calls_nothing_damaged(store, pack):
    path = pack(store, "a.ozx", compression=zipfile.ZIP_DEFLATED)
    slide = open_slide(path, cache=TileCache(0))

    def read_on() -> str:
        while True:
            try:
                slide.read_level(0, Region(0, 0, 100, 140))
            except SlideReadError as error:
                return str(error)

    with ThreadPoolExecutor(4) as pool:
        said = [pool.submit(read_on) for _ in range(4)]
        time.sleep(0.1)
        slide.close()
    assert all("closed" in one.result() and "damaged" not in one.result() for one in said)
    assert _open_files(path) == 0


def _open_files(path: Path) -> int:
    psutil = pytest.importorskip("psutil", reason="tells the files that a process has open")
    return sum(Path(one.path) == path for one in psutil.Process().open_files())
