"""Whether where the student looks in a tile is what its answer hangs on."""

from __future__ import annotations

from collections.abc import Hashable

from psygnal import Signal

from napari_hmkd.attention_layers import importance_layers
from napari_hmkd.inspection.faithfulness import Faithfulness
from napari_hmkd.inspection.importance import PartialImportance
from napari_hmkd.inspection.tile import Tile
from napari_hmkd.widgets.attention_run import LatestRun, check_tile
from napari_hmkd.widgets.attention_scene import AttentionScene
from napari_hmkd.widgets.attention_subject import Subject
from napari_hmkd.widgets.attention_words import tile_words, verdict


class TileCheck:
    """Measures what the answer to a tile hangs on, and draws and says what came of it.

    Parameters
    ----------
    scene : AttentionScene

    Attributes
    ----------
    run : LatestRun

    Signals
    -------
    said(message)
        How far it is.
    judged(message)
        The rank correlations in words.
    """

    said = Signal(str)
    judged = Signal(str)

    def __init__(self, scene: AttentionScene) -> None:
        self.run = LatestRun()
        self._scene = scene
        self._tile: Tile = (0, 0)
        self.run.stepped.connect(self._on_step)
        self.run.failed.connect(self.said.emit)
        scene.forgotten.connect(self.run.stop)

    def start(self, subject: Subject, tile: Tile, level: int) -> None:
        """Check a tile, in the tokens of a level."""
        self._tile = tile
        self.said.emit(f"Measuring what the answer to {tile_words(tile)} hangs on ...")
        self.run.start("measuring importance", check_tile, subject, tile, level, self._scene.cache)

    def _on_step(self, key: Hashable, step: PartialImportance | Faithfulness) -> None:
        findings = self._scene.findings
        if findings is None or key != findings.key:
            return
        if isinstance(step, PartialImportance):
            self.said.emit(
                f"Tile {tile_words(self._tile)}: {step.method}, {step.share:.0%} done ..."
            )
            return
        self._scene.draw_importance(
            importance_layers(step, findings.grid, self._tile, findings.about)
        )
        self.said.emit(f"Tile {tile_words(self._tile)}: importance is measured.")
        self.judged.emit(verdict(self._tile, step))
