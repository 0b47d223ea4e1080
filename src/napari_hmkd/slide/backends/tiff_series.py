"""Which image of a TIFF is the slide, and which of its pages are smaller copies of it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Size
from napari_hmkd.slide.backends.channels import channels_problem
from napari_hmkd.slide.backends.protocol import same_proportions
from napari_hmkd.slide.backends.tiff_checks import require_gradable
from napari_hmkd.slide.backends.tiff_copies import forget_copied_headers
from napari_hmkd.slide.backends.tiff_metadata import ome_pixels

_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of "label_image", "MacroImage", "Label 1"
BESIDE = re.compile("(slide)?(label|barcode|macro|overview|thumbnail)s?(image)?")
"""Words for pictures beside the slide; a label's can carry a patient's name."""

WITH_LABEL = re.compile("(slide)?(label|barcode|macro)s?(image)?")
"""Those of pictures that show the label."""

_MASK = tifffile.PHOTOMETRIC.MASK
"""GDAL's, of an image before it."""

_SHORT = 40  # characters
_QPTIFF_KIND = re.compile("<PerkinElmer-QPI.*?<ImageType>(.*?)</ImageType>", re.DOTALL)


def slide_series(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The slide's image, if it is one that can be graded: the largest that is no label or overview.

    Of an OME-TIFF that lists the images of several files it is one that lies in this one, if any does.

    Its levels are those of tifffile less what is no smaller copy, such as a label of half the size, and
    with the smaller copies that tifffile missed.

    Raises
    ------
    SlideError
        It is not 8-bit colour, its channels are called otherwise, it has depth or time, its tiles are
        too large or overlap, or there is only a label.
    """
    if tiff.is_bif:  # tifffile lays its tiles side by side
        raise SlideError(
            f"'{path}' is a Ventana BIF, whose tiles overlap; OpenSlide, which puts them together, does "
            "not know it as one. Export the slide as DICOM or OME-TIFF."
        )
    forget_copied_headers(tiff)
    series = _with_channels(_largest(_slides(tiff, path)), tiff)
    levels = [level for level in series.levels[1:] if not _is_no_level(level, series, tiff)]
    levels += _missed_levels(series, tiff)
    series.levels[1:] = sorted(levels, key=lambda level: -level.keyframe.imagewidth)
    require_gradable(series, path)
    if problem := _channels_problem(tiff, series):
        raise SlideError(
            f"'{path}' is no slide that can be graded: {problem}. Needed is an RGB image of a "
            "brightfield scan; if it is one, export it as such."
        )
    return series


def _with_channels(
    series: tifffile.TiffPageSeries, tiff: tifffile.TiffFile
) -> tifffile.TiffPageSeries:
    """An image whose three pages an OME header calls channels without saying which page is which.

    With the header that libvips' users write it has no `TiffData`, and tifffile does not use it.
    """
    if (series.kind, series.axes, series.shape[0]) != ("generic", "IYX", 3):
        return series
    planes = {"SizeC": "3", "SizeZ": "1", "SizeT": "1"}
    if not any(planes.items() <= one.attrib.items() for one in ome_pixels(tiff, series.keyframe)):
        return series
    levels = [
        tifffile.TiffPageSeries(
            list(level.pages), level.shape, level.dtype, "CYX", name=level.name, kind="ome"
        )
        for level in series.levels
    ]
    levels[0].levels[1:] = levels[1:]
    return levels[0]


def _channels_problem(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> str | None:
    """Why an OME-TIFF's channels are no colours, if its header says so of each image of this size."""
    problems = []
    for pixels in ome_pixels(tiff, series.keyframe):
        channels = pixels.findall("{*}Channel")
        labels = [str(one.get("Name") or "").strip() for one in channels]
        colours = [_rgb(one.get("Color")) for one in channels]
        problems.append(channels_problem(labels, colours))
    return problems[0] if problems and all(problems) else None


def _rgb(colour: str | None) -> str:
    """RRGGBB of OME's signed 32 bits of red, green, blue and alpha; -1, white, is also its default."""
    try:
        return f"{int(colour or '') & 0xFFFFFFFF:08X}"[:6]
    except ValueError:
        return ""


def other_images(tiff: tifffile.TiffFile, path: Path) -> tuple[str, ...]:
    """A warning where a TIFF has several images that may be the slide; none where it has one."""
    slides = _slides(tiff, path)
    return one_of_several(slides.index(_largest(slides)), len(slides))


def left_out(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Warnings of what belongs to an image and is not used: SubIFDs that are no level, and a mask."""
    page = series.keyframe
    used = {level.keyframe.offset for level in series.levels}
    below = [one for one in page.pages or () if one.offset not in used]
    found = [
        f"a further level, of {one.imagelength:,} x {one.imagewidth:,} px, is left out: it is not stored in "
        "tiles, or is no smaller copy of the whole slide"
        for one in (one.aspage() for one in below)
        if not has_word(BESIDE, _words(one))
    ]
    if any(one.keyframe.photometric == _MASK for one in tiff.series):
        found.append("the file has a mask, which is not applied: what it hides is shown")
    return tuple(found)


def one_of_several(index: int, count: int) -> tuple[str, ...]:
    """A warning that images of a file besides the one at `index` are not looked at; none of one image."""
    if count == 1:
        return ()
    return (
        f"the file holds {count} images that may be slides: this is number {index + 1}, the largest, and the "
        "rest is not looked at; to have it, too, export each as a file of its own",
    )


def require_no_label_as_level(tiff: tifffile.TiffFile, path: Path) -> None:
    """Check that OpenSlide would show no label as a level of the slide.

    Of an SVS it takes every page in tiles for a level, of a TIFF of no known vendor every one that is
    said to be a reduced copy.

    Raises
    ------
    SlideError
        The words on one, or its proportions, are not those of a level.
    """
    first = tiff.pages.first
    for page in tiff.pages[1:]:
        taken = page.is_tiled and (tiff.is_svs or page.is_reduced)
        larger = page.imagewidth > first.imagewidth
        beside = _is_beside(page, first, _words(page))
        if taken and (larger or beside or not _same_aspect(page, first)):
            raise SlideError(
                f"'{path}' has a picture beside the slide, such as a label, that OpenSlide would show "
                "as a level of the slide. Export the slide without it."
            )


def first_image(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The slide's image, if it is the first page: OpenSlide takes that of a TIFF of no known vendor.

    Raises
    ------
    SlideError
        It is another page, it is several ones, or it cannot be graded.
    """
    series = slide_series(tiff, path)
    if not _is_first(series, tiff) or len(series.pages) > 1:
        raise SlideError(
            f"OpenSlide would show the first page of '{path}' alone, which is not the slide's image "
            "or only one of its colours."
        )
    return series


def _slides(tiff: tifffile.TiffFile, path: Path) -> list[tifffile.TiffPageSeries]:
    """The images that may be the slide; at least one."""
    listed = [one for one in tiff.series if one.size > 0 and one.keyframe.photometric != _MASK]
    every = [one for one in listed if _lies_in(tiff, one)] or listed
    if not every:
        raise SlideError(f"'{path}' is a TIFF without an image in it.")
    slides = [
        one
        for one in every
        if not has_word(BESIDE, _title(one, tiff))
        and (_is_first(one, tiff) or not one.keyframe.is_reduced)
    ]
    if len(every) == 1 and not has_word(WITH_LABEL, _title(every[0], tiff)):
        slides = every  # the only image may be called "Overview of the tumour"
    if not slides:
        raise SlideError(  # without its name: that can be a patient's
            f"'{path}' has no slide's image, only what is called a label, macro or overview. A label "
            "can name a patient and is not shown; if it is the slide, export it under another name."
        )
    return slides


def _lies_in(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether a page of a series does, and not all of them in other files that an OME-TIFF names."""
    own = tiff.filehandle.path
    return any(page is not None and page.parent.filehandle.path == own for page in series.pages)


def _largest(slides: list[tifffile.TiffPageSeries]) -> tifffile.TiffPageSeries:
    return max(slides, key=lambda one: math.prod(one.shape))


def _missed_levels(
    series: tifffile.TiffPageSeries, tiff: tifffile.TiffFile
) -> list[tifffile.TiffPageSeries]:
    """Smaller copies of an image among the others.

    tifffile takes steps of 2, 3 or 4 only, all of them alike, and an SVS's second page for a
    thumbnail.
    """
    if series.kind == "ome":  # its header says what belongs together
        return []
    others = [level for one in tiff.series if one is not series for level in one.levels]
    return [level for level in others if _is_copy(level, series)]


def _is_copy(level: tifffile.TiffPageSeries, series: tifffile.TiffPageSeries) -> bool:
    """Whether tiled pages are a smaller copy of an image: said so, and of its form and proportions."""
    page, whole = level.keyframe, series.keyframe
    said = page.is_reduced or page.is_subifd
    if series.kind == "svs":
        said = level.name == "Thumbnail" and not page.is_reduced
    return (
        said
        and page.is_tiled
        and page.imagewidth < whole.imagewidth
        and _form(level) == _form(series)
        and not _is_beside(page, whole, _words(page))
        and _same_aspect(page, whole)
    )


def _is_no_level(
    level: tifffile.TiffPageSeries, series: tifffile.TiffPageSeries, tiff: tifffile.TiffFile
) -> bool:
    """Whether tifffile took something else for a level of a series.

    It takes any tiles of an SVS, and any SubIFD of an OME-TIFF, which can shrink one axis alone.
    """
    page, whole = level.keyframe, series.keyframe
    words = _words(page) if series.kind == "svs" else _title(level, tiff)
    larger = page.imagewidth > whole.imagewidth
    return larger or _is_beside(page, whole, words) or not _same_aspect(page, whole)


def _is_beside(page: tifffile.TiffPage, whole: tifffile.TiffPage, words: str) -> bool:
    """Whether words call a page a picture beside the slide; a copy of the slide's own header does not."""
    return page.description != whole.description and has_word(BESIDE, words)


def _form(series: tifffile.TiffPageSeries) -> tuple[object, ...]:
    page = series.keyframe
    return (
        series.axes,
        series.dtype,
        len(series.pages),
        page.photometric,
        page.planarconfig,
        page.samplesperpixel,
    )


def _same_aspect(small: tifffile.TiffPage, large: tifffile.TiffPage) -> bool:
    """Whether the smaller page shows all of the larger one; see `same_proportions`."""
    small_size, large_size = (Size(page.imagelength, page.imagewidth) for page in (small, large))
    return same_proportions(small_size, large_size)


def _is_first(series: tifffile.TiffPageSeries, tiff: tifffile.TiffFile) -> bool:
    return bool(series.keyframe.offset == tiff.pages.first.offset)


def _title(series: tifffile.TiffPageSeries, tiff: tifffile.TiffFile) -> str:
    """What an image is called: its name, and its description where that is no long header."""
    description = _words(series.keyframe)
    header = _is_first(series, tiff) and len(description) > _SHORT
    if series.kind == "svs" or header:
        description = ""
    return f"{series.name} {description}".strip()


def _words(page: tifffile.TiffPage) -> str:
    """What is written on a page, less what Aperio puts behind a bar: the scan's figures and names.

    Of the header that each page of a QPTIFF has, which may state a barcode, what kind of image it is.
    """
    text = str(page.description)
    if kind := _QPTIFF_KIND.search(text):
        return kind[1]
    return text.partition("|")[0] if text.startswith("Aperio") else text


def has_word(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a word of a text, also one within `camelCase` or `snake_case`, is one of a pattern's."""
    return any(pattern.fullmatch(word.lower()) for word in _WORD.findall(text))
