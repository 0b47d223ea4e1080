"""TIFFs whose layout only their scanners' makers know: written here, no scanner's own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.vendor_slides.common import reduced
from tests.vendor_slides.leica import write_scn
from tests.vendor_slides.page_pyramids import write_argos, write_huron
from tests.vendor_slides.philips import write_philips
from tests.vendor_slides.trestle import write_trestle
from tests.vendor_slides.ventana import write_bif

from napari_hmkd.errors import SlideError, SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.layers import slide_layer
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.description import describe

LABEL = np.full((60, 40, 3), (255, 0, 255), np.uint8)
NAME = "Erika Mustermann"


def tissue(height: int, width: int) -> np.ndarray:
    """Blocks of 8 px of random colours, none of them the label's."""
    colours = np.random.default_rng(0).integers(
        90, 240, (height // 8 + 1, width // 8 + 1, 3), np.uint8
    )
    return colours.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def leica(path: Path) -> np.ndarray:
    """Two regions, one below the other with glass between them, far from the whole slide's corner."""
    above, below = tissue(160, 240), tissue(128, 96)
    write_scn(path, [((300, 200), above), ((500, 280), below)], LABEL, barcode=NAME)
    shown = np.full((328, 240, 3), 255, np.uint8)
    shown[:160], shown[200:, 80:176] = above, below
    return shown


def philips(path: Path) -> np.ndarray:
    """Tiles of glass between tissue that are not stored, and levels that do not fill their tiles."""
    shown = tissue(320, 448)
    gone = {(y, x) for y in range(2) for x in range(2, 4)}
    write_philips(path, shown, LABEL, gone, barcode=NAME)
    shown[:128, 128:256] = 255
    return shown


def ventana(path: Path) -> np.ndarray:
    """Two areas of overlapping tiles, and a size that is no multiple of the levels' steps."""
    above, below = tissue(180, 226), tissue(122, 172)  # 3 x 4 and 2 x 3 tiles
    write_bif(path, [((0, 0), above), ((221, 101), below)], LABEL, user=NAME)
    shown = np.full((343, 273, 3), 255, np.uint8)
    shown[:180, :226], shown[221:, 101:] = above, below
    return shown


def trestle(path: Path) -> np.ndarray:
    """Tiles that overlap, the last of them cut."""
    shown = tissue(200, 300)
    write_trestle(path, shown)
    return shown


def argos(path: Path) -> np.ndarray:
    """Three focal planes, of which the middle one is to be shown."""
    shown = tissue(200, 300)
    write_argos(path, [255 - shown, shown, shown[::-1]], LABEL)
    return shown


def huron(path: Path) -> np.ndarray:
    """Levels with a thumbnail between them."""
    shown = tissue(200, 300)
    write_huron(path, shown, LABEL)
    return shown


VENDORS = [leica, philips, ventana, trestle, argos, huron]
each_vendor = pytest.mark.parametrize("write", VENDORS)


@pytest.mark.parametrize(
    ("write", "origin", "downsamples", "facts"),
    [
        (leica, (300, 200), [1, 4], ("20x", "2013-07-09T12:30:47.87Z")),
        (philips, (0, 0), [1, 2], ("20x", "20160718122300.000000")),
        (ventana, (0, 0), [1, 2, 4], ("20x", "not known")),
        (trestle, (0, 0), [1, 2], ("20x", "not known")),
        (argos, (0, 0), [1, 2], ("20x", "not known")),
        (huron, (0, 0), [1, 2], ("not known", "not known")),
    ],
)
def test_a_scanner_s_tiff_is_put_together_whatever_it_is_called(
    tmp_path: Path, write: Callable[[Path], np.ndarray], origin, downsamples, facts
):
    painted = write(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.backend, slide.vendor) == ("openslide", write.__name__)
        assert (slide.mpp, slide.mpp_source) == ((0.5, 0.5), "openslide.mpp-x")
        assert (slide.origin_px, slide.size) == (origin, Size(*painted.shape[:2]))
        assert [level.downsample for level in slide.levels] == downsamples
        assert (describe(slide)["objective"], describe(slide)["scan date"]) == facts
        apart = write in (leica, ventana, trestle)  # tiles of no one grid
        assert describe(slide)["tiles"].startswith("not known" if apart else "64 x 64 px")
        for index, step in enumerate(downsamples):
            expected = reduced(painted, step)
            whole = Region(0, 0, *expected.shape[:2])
            drawn = slide_layer(slide)[0][index].compute()[: whole.height, : whole.width]
            for found in (slide.read_level(index, whole), drawn):
                moved = differ_by(found[1:, 1:], expected[:-1, :-1])
                assert differ_by(found, expected) < moved / 3


def differ_by(found: np.ndarray, expected: np.ndarray) -> float:
    """How many grey values."""
    return float(np.abs(found.astype(int) - expected).mean())


@pytest.mark.parametrize("write", [leica, philips, ventana])  # the others state no name
def test_no_label_and_no_name_is_shown(tmp_path: Path, write):
    write(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as slide:
        assert NAME in " ".join(slide.properties.values())
        arrays, layer, _ = slide_layer(slide)
        for pixels in (slide.thumbnail(), *(array.compute() for array in arrays)):
            assert pixels[..., 1].min() > 60  # the label has no green
        assert NAME not in f"{describe(slide)} {layer}"


@each_vendor
def test_tifffile_does_not_take_it_for_a_plain_pyramid(tmp_path: Path, write):
    write(tmp_path / "a.tif")
    with pytest.raises(SlideError, match=rf"only OpenSlide knows how '{write.__name__}' keeps"):
        open_slide(tmp_path / "a.tif", backend="tifffile")


@each_vendor
@pytest.mark.parametrize("share", [0.3, 0.95, 0.999])
def test_a_file_that_was_cut_off_is_refused_at_once(tmp_path: Path, write, share: float):
    """Also where its pages are not those of the first image."""
    write(tmp_path / "whole.tif")
    whole = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SlideError, match=r"cut\.tif' is truncated"):
        open_slide(tmp_path / "cut.tif")


def test_a_label_that_was_taken_out_of_an_svs_is_not_missed(shared_data: Path, tmp_path: Path):
    path = tmp_path / "a.svs"
    path.write_bytes((shared_data / "slides" / "cmu-1-small-region.svs").read_bytes())
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        at = tiff.pages[-1].tags["StripOffsets"].offset
        tiff.filehandle.seek(at)
        tiff.filehandle.write((60000).to_bytes(2, "little"))  # a tag that nobody knows
    with open_slide(path, backend="openslide") as slide:
        assert slide.thumbnail().any()


@pytest.mark.parametrize(
    ("write", "page"),
    [(leica, 1), (philips, 0), (ventana, 2), (trestle, 0), (argos, 2), (huron, 0)],
)
def test_a_damaged_tile_is_unreadable_alone(tmp_path: Path, write, page: int):
    painted = write(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        offset = tiff.pages[page].dataoffsets[0]
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(offset)
        file.write(b"damaged!")
    with open_slide(tmp_path / "a.tif") as slide:
        with pytest.raises(SlideReadError, match="damaged"):
            slide.read_level(0, Region(0, 0, 32, 32))
        beside = slide.read_level(0, Region(0, 64, 64, 64))
        assert differ_by(beside, painted[:64, 64:128]) < 3


def test_a_bif_that_openslide_refuses_says_what_to_do(tmp_path: Path):
    """As those of newer scanners, such as the DP 200, whose joints OpenSlide 4.0.1 does not know."""
    write_bif(tmp_path / "a.bif", [((0, 0), tissue(180, 226))], LABEL, rightwards="LEFT")
    with pytest.raises(SlideError, match=r"LEFT.*export it as DICOM or OME-TIFF"):
        open_slide(tmp_path / "a.bif")


def test_a_bif_that_openslide_does_not_know_is_no_plain_pyramid(tmp_path: Path):
    ventana(tmp_path / "a.bif")
    stored = (tmp_path / "a.bif").read_bytes()
    (tmp_path / "a.bif").write_bytes(stored.replace(b"<iScan", b"<other"))
    for backend in (None, "tifffile"):
        with pytest.raises(SlideError, match="tiles overlap"):
            open_slide(tmp_path / "a.bif", backend=backend)
