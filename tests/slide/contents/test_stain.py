"""What a slide is stained with: real sections, drawn ones, and ones made unfit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_hmkd.errors import PixelSizeError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Size
from napari_hmkd.sample import ProceduralTissue
from napari_hmkd.slide import StainCheck, StainKind, check_stain, find_tissue, open_slide
from napari_hmkd.slide.backends.tiff_backend import TiffBackend
from napari_hmkd.slide.contents.fields import sample_fields
from napari_hmkd.slide.contents.focus import BLURRED, blurriness
from napari_hmkd.slide.loading.cache import TileCache

MPP = 1.0
FIELD = Size(512, 512)


@pytest.fixture
def check(tmp_path: Path, write_pyramid: Callable[..., None]) -> Callable[..., StainCheck]:
    """Write pixels as a slide, and check it."""

    def write_and_check(pixels: np.ndarray, mpp: float = MPP) -> StainCheck:
        path = tmp_path / "Schnitt ä 1.tif"
        write_pyramid(path, pixels, 2, mpp, tile=(256, 256))
        with open_slide(path) as slide:
            return check_stain(slide)

    return write_and_check


@pytest.fixture(scope="module", params=[102, 106, 111], ids=["3+", "1+", "0"])
def drawn(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """H&E and IHC of a patient's tumour, in the midst of glass."""
    tissue = ProceduralTissue(request.param, (4000.0, 4000.0))
    places = [(float(y), float(x)) for y in range(800, 2600, 300) for x in range(800, 2600, 300)]
    place = max(places, key=lambda origin: tissue.truth(origin, FIELD.height * MPP).tumour_share)
    rim = ((150, 150), (150, 150), (0, 0))
    he, ihc = (
        np.pad(pixels, rim, constant_values=243) for pixels in tissue.render_pair(place, FIELD, MPP)
    )
    return {"he": he, "ihc": ihc}


def blurred(pixels: np.ndarray, sigma_um: float, noise: float = 0.0) -> np.ndarray:
    """Out of focus, then seen by a camera with noise of some grey levels."""
    sigma = sigma_um / MPP
    light = gaussian_filter(pixels.astype(float), (sigma, sigma, 0))
    light += noise * np.random.default_rng(0).standard_normal(pixels.shape)
    return np.clip(light + 0.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "mpp", "kind"),
    [
        ("cmu-1-small-region.svs", None, StainKind.H_AND_E),
        ("tcga-cr-7395-01a-01-ts1.svs", 0.5, StainKind.H_AND_E),
        ("her2st_C2.ome.tif", None, StainKind.H_AND_E),
        ("her2st_C3_generic.tif", None, StainKind.H_AND_E),
        ("fluorescence.ndpi", None, StainKind.FLUORESCENCE),
    ],
)
def test_real_slides(shared_data: Path, name: str, mpp: float | None, kind: StainKind):
    with open_slide(shared_data / "slides" / name, mpp) as slide:
        found = check_stain(slide)
    assert found.kind == kind
    assert found.gradable == (kind == StainKind.H_AND_E)
    assert "%" in found.reason


@pytest.mark.parametrize("grade", ["0", "1+", "2+", "3+"])
@pytest.mark.parametrize(("stain", "kind"), [("HE", StainKind.H_AND_E), ("IHC", StainKind.IHC)])
def test_real_fields_of_both_stains(shared_data: Path, check, grade: str, stain: str, kind):
    (path,) = (shared_data / "bci_pairs" / stain / "test").glob(f"*_{grade}.png")
    with Image.open(path) as image:
        assert check(np.asarray(image.convert("RGB")), mpp=0.46).kind == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tissue-level0-4302-10273-4814-10785", StainKind.H_AND_E),
        ("high-nuclei-score-red-pen-level1", StainKind.H_AND_E),
        ("medium-nuclei-score-green-pen-level1", StainKind.H_AND_E),
        ("kidney-ihc-level0-310-500-360-530", StainKind.IHC),
        ("almost-white-1", StainKind.BLANK),
        ("no-tissue", StainKind.BLANK),
        ("no-tissue-green-pen", StainKind.BLANK),
        ("no-tissue-red-pen", StainKind.BLANK),
    ],
)
def test_real_tiles_with_pen_and_glass(shared_data: Path, check, name: str, kind: StainKind):
    with Image.open(shared_data / "tiles" / f"{name}.png") as image:
        assert check(np.asarray(image.convert("RGB")), mpp=0.5).kind == kind


def test_drawn_stains_are_told_apart(drawn, check):
    assert check(drawn["he"]).kind == StainKind.H_AND_E
    ihc = check(drawn["ihc"])
    assert ihc.kind == StainKind.IHC
    assert not ihc.gradable
    assert "brown" in ihc.reason


@pytest.mark.parametrize(("sigma_um", "noise"), [(3, 0), (3, 2), (5, 2), (10, 2)])
def test_blur_of_several_um_is_out_of_focus(drawn, check, sigma_um: float, noise: float):
    found = check(blurred(drawn["he"], sigma_um, noise))
    assert found.kind == StainKind.OUT_OF_FOCUS
    assert not found.gradable
    assert f"{BLURRED:.2f}" in found.reason


def test_the_optics_of_a_sharp_scan_and_noise_are_no_blur(drawn, check):
    assert check(blurred(drawn["he"], 0.5, noise=2)).kind == StainKind.H_AND_E
    assert check(blurred(drawn["he"], 1.0)).kind == StainKind.H_AND_E


def test_a_blurred_corner_does_not_spoil_a_slide(drawn, check):
    pixels = drawn["he"].copy()
    pixels[:400, :400] = blurred(pixels, 6)[:400, :400]
    found = check(pixels)
    assert (found.kind, found.warnings) == (StainKind.H_AND_E, ())


def test_a_slide_of_which_a_third_is_out_of_focus_passes_with_a_warning(drawn, check):
    pixels = np.concatenate([drawn["he"][150:-150]] * 4)
    third = 7 * pixels.shape[0] // 16
    pixels[:third] = blurred(pixels, 6)[:third]
    found = check(pixels)
    assert (found.kind, found.gradable) == (StainKind.H_AND_E, True)
    (warning,) = found.warnings
    assert "out of focus" in warning


@pytest.mark.parametrize(("amount", "lamp"), [(0.5, 1.0), (1.6, 1.0), (1.0, 0.85)])
def test_pale_and_strong_stains_and_other_lamps_are_still_h_and_e(drawn, check, amount, lamp):
    light = 243 * (drawn["he"] / 243.0) ** amount * (lamp, lamp * 0.98, lamp * 0.95)
    assert check((light + 0.5).astype(np.uint8)).kind == StainKind.H_AND_E


@pytest.mark.parametrize("glass", [(243, 243, 243), (255, 255, 255), (225, 220, 228)])
def test_glass_with_dust_is_blank(check, glass: tuple[int, int, int]):
    rng = np.random.default_rng(0)
    pixels = np.empty((2048, 2048, 3), np.uint8)
    pixels[:] = glass
    for y, x in rng.integers(0, 2030, (40, 2)):
        side = rng.integers(2, 15)
        pixels[y : y + side, x : x + side] = (90, 85, 80)
    found = check(pixels, mpp=2.0)
    assert found.kind == StainKind.BLANK
    assert not found.gradable


@pytest.mark.parametrize("channels", [(0,), (1,), (2,), (0, 1), (1, 2)])
@pytest.mark.parametrize("border", [0, 5, 255])
def test_fluorescence_is_dark_whatever_its_colours_and_border(check, channels, border: int):
    pixels = np.random.default_rng(0).integers(1, 12, (600, 600, 3)).astype(np.uint8)
    cells = np.random.default_rng(1).random((15, 15)) < 0.2
    for channel in channels:
        bright = 180 * np.kron(cells, np.ones((40, 40)))
        pixels[..., channel] = np.maximum(pixels[..., channel], bright)
    framed = np.pad(pixels, ((300, 300), (300, 300), (0, 0)), constant_values=border)
    assert check(framed).kind == StainKind.FLUORESCENCE


@pytest.mark.parametrize("noise", [0, 8])
def test_a_black_border_around_h_and_e_is_no_fluorescence(drawn, check, noise: int):
    framed = np.pad(drawn["he"], ((600, 600), (600, 600), (0, 0)))
    grain = np.random.default_rng(0).integers(0, noise + 1, framed.shape, dtype=np.uint8)
    assert check(np.maximum(framed, grain)).kind == StainKind.H_AND_E


def test_dense_h_and_e_under_a_dim_lamp_is_no_fluorescence(drawn, check):
    tissue = drawn["he"][150:-150, 150:-150]  # no glass, which is light
    assert check((tissue * 0.5).astype(np.uint8)).kind != StainKind.FLUORESCENCE


def test_erased_tissue_is_not_called_blank_glass(tmp_path, write_pyramid, drawn):
    write_pyramid(tmp_path / "a.tif", drawn["he"], mpp=MPP, tile=(256, 256))
    with open_slide(tmp_path / "a.tif") as slide:
        tissue = find_tissue(slide)
        found = check_stain(slide, replace(tissue, mask=np.zeros_like(tissue.mask)))
    assert not found.gradable
    assert "tissue layer" in found.reason
    assert "glass" not in found.reason


def test_fields_that_do_not_come_are_waited_for_in_bounds(
    tmp_path, write_pyramid, drawn, monkeypatch
):
    write_pyramid(tmp_path / "a.tif", drawn["he"], mpp=MPP, tile=(256, 256))
    with open_slide(tmp_path / "a.tif", cache=TileCache(0)) as slide:
        tissue = find_tissue(slide)
        monkeypatch.setattr("napari_hmkd.slide.slide.READING_LIMIT_S", 0.2)
        monkeypatch.setattr(TiffBackend, "read", lambda *_: time.sleep(5))
        with pytest.raises(SlideStalledError):
            sample_fields(slide, tissue)


def test_the_tissue_that_was_painted_is_what_is_judged(tmp_path, write_pyramid, drawn):
    both = np.concatenate([drawn["he"], blurred(drawn["he"], 6)], axis=1)
    write_pyramid(tmp_path / "a.tif", both, mpp=MPP, tile=(256, 256))
    with open_slide(tmp_path / "a.tif") as slide:
        tissue = find_tissue(slide)
        half = np.arange(tissue.mask.shape[1]) < tissue.mask.shape[1] // 2
        assert check_stain(slide, replace(tissue, mask=tissue.mask & half)).gradable
        assert not check_stain(slide, replace(tissue, mask=tissue.mask & ~half)).gradable


def test_damaged_tissue_is_left_to_the_grading(tmp_path, write_pyramid, damage):
    write_pyramid(tmp_path / "a.tif", np.full((512, 512, 3), 243, np.uint8), tile=(256, 256))
    damage(tmp_path / "a.tif", 0, 1)
    with open_slide(tmp_path / "a.tif") as slide:
        found = check_stain(slide)
        assert sample_fields(slide, find_tissue(slide)) == []
    assert (found.kind, found.gradable) == (StainKind.UNKNOWN, True)


def test_no_pixel_size_and_no_readable_tile_are_errors(shared_data: Path):
    with (
        open_slide(shared_data / "slides/tcga-cr-7395-01a-01-ts1.svs") as slide,
        pytest.raises(PixelSizeError, match="--mpp"),
    ):
        check_stain(slide)
    with (
        open_slide(shared_data / "slides/unreadable.svs") as slide,
        pytest.raises(SlideReadError),
    ):
        check_stain(slide)


def test_fields_lie_on_tissue_inside_the_slide(tmp_path, write_pyramid):
    pixels = np.full((1500, 2000, 3), 243, np.uint8)
    pixels[700:, 900:] = np.random.default_rng(0).integers(80, 200, (800, 1100, 3))
    write_pyramid(tmp_path / "a.tif", pixels, mpp=0.5, tile=(256, 256))
    with open_slide(tmp_path / "a.tif") as slide:
        fields = sample_fields(slide, find_tissue(slide))
    assert 2 <= len(fields) <= 12
    for field in fields:
        assert field.um_per_px == 1.0
        assert field.tissue.shape == field.pixels.shape[:2]
        assert field.tissue.mean() >= 0.2
        assert (field.pixels < 255).any(axis=(1, 2)).all()


@pytest.mark.parametrize("um_per_px", [1.0, 2.0])
def test_blurriness_grows_with_blur_and_ignores_contrast(drawn, um_per_px):
    sharp = drawn["he"][150:-150, 150:-150]
    values = [blurriness(blurred(sharp, sigma), um_per_px) for sigma in (0, 1, 2, 4)]
    assert values == sorted(values)
    faint = (220 + sharp * 0.1).astype(np.uint8)
    assert blurriness(faint, um_per_px) == pytest.approx(values[0], abs=0.05)


@pytest.mark.parametrize(
    ("side", "contrast", "um_per_px"), [(256, 0, 1.0), (8, 50, 1.0), (256, 50, 4.0)]
)
def test_blurriness_is_unknown_where_it_cannot_be_told(side, contrast, um_per_px):
    grey = 200 + contrast * np.random.default_rng(0).random((side, side, 1))
    assert blurriness(np.repeat(grey, 3, axis=2).astype(np.uint8), um_per_px) is None
