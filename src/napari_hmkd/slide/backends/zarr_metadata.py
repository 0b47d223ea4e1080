"""Which image of an OME-Zarr store is the slide, and what its metadata say."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import zarr
from ome_zarr_models.v04.multiscales import Multiscale as Multiscale04
from ome_zarr_models.v05.multiscales import Multiscale as Multiscale05
from pydantic import ValidationError
from upath import UPath

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.channels import channels_problem
from napari_hmkd.slide.backends.tiff_series import BESIDE, WITH_LABEL, has_word, one_of_several

_LOG = logging.getLogger(__name__)

Multiscale = Multiscale04 | Multiscale05
ReadFile = Callable[[str], bytes | None]
"""Reads a small file of a store by its name; None where there is none."""

_NEEDED = (
    "Needed is OME-Zarr 0.4 or 0.5: axes c, y, x in this order (t and z may stand around c, with one "
    "plane each), and a scale for each level. Convert it, for example with bioformats2raw."
)
_OTHER = ("0.1", "0.2", "0.3", "0.6")


@dataclass(frozen=True)
class ZarrImage:
    """One image of a store.

    Attributes
    ----------
    group : zarr.Group
        Where its levels lie.
    metadata : dict
        Its entry in `multiscales`, as written.
    title : str
        What it is called, in the group and in the store's OME-XML.
    """

    group: zarr.Group
    metadata: dict[str, Any]
    title: str


def slide_image(
    root: zarr.Group, path: Path | UPath, read: ReadFile
) -> tuple[ZarrImage, tuple[str, ...]]:
    """The slide's image: the largest of the store that is called no label, macro or overview.

    Returns
    -------
    The image, and a warning where others may be slides, too.

    Raises
    ------
    SlideError
        The store holds no image, or only a label's.
    """
    every = list(_images(root, path, read))
    if not every:
        if {"plate", "well"} & set(ome_attributes(root)):
            raise SlideError(
                f"'{path}' is a plate, or one of its wells, and no slide. Open the folder of one image, "
                "such as 'A/1/0' of a plate."
            )
        raise SlideError(
            f"'{path}' is a zarr store without an OME-Zarr image (no 'multiscales'). "
            "Open the folder of the image itself, or convert it to OME-Zarr 0.4 or 0.5."
        )
    slides = [one for one in every if not has_word(BESIDE, one.title)]
    if len(every) == 1 and not has_word(WITH_LABEL, every[0].title):
        slides = every  # the only image may be called "Overview of the tumour"
    if not slides:
        raise SlideError(  # without its name: that can be a patient's
            f"'{path}' has no slide's image, only what is called a label, macro or overview. A label "
            "can name a patient and is not shown; if it is the slide, write it under another name."
        )
    largest = max(slides, key=_pixel_count)
    return largest, one_of_several(slides.index(largest), len(slides))


def _images(root: zarr.Group, path: Path | UPath, read: ReadFile) -> Iterator[ZarrImage]:
    """Every image: those of the group itself, or of the groups that bioformats2raw numbers."""
    attributes = ome_attributes(root)
    if "multiscales" in attributes or "bioformats2raw.layout" not in attributes:
        yield from _images_of(root, "")
        return
    names = _xml_names(path, read)
    for index, series in enumerate(_series(root)):
        group = root.get(series)
        if isinstance(group, zarr.Group):
            yield from _images_of(group, names[index] if index < len(names) else "")


def _images_of(group: zarr.Group, title: str) -> Iterator[ZarrImage]:
    found = ome_attributes(group).get("multiscales")
    for entry in found if isinstance(found, list) else []:
        if isinstance(entry, dict):
            yield ZarrImage(group, entry, f"{entry.get('name') or ''} {title}")


def ome_attributes(group: zarr.Group) -> dict[str, Any]:
    """What OME-Zarr says of a group: in 0.5 below a key of its own."""
    attributes: dict[str, Any] = group.attrs.asdict()
    found = attributes.get("ome", attributes)
    return found if isinstance(found, dict) else {}


def _series(root: zarr.Group) -> Iterator[str]:
    """Names of the images' groups: those that the store lists, else all from 0 on."""
    ome = root.get("OME")
    listed = ome_attributes(ome).get("series") if isinstance(ome, zarr.Group) else None
    if isinstance(listed, list):
        yield from map(str, listed)
        return
    yield from itertools.takewhile(lambda name: name in root, map(str, itertools.count()))


def _xml_names(path: Path | UPath, read: ReadFile) -> list[str]:
    """What the store's OME-XML calls its images, in order; nothing where it has none."""
    text = read("OME/METADATA.ome.xml")
    if text is None:
        return []
    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        _LOG.debug("'%s' has OME-XML that cannot be read: %s", path, error)
        return []
    return [one.get("Name", "") for one in tree.iter() if one.tag.rpartition("}")[2] == "Image"]


def _pixel_count(image: ZarrImage) -> int:
    try:
        return math.prod(image.group[image.metadata["datasets"][0]["path"]].shape)
    except (KeyError, IndexError, TypeError, AttributeError):
        return 0  # what is wrong is said where it is opened


def checked_multiscale(image: ZarrImage, path: Path | UPath) -> Multiscale:
    """The image's metadata, checked.

    Raises
    ------
    SlideError
        They are of another version, or not as their version wants them.
    """
    version = str(image.metadata.get("version") or ome_attributes(image.group).get("version"))
    if version.startswith(_OTHER):
        raise SlideError(f"'{path}' is OME-Zarr {version}, which is not read. {_NEEDED}")
    model = Multiscale05 if "ome" in image.group.attrs else Multiscale04
    try:
        return model.model_validate(image.metadata)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "multiscales"
        words = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise SlideError(
            f"'{path}' has OME-Zarr metadata that cannot be used ({where}: {words}). {_NEEDED}"
        ) from error


def colours_problem(group: zarr.Group) -> str | None:
    """Why an image's three channels are not red, green and blue, as far as its metadata tell; or None."""
    omero = ome_attributes(group).get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not (isinstance(channels, list) and all(isinstance(one, dict) for one in channels)):
        return None
    return channels_problem(
        [str(one.get("label") or "").strip() for one in channels],
        [str(one.get("color") or "").upper() for one in channels],
    )
