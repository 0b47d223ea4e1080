"""Attention maps of one tile, computed in the background of a viewer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import napari.layers
import napari.viewer
from psygnal import Signal

from napari_hmkd.geometry import Size
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.layers import LayerData, attention_layers
from napari_hmkd.model import ModelCard, find_model, read_card
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.slide import Slide
from napari_hmkd.tile_attention import attention_of_tile
from napari_hmkd.tiling import TileGrid
from napari_hmkd.widgets.background import BackgroundRun
from napari_hmkd.widgets.notice import show_notice
from napari_hmkd.widgets.viewing import add_layers, lay_over, same_place, slide_of


@lru_cache(maxsize=4)
def _opened(name: str, role: str, changed_ns: int) -> OpenModel:
    return open_model(name, role)


def _open_model(name: str, role: str = "student") -> OpenModel:
    """A model, kept open until its file changes."""
    return _opened(name, role, find_model(name).stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _card(name: str, changed_ns: int) -> ModelCard:
    return read_card(find_model(name))


def student_grid(slide: Slide, student: str) -> TileGrid:
    """The tiles of a student over a slide, from its card alone: it is asked at every mouse move."""
    return tile_grid(slide, _card(student, find_model(student).stat().st_mtime_ns))


@dataclass(frozen=True)
class AttentionRequest:
    """One tile to look into.

    Attributes
    ----------
    slide : Slide
        The H&E.
    tile : (row, column)
    student, teacher : str
        Names or files of the models.
    ihc : Slide or None
        The registered IHC slide.
    ihc_origin_px : (y, x)
        The tile's top-left corner on the IHC slide, in its level-0 px.
    """

    slide: Slide
    tile: tuple[int, int]
    student: str
    teacher: str
    ihc: Slide | None
    ihc_origin_px: tuple[float, float]


@dataclass(frozen=True)
class AttentionShown:
    """What a request came to: layers to draw, and whether the teacher took part."""

    tile: tuple[int, int]
    layers: list[LayerData]
    notice: str
    with_teacher: bool


class AttentionRun(BackgroundRun):
    """Computes the latest tile asked for and draws its maps; tiles asked for meanwhile are dropped.

    Signals
    -------
    shown(AttentionShown)
    """

    shown = Signal(object)

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._next: AttentionRequest | None = None
        self._slide_layer: napari.layers.Image | None = None
        self._layers: dict[str, napari.layers.Layer] = {}

    def show(
        self,
        layer: napari.layers.Image,
        tile: tuple[int, int],
        student: str,
        teacher: str,
        ihc_layer: napari.layers.Image | None,
    ) -> None:
        """Ask for the maps of a tile; where no IHC layer is given, the student's alone."""
        slide = slide_of(layer)
        ihc = slide_of(ihc_layer) if ihc_layer is not None else None
        if slide is None:
            return
        origin = student_grid(slide, student).origins(tile)[0]
        place = same_place(layer, tuple(origin), ihc_layer) if ihc_layer is not None else (0.0, 0.0)
        self._slide_layer = layer
        self._next = AttentionRequest(slide, tile, student, teacher, ihc, place)
        if not self.running:
            self._start_next()

    def close(self) -> None:
        """End everything: the viewer is going away."""
        self._next = None
        super().close()

    def _start_next(self) -> None:
        request, self._next = self._next, None
        self._begin("computing attention", _compute, request)

    def _on_step(self, result: AttentionShown) -> None:
        wanted = {kwargs["name"] for _, kwargs, _ in result.layers}
        for name in set(self._layers) - wanted:
            self._remove(name)
        for one in result.layers:
            self._draw(one)
        show_notice(self._viewer, result.notice)
        self.shown.emit(result)

    def _draw(self, one: LayerData) -> None:
        """Move a layer that is there already; what the user set about it is kept."""
        data, kwargs, _ = one
        layer = self._layers.get(kwargs["name"])
        if layer is None or layer not in self._viewer.layers:
            (layer,) = add_layers(self._viewer, [one])
            self._layers[kwargs["name"]] = layer
        else:
            layer.data = data
            layer.scale, layer.translate = kwargs["scale"], kwargs["translate"]
            layer.contrast_limits = kwargs["contrast_limits"]
        if self._slide_layer is not None:
            lay_over(layer, self._slide_layer)

    def _remove(self, name: str) -> None:
        layer = self._layers.pop(name)
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_finished(self) -> None:
        super()._on_finished()
        if self._next is not None:
            self._start_next()


def _compute(request: AttentionRequest) -> Iterator[AttentionShown]:
    yield compute_attention(request)


def compute_attention(request: AttentionRequest) -> AttentionShown:
    """Read the tile of each stain and ask the networks where they look."""
    student = _open_model(request.student)
    grid = tile_grid(request.slide, student.card)
    he = request.slide.in_time(partial(read_tile, request.slide, grid, request.tile))
    teacher: OpenModel | None = None
    ihc = None
    if request.ihc is not None:
        teacher = _open_model(request.teacher, "teacher")
        side = Size(grid.tile_px, grid.tile_px)
        read = partial(request.ihc.read, request.ihc_origin_px, side, grid.model_mpp)
        ihc = request.ihc.in_time(read)
    attention = attention_of_tile(student, he, teacher, ihc)
    layers = attention_layers(attention, grid, request.tile, student.card)
    return AttentionShown(request.tile, layers, student.card.notice, teacher is not None)
