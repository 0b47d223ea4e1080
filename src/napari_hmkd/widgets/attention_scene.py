"""What the attention inspector shows in a window: the layers of one subject at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any
from weakref import ref

import napari.layers
import napari.viewer
import numpy as np
from psygnal import Signal

from napari_hmkd.attention_layers import (
    AGREEMENT,
    IMPORTANCE,
    QUERY,
    TILE,
    TOKEN,
    agreement_layer,
    mosaic_layer,
    tile_layer,
)
from napari_hmkd.inspection.cache import InspectionCache
from napari_hmkd.inspection.slide import TileRow
from napari_hmkd.inspection.tile import Tile
from napari_hmkd.layers import LayerData
from napari_hmkd.widgets.attention_findings import Findings
from napari_hmkd.widgets.attention_form import AttentionForm
from napari_hmkd.widgets.attention_run import Step
from napari_hmkd.widgets.attention_subject import Subject
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.drawn_layers import DrawnLayers
from napari_hmkd.widgets.logits_table import LogitsTable
from napari_hmkd.widgets.notice import show_notice
from napari_hmkd.widgets.pause import Pause
from napari_hmkd.widgets.side_by_side import side_by_side
from napari_hmkd.widgets.tile_table import TileTable
from napari_hmkd.widgets.viewing import go_to

_REPAINT_MS = 100
_MAP = "map"
_TWIN = "token on the IHC"
_QUERY = (*QUERY.values(), TOKEN, _TWIN)
_WITH_BAR = (AGREEMENT, _MAP, *IMPORTANCE.values())
_ROLES = (_TWIN, AGREEMENT, _MAP, *IMPORTANCE.values(), TILE, *QUERY.values(), TOKEN)


class AttentionScene:
    """Holds what was found of the subject that was asked for last, and draws it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    form : AttentionForm
        Where it is asked.
    table : TileTable
        Where the rows of tiles go.
    logits : LogitsTable
        Where the answers to the tile at hand are shown.

    Attributes
    ----------
    cache : InspectionCache
    findings : Findings or None
        None as long as there is nothing.
    tile : (row, column) or None
        The one that was pointed at or gone to last.

    Signals
    -------
    forgotten()
        What was found, and what is under way, is not wanted any more.
    """

    forgotten = Signal()

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        form: AttentionForm,
        table: TileTable,
        logits: LogitsTable,
    ) -> None:
        self.cache = InspectionCache()
        self.findings: Findings | None = None
        self.tile: Tile | None = None
        self._viewer, self._form, self._table, self._logits = viewer, form, table, logits
        self._drawn = DrawnLayers(viewer, _ROLES, _WITH_BAR)
        self._panes = side_by_side(viewer)
        self._slide_layer: ref[napari.layers.Image] | None = None
        self._outlined: tuple[Tile, LayerData] | None = None
        self._agreement_seen = self._numbers_hidden = False
        self._repaint = Pause(_REPAINT_MS, self.paint)
        form.map_chosen.connect(self._on_map_chosen)
        self._panes.changed.connect(self._on_panes_changed)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def hidden(self) -> bool:
        """Whether what was found must not be seen yet."""
        return self.findings is not None and blinding.hides(self.findings.about["result_of"])

    @property
    def slide_layer(self) -> napari.layers.Image | None:
        """The H&E's layer that all lies over, as long as it is in the window."""
        layer = None if self._slide_layer is None else self._slide_layer()
        return layer if layer in self._viewer.layers else None

    def turn_to_asked(self) -> Subject:
        """What is asked for now; what was found of anything else is forgotten.

        Raises
        ------
        HmkdError
            See `AttentionForm.subject`.
        """
        subject = self._form.subject()
        if self.findings is None or self.findings.key != subject.key:
            self.forget()
            self._slide_layer = ref(self._form.slide.value)
            self.findings = Findings(subject, self.cache)
            self.findings.show(self._form.kind.value, self._form.level.value)
            self._table.clear(subject.class_names)
            show_notice(self._viewer, str(subject.about["notice"]))
        return subject

    def forget(self) -> None:
        """Take away all that was found."""
        self._repaint.stop()
        self._drawn.remove(*_ROLES)
        self._table.clear()
        self.findings = self.tile = self._slide_layer = self._outlined = None
        self._numbers_hidden = False
        self._logits.show_tile(None)
        self.forgotten.emit()

    def take(self, key: Hashable, step: Step) -> bool:
        """Enter a tile, unless it is another subject's; whether it was entered."""
        if self.findings is None or key != self.findings.key:
            return False
        row = self.findings.take(step)
        if row is not None and not self.hidden:
            self._table.put(row)
            self._show_logits()
        if not self._repaint.running:
            self._repaint.start()
        return True

    def paint(self) -> None:
        """Draw the map and the agreement as far as they are known."""
        findings, layer = self.findings, self.slide_layer
        if findings is None or layer is None:
            return
        grid, about = findings.grid, findings.about
        if np.isfinite(findings.agreement).any():
            data, look, kind = agreement_layer(findings.agreement, grid, about)
            look["visible"] = self._agreement_seen
            self._drawn.draw(AGREEMENT, (data, look, kind), layer)
        if findings.mosaic is not None:
            self._drawn.draw(_MAP, mosaic_layer(findings.mosaic, *findings.map, grid, about), layer)

    def show(self, agreement: bool) -> None:
        """Have the agreement of the slide seen, or the map: two on each other show neither."""
        self._agreement_seen = agreement
        self.paint()
        for role, seen in ((AGREEMENT, agreement), (_MAP, not agreement)):
            if (layer := self._drawn.get(role)) is not None:
                layer.visible = seen
                if seen:
                    self._viewer.layers.selection.active = layer

    def obey_blinding(self) -> bool:
        """Hide the numbers of the tiles, or show them again; whether that has changed.

        Their layers are hidden by whoever hides those of all panels.
        """
        findings, hidden = self.findings, self.hidden
        if findings is None or hidden == self._numbers_hidden:
            return False
        self._numbers_hidden = hidden
        self._table.clear(findings.class_names)
        for row in () if hidden else findings.rows.values():
            self._table.put(row)
        self._show_logits()
        self._on_panes_changed()  # a layer that comes back comes into the first pane
        return True

    def turn_to(self, tile: Tile) -> None:
        """Have a tile be the one at hand."""
        self.tile = tile
        self._show_logits()

    def draw_query(self, tile: Tile, layers: Sequence[LayerData]) -> None:
        """Draw where a token of a tile attends; the last of the layers, its outline, in either pane."""
        self.draw(layers)
        self._outlined = tile, layers[-1]
        self._draw_twin()

    def draw_importance(self, layers: Sequence[LayerData]) -> None:
        """Draw a tile's importance, and take away where a token attends, which would lie on it."""
        self._drawn.remove(*_QUERY)
        self.draw(layers)

    def draw(self, layers: Sequence[LayerData]) -> None:
        """Draw layers over the slide, each in the place of an earlier one of its name."""
        if (slide_layer := self.slide_layer) is not None:
            for one in layers:
                self._drawn.draw(str(one[1]["name"]), one, slide_layer)

    def go_to(self, tile: Tile) -> None:
        """Bring a tile to the middle of the view, large enough to be looked at, and outline it."""
        findings, layer = self.findings, self.slide_layer
        if findings is None or layer is None:
            return
        self.turn_to(tile)
        go_to(self._viewer, layer, findings.grid.centers(tile)[0], findings.grid.tile_um)
        self.draw([tile_layer(findings.grid, tile, findings.about)])

    def _row(self, tile: Tile | None) -> TileRow | None:
        """What is known of a tile."""
        if self.findings is None or tile is None or self.hidden:
            return None
        return self.findings.rows.get(tile)

    def _show_logits(self) -> None:
        findings = self.findings
        self._logits.show_tile(
            self._row(self.tile), () if findings is None else findings.class_names
        )

    def _draw_twin(self) -> None:
        """Outline the token on the IHC, too, where that has a pane of its own."""
        seen = self._drawn.get(TOKEN) is not None and self._panes.shows(self._form.ihc.value)
        if self._outlined is None or not seen:
            return
        tile, (outline, look, kind) = self._outlined
        moved = np.add(look["translate"], self._ihc_moved_um(tile))
        self.draw([(outline, look | {"name": _TWIN, "translate": tuple(moved)}, kind)])
        if (twin := self._drawn.get(_TWIN)) is not None:
            self._panes.add(twin)

    def _ihc_moved_um(self, tile: Tile) -> tuple[float, float]:
        """How far from a tile its tissue was found on the IHC."""
        row = self._row(tile)
        if row is None or row.moved_y_um is None or row.moved_x_um is None:
            return 0.0, 0.0
        return row.moved_y_um, row.moved_x_um

    def _on_layer_removed(self, event: Any) -> None:
        """Another slide may be chosen by now, so that nothing else tells of it."""
        if self._slide_layer is not None and event.value is self._slide_layer():
            self.forget()

    def _on_panes_changed(self) -> None:
        self._drawn.remove(_TWIN)
        self._draw_twin()

    def _on_map_chosen(self) -> None:
        if self.findings is not None:
            self.findings.show(self._form.kind.value, self._form.level.value)
            self.paint()
