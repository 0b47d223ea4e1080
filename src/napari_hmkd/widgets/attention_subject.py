"""What the attention inspector looks into: the tiles of a slide, its IHC, and who looks at them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from weakref import ref

import napari.layers

from napari_hmkd.device import choose_device
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.inspection.pair import AlignedIhc, StainPair
from napari_hmkd.model import ModelCard, find_model, read_card
from napari_hmkd.planning import tile_grid
from napari_hmkd.slide import Slide
from napari_hmkd.tiling import TileGrid
from napari_hmkd.widgets.ihc_reading import aligned_ihc
from napari_hmkd.widgets.viewing import require_slide


class ModelFile(NamedTuple):
    """A model, by its registered name or its file, as it was last written."""

    name: str
    changed_ns: int


def model_file(name: str) -> ModelFile:
    """A model as its file is now.

    Raises
    ------
    ModelError
        If there is none.
    """
    return ModelFile(name, find_model(name).stat().st_mtime_ns)


@lru_cache(maxsize=2)  # a pair: what another device has is given free
def _opened(file: ModelFile, role: str, device: str) -> OpenModel:
    return open_model(file.name, role).move_to(device)


@lru_cache(maxsize=4)
def card_of(file: ModelFile) -> ModelCard:
    """A model's card, read once: it is asked for at every move of the mouse."""
    return read_card(find_model(file.name))


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Slides and networks. It keeps the slides open: hold it no longer than the work lasts.

    Attributes
    ----------
    he : Slide
    grid : TileGrid
        Its tiles, as the student sees them.
    student : ModelFile
    teacher : ModelFile or None
        It needs the IHC.
    ihc : AlignedIhc or None
    device : str
        Where the networks run, as `choose_device` takes it.
    """

    he: Slide
    grid: TileGrid
    student: ModelFile
    teacher: ModelFile | None = None
    ihc: AlignedIhc | None = None
    device: str = "auto"

    @property
    def key(self) -> Hashable:
        """What all that is found depends on; it keeps nothing open."""
        return ref(self.he.reader), self.he.mpp, _key_of(self.ihc), self.student, self.teacher

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the grades."""
        return card_of(self.student).class_names

    @property
    def about(self) -> dict[str, object]:
        """What each layer says of itself."""
        card = card_of(self.student)
        return {"model": card.name, "notice": card.notice, "result_of": self.he.path}

    @property
    def pair(self) -> StainPair:
        """Where its tiles are read."""
        return StainPair(self.he, self.grid, self.ihc)

    def open_student(self) -> OpenModel:
        """The student, kept open until its file changes.

        Raises
        ------
        ModelError
            If it cannot be loaded or is no student.
        DeviceError
            If it cannot run there.
        """
        return _opened(self.student, "student", str(choose_device(self.device)))

    def open_teacher(self) -> OpenModel | None:
        """The same of the teacher, where it takes part."""
        if self.teacher is None:
            return None
        return _opened(self.teacher, "teacher", str(choose_device(self.device)))


def subject_of(
    he_layer: napari.layers.Image,
    ihc_layer: napari.layers.Image | None,
    student: str,
    teacher: str,
    refine: bool,
    device: str = "auto",
) -> Subject:
    """The tiles of an H&E layer, with the IHC where its layer lies now; see `AlignedIhc` of `refine`.

    Raises
    ------
    ModelError
        If there is no such model.
    PixelSizeError
        If a slide's pixel size is unknown.
    SlideError
        See `aligned_ihc`.
    """
    he = require_slide(he_layer)
    of_student = model_file(student)
    grid = tile_grid(he, card_of(of_student))
    if ihc_layer is None:
        return Subject(he, grid, of_student, device=device)
    ihc = aligned_ihc(he_layer, ihc_layer, refine)
    return Subject(he, grid, of_student, model_file(teacher), ihc, device)


def _key_of(ihc: AlignedIhc | None) -> Hashable:
    """Which tissue is read as IHC: equal where the layers lie alike."""
    if ihc is None:
        return None
    return (
        ref(ihc.slide.reader),
        ihc.slide.mpp,
        ihc.refine,
        tuple(ihc.alignment.affine.ravel().tolist()),
    )
