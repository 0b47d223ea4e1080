"""Where the token under the cursor attends, live."""

from __future__ import annotations

from collections.abc import Hashable

import napari.viewer
from psygnal import Signal

from napari_hmkd.attention_layers import query_layers, token_at
from napari_hmkd.errors import HmkdError
from napari_hmkd.inspection.tile import Tile, token_side_px
from napari_hmkd.widgets.attention_form import AttentionForm
from napari_hmkd.widgets.attention_run import LatestRun, Step, inspect_tiles
from napari_hmkd.widgets.attention_scene import AttentionScene
from napari_hmkd.widgets.attention_words import query_words, tile_words
from napari_hmkd.widgets.viewing import to_level0


class TokenQuery:
    """Shows where a token attends; a tile that is not known is inspected first, the latest one.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    form : AttentionForm
    scene : AttentionScene

    Attributes
    ----------
    run : LatestRun
        What inspects tiles that are not known.

    Signals
    -------
    said(message)
    """

    said = Signal(str)

    def __init__(
        self, viewer: napari.viewer.Viewer, form: AttentionForm, scene: AttentionScene
    ) -> None:
        self.run = LatestRun()
        self._tile: Tile | None = None
        self._viewer, self._form, self._scene = viewer, form, scene
        self._place_px = 0.0, 0.0
        self._asked: tuple[Hashable, Tile] | None = None
        self._shown: tuple[object, ...] | None = None
        self.run.stepped.connect(self._on_step)
        self.run.failed.connect(self.said.emit)
        form.map_chosen.connect(self._show)
        scene.forgotten.connect(self._on_forgotten)

    def follow(self, on: bool) -> None:
        """Ask about what is under the cursor, from now on or no more."""
        callbacks = self._viewer.mouse_move_callbacks
        if on:
            callbacks.append(self._on_mouse_move)
        elif self._on_mouse_move in callbacks:
            callbacks.remove(self._on_mouse_move)

    def look_at(self, y_px: float, x_px: float) -> None:
        """Show where the token at a position in level-0 px of the H&E attends, in each network."""
        try:
            subject = self._scene.turn_to_asked()
        except HmkdError as error:
            self.said.emit(str(error))
            return
        tile = subject.grid.tile_at(y_px, x_px)
        if tile is None:
            return
        self._tile = tile
        self._scene.turn_to(tile)
        self._place_px = y_px, x_px
        asked = subject.key, tile
        if not self._show() and asked != self._asked:
            self._asked = asked
            self.said.emit(f"Looking into the tile of {tile_words(tile)} ...")
            self.run.start("looking into a tile", inspect_tiles, subject, [tile], self._scene.cache)

    def _show(self) -> bool:
        """Draw the token that was pointed at last, if its tile is known; whether it is, or has failed."""
        findings, tile, level = self._scene.findings, self._tile, self._form.level.value
        if findings is None or tile is None:
            return False
        if tile in findings.failed:
            self.said.emit(f"The tile of {tile_words(tile)} has no map: {findings.failed[tile]}")
            return True
        inspection = findings.inspection(tile)
        if inspection is None:
            return False
        side = findings.grid.tile_px // token_side_px(level)
        token = token_at(findings.grid, tile, side, *self._place_px)
        if (wanted := (tile, level, token)) != self._shown:
            self._shown = wanted
            layers = query_layers(inspection, findings.grid, tile, level, token, findings.about)
            self._scene.draw_query(tile, layers)
            self.said.emit(query_words(tile, token, level, inspection.has_teacher))
        return True

    def _on_mouse_move(self, _viewer: object, event: object) -> None:
        layer = self._form.slide.value
        if layer is not None:
            self.look_at(*to_level0(layer, event.position))  # type: ignore[attr-defined]

    def _on_step(self, key: Hashable, step: Step) -> None:
        if self._scene.take(key, step):
            self._show()

    def _on_forgotten(self) -> None:
        self.run.stop()
        self._tile = self._asked = self._shown = None
