"""The napari reader: what it takes, what it leaves, what the layer says."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd import reader
from napari_hmkd.errors import OutputError, SlideError, SlideStalledError
from napari_hmkd.reader import get_reader
from napari_hmkd.slide import Slide
from napari_hmkd.slide.backends.tiff_backend import TiffBackend


def write(path: Path, side: int = 64, levels: int = 1, **more: object) -> Path:
    pixels = np.zeros((side, side, 3), np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            step = 2**level
            tiff.write(
                pixels[::step, ::step],
                photometric="rgb",
                tile=(64, 64),
                compression="zlib",
                subfiletype=int(level > 0),
                **more,
            )
    return path


@pytest.mark.parametrize(
    ("side", "levels", "taken"), [(64, 1, False), (4095, 1, False), (4096, 1, True), (256, 2, True)]
)
def test_a_plain_small_tiff_is_left_to_others(tmp_path: Path, side: int, levels: int, taken: bool):
    assert (get_reader(str(write(tmp_path / "a.tif", side, levels))) is not None) is taken


@pytest.mark.parametrize("suffix", [".btf", ".tf2", ".tf8", ".ptif", ".PTIFF", ".qptiff"])
@pytest.mark.parametrize(("levels", "taken"), [(1, False), (2, True)])
def test_other_names_of_tiffs_are_taken_as_tiffs(tmp_path: Path, suffix, levels: int, taken: bool):
    path = str(write(tmp_path / f"a{suffix}", 256, levels))
    assert (get_reader(path) is not None) is taken


def test_the_manifest_claims_every_suffix_of_the_reader():
    npe2 = pytest.importorskip("npe2", reason="needs napari")
    manifest = npe2.PluginManifest.from_file(Path(__file__).parents[1] / "napari.yaml")
    (claim,) = manifest.contributions.readers
    suffixes = {*reader.VENDOR_SUFFIXES, *reader._OTHER_SUFFIXES, *reader.ARCHIVE_SUFFIXES}
    assert set(claim.filename_patterns) == {f"*{suffix}" for suffix in suffixes}


@pytest.mark.parametrize("opened", ["a folder", "a stack"])
@pytest.mark.parametrize(
    ("names", "large"),
    [
        (["a.svs", "b.tif"], "a.svs"),
        (["a.tif", "großer Schnitt.tif"], "großer Schnitt.tif"),
        (["a.tif", "b.tif"], None),
        (["a.png", "b.png"], None),
    ],
)
def test_slides_among_several_files_are_no_other_reader_s(
    tmp_path: Path, opened: str, names: list[str], large: str | None
):
    for name in names:
        write(tmp_path / name)
        if name == "großer Schnitt.tif":
            with (tmp_path / name).open("r+b") as file:
                file.truncate(200_000_000)
    paths = str(tmp_path) if opened == "a folder" else [str(tmp_path / name) for name in names]
    found = get_reader(paths)
    assert (found is None) is (large is None)
    if found is not None:
        with pytest.raises(SlideError, match=f"{large}.*one by one"):
            found(paths)


@pytest.mark.parametrize("opened", ["a folder", "a stack"])
def test_a_folder_of_result_folders_is_refused_though_they_are_named_as_slides(
    tmp_path: Path, opened: str
):
    paths = [tmp_path / name for name in ("a.txt", "Schnitt.svs", "a.tif")]
    paths[0].touch()
    for folder in paths[1:]:
        folder.mkdir()
        for name in ("summary.json", "tiles.csv"):
            (folder / name).touch()
    asked = str(tmp_path) if opened == "a folder" else [str(one) for one in paths]
    # Windows puts a before S.
    with pytest.raises(
        SlideError, match=r"results of a slide\. Open '(Schnitt\.svs|a\.tif)' by itself"
    ):
        get_reader(asked)(asked)


@pytest.mark.parametrize("fault", [None, SlideStalledError("no answer")])
def test_a_file_is_opened_once(tmp_path: Path, monkeypatch, fault: SlideError | None):
    opened, real = [], reader.open_slide

    def open_slide(path: Path) -> Slide:
        opened.append(path)
        if fault is not None:
            raise fault
        return real(path)

    monkeypatch.setattr(reader, "open_slide", open_slide)
    path = str(write(tmp_path / "a.tif", 256, 2))
    read = get_reader(path)
    if fault is None:
        assert len(read(path)) == 1
    else:
        with pytest.raises(SlideStalledError, match="no answer"):
            read(path)
    assert len(opened) == 1


@pytest.mark.parametrize("content", [b"", b"II*\0 no tiff"])
@pytest.mark.parametrize("name", ["a.tif", "a.dcm", "a.png", "a"])
def test_what_is_no_slide_is_left_to_others(tmp_path: Path, content: bytes, name: str):
    (tmp_path / name).write_bytes(content)
    assert get_reader(str(tmp_path / name)) is None
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path / name)] * 2) is None


@pytest.mark.parametrize(("side", "taken"), [(4000, False), (6000, True)])
@pytest.mark.parametrize(
    ("fault", "message"), [("truncated", "truncated"), ("16 bit", "pixels are uint16")]
)
def test_a_huge_tiff_that_cannot_be_opened_is_no_other_reader_s(
    tmp_path: Path, side: int, taken: bool, fault: str, message: str
):
    path = tmp_path / "Schnitt ä.tif"
    kind = np.uint16 if fault == "16 bit" else np.uint8
    length = side if kind is np.uint8 else side // 2
    shape = (side, length, 3)  # no pixels are written: the file has holes
    tifffile.imwrite(path, shape=shape, dtype=kind, photometric="rgb", bigtiff=False)
    if fault == "truncated":
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 1000)
    assert (get_reader(str(path)) is not None) is taken
    if taken:
        with pytest.raises(SlideError, match=message):
            get_reader(str(path))(str(path))


def test_a_huge_file_that_is_no_tiff_is_left_to_others(tmp_path: Path):
    with (tmp_path / "a.tif").open("wb") as file:
        file.truncate(200_000_000)
    assert get_reader(str(tmp_path / "a.tif")) is None


def test_a_slide_that_does_not_answer_is_waited_for_in_bounds(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(reader, "_PROBE_LIMIT_S", 0.2)
    monkeypatch.setattr(TiffBackend, "read", lambda *_: time.sleep(10))
    path = str(write(tmp_path / "a.tif", 256, 2))
    started = time.perf_counter()
    with pytest.raises(SlideStalledError, match="did not answer"):
        reader.read_slides(path)
    assert time.perf_counter() - started < 8


def test_a_file_that_does_not_answer_is_not_given_to_others(tmp_path: Path, monkeypatch):
    def stall(path: object) -> Slide:
        raise SlideStalledError(f"'{path}' did not answer")

    monkeypatch.setattr(reader, "open_slide", stall)
    path = str(write(tmp_path / "a.tif"))
    with pytest.raises(SlideStalledError):
        get_reader(path)(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.svs", "OpenSlide knows no such format"),
        ("B.NDPI", "OpenSlide knows no such format"),
        ("c.mrxs", "a folder 'c' beside it"),
    ],
)
def test_an_unreadable_vendor_file_says_what_is_wrong(tmp_path: Path, name: str, message: str):
    (tmp_path / name).write_bytes(b"no slide")
    reader = get_reader(str(tmp_path / name))
    assert reader is not None
    with pytest.raises(SlideError, match=message):
        reader(str(tmp_path / name))


def test_a_vendor_file_without_a_readable_tile_is_an_error(shared_data: Path):
    path = str(shared_data / "slides/unreadable.svs")
    reader = get_reader(path)
    assert reader is not None
    with pytest.raises(SlideError, match="No part"):
        reader(path)


def test_the_layer_is_a_lazy_pyramid_at_true_scale(tmp_path: Path):
    path = write(
        tmp_path / "Schnitt 1 ä.tif", 256, 2, resolution=(20_000, 10_000), resolutionunit=3
    )
    reader = get_reader([str(path)])
    assert reader is not None
    [(levels, kwargs, kind)] = reader([str(path)])
    assert kind == "image"
    assert [level.shape for level in levels] == [(256, 256, 3), (128, 128, 3)]
    assert kwargs["scale"] == pytest.approx((1.0, 0.5))
    assert kwargs["units"] == ("micrometer", "micrometer")
    assert kwargs["name"] == path.name
    assert kwargs["rgb"]
    assert kwargs["multiscale"]
    slide = kwargs["metadata"]["napari_hmkd"]["slide"]
    assert isinstance(slide, Slide)
    assert slide.path == path


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("http://a.b/slide.zarr", True),
        ("https://a.b/c d/slide.ome.zarr/", True),
        ("s3://bucket/slide.ZARR", True),
        ("http://a.b/slide.svs", False),
        ("http://a.b/", False),
        ("ftp://a.b/slide.zarr", False),
    ],
)
def test_an_address_of_a_store_is_taken_unseen(address: str, taken: bool):
    assert (get_reader(address) is not None) is taken
    assert (get_reader([address]) is not None) is taken


def test_a_store_on_a_server_is_a_layer(tmp_path: Path, write_zarr, serve):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    write_zarr(tmp_path / "Schnitt.ome.zarr", [pixels])
    with serve(tmp_path) as server:
        path = f"{server.url}/Schnitt.ome.zarr"
        [(levels, kwargs, _)] = get_reader(path)(path)
        assert (kwargs["name"], kwargs["scale"]) == ("Schnitt.ome.zarr", (0.5, 0.5))
        assert np.array_equal(np.asarray(levels[0]), pixels)
        with pytest.raises(SlideError, match=r"missing\.zarr"):
            get_reader(path)(f"{server.url}/missing.zarr")


def test_napari_passes_addresses_on(tmp_path: Path, write_zarr, serve):
    npe2 = pytest.importorskip("npe2", reason="needs napari")
    write_zarr(tmp_path / "a.zarr", [np.zeros((64, 64, 3), np.uint8)])
    manifest = npe2.PluginManifest.from_file(Path(__file__).parents[1] / "napari.yaml")
    with serve(tmp_path) as server:
        manager = npe2.PluginManager(disable=())
        manager.register(manifest)
        found = manager.iter_compatible_readers([f"{server.url}/a.zarr"])
        assert [reader.command for reader in found] == ["napari-hmkd.read_slide"]


def test_a_slide_without_pixel_size_is_drawn_in_pixels(shared_data: Path):
    path = str(shared_data / "slides/tcga-cr-7395-01a-01-ts1.svs")
    reader = get_reader(path)
    assert reader is not None
    [(levels, kwargs, _)] = reader(path)
    assert (kwargs["scale"], kwargs["units"]) == ((1.0, 1.0), ("pixel", "pixel"))
    assert max(levels[-1].shape) <= 2048


@pytest.mark.parametrize("name", ["her2st_C2.ome.tif", "cmu-1-small-region-dicom", "boxes.tiff"])
def test_napari_takes_the_layer(shared_data: Path, name: str):
    layers = pytest.importorskip("napari.layers", reason="needs napari")
    path = str(shared_data / "slides" / name)
    reader = get_reader(path)
    assert reader is not None
    layer = layers.Layer.create(*reader(path)[0])
    assert layer.multiscale
    assert layer.rgb


@pytest.mark.parametrize("name", ["", "folder", "slide.svs", "slide.tif"])
def test_what_cannot_be_looked_at_is_left_to_others_or_refused(closed_folder: Path, name: str):
    path = str(closed_folder / name)
    reader = get_reader(path)
    if reader is None:
        assert not name.endswith(".svs"), "others would load the whole of it"
        return
    with pytest.raises(SlideError, match=name):
        reader(path)


@pytest.mark.parametrize("suffix", ["", ".svs", ".tif", ".zarr"])
def test_a_name_that_no_file_can_have_is_left_to_others_or_refused(tmp_path: Path, suffix: str):
    path = str(tmp_path / ("x" * 300 + suffix))
    reader = get_reader(path)
    if reader is not None:
        with pytest.raises(SlideError, match=r"too long|does not exist"):
            reader(path)


def test_a_folder_of_results_is_shown_though_it_is_named_as_a_slide(tmp_path: Path):
    folder = tmp_path / "slide.svs"
    folder.mkdir()
    for name in ("summary.json", "tiles.csv"):
        (folder / name).write_text("{", encoding="utf-8")
    found = get_reader(str(folder))
    with pytest.raises(OutputError, match=r"summary\.json cannot be used"):
        found(str(folder))
