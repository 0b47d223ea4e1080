"""The dock widget that shows where student and teacher look, and what the difference costs."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import napari.viewer
import numpy as np
from magicgui.widgets import CheckBox, Container, Label, PushButton

from napari_hmkd.errors import HmkdError, UnsuitableSlideError
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.slide import TileRow
from napari_hmkd.inspection.tile import Tile
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import tiles_inside
from napari_hmkd.tiling import TileGrid
from napari_hmkd.widgets.attention_check import TileCheck
from napari_hmkd.widgets.attention_findings import most_tiles
from napari_hmkd.widgets.attention_form import AttentionForm
from napari_hmkd.widgets.attention_query import TokenQuery
from napari_hmkd.widgets.attention_run import (
    Doubts,
    LatestRun,
    PlannedTiles,
    Step,
    Work,
    doubting,
    inspect_tiles,
    inspect_whole_slide,
)
from napari_hmkd.widgets.attention_scene import AttentionScene
from napari_hmkd.widgets.attention_subject import Subject
from napari_hmkd.widgets.attention_words import (
    extent_words,
    nothing_words,
    progress_words,
    tile_words,
)
from napari_hmkd.widgets.blinding import HIDDEN, blinding
from napari_hmkd.widgets.closing import WhenClosed
from napari_hmkd.widgets.field_names import name_fields
from napari_hmkd.widgets.keyboard_focus import KeyboardKept
from napari_hmkd.widgets.logits_table import LogitsTable
from napari_hmkd.widgets.notice import tell, wrap
from napari_hmkd.widgets.preferences import Preferences
from napari_hmkd.widgets.question import DoubtQuestion
from napari_hmkd.widgets.scrolling import scroll
from napari_hmkd.widgets.side_by_side_choice import SideBySideChoice
from napari_hmkd.widgets.tile_table import TileTable
from napari_hmkd.widgets.tissue_run import TissueRun
from napari_hmkd.widgets.viewing import unwrapped, visible_region

_HINT = "Inspect what is in view, or switch on 'Follow the cursor' and point at a token."


class AttentionWidget(Container):
    """The distillation from inside: maps over the H&E, where a token attends, and the worst tiles.

    The student's maps need the H&E alone; all else needs the registered IHC slide too.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._viewer = napari_viewer = unwrapped(napari_viewer)
        self.form = AttentionForm(napari_viewer)
        self.inspect = PushButton(text="Inspect what is in view")
        self.whole_slide = PushButton(text="Agreement of the whole slide")
        self.stop = PushButton(text="Stop", enabled=False)
        self.follow = CheckBox(text="Follow the cursor")
        self.beside = SideBySideChoice(napari_viewer, self.form.ihc)
        self.check = PushButton(text="How far is it importance?")
        self.status, self.warnings, self.verdict = (
            Label(value=said, visible=bool(said)) for said in (_HINT, "", "")
        )
        self.question = DoubtQuestion("Inspect")
        self.table, self.logits = TileTable(), LogitsTable()
        self.scene = AttentionScene(napari_viewer, self.form, self.table, self.logits)
        self.tissue = TissueRun(napari_viewer)
        self.run = LatestRun()
        self.query = TokenQuery(napari_viewer, self.form, self.scene)
        self.checking = TileCheck(self.scene)
        self._done, self._planned, self._extent = 0, 0, ""
        self._refused = ""  # what was said last of why there is no result
        self._failed: dict[Tile, str] = {}
        region = self.form.region
        texts = [self.form.missing, self.status, self.warnings, self.verdict]
        super().__init__(
            widgets=[
                *self.form.fields,
                Container(widgets=[self.form.meaning], labels=False),
                Container(widgets=[region.mark, region.only], layout="horizontal", labels=False),
                Container(widgets=[self.inspect, self.stop], layout="horizontal", labels=False),
                self.whole_slide, self.follow, self.beside, self.check,
                Container(widgets=texts, labels=False), self.question,
            ]
        )  # fmt: skip
        self.native.layout().addWidget(self.table, 1)
        self.native.layout().addWidget(self.logits)
        for label in (self.form.meaning, *texts):
            wrap(label)
        scroll(self.native)
        name_fields(self)
        self._keyboard = KeyboardKept(self.native, self.stop.native)
        self.check.tooltip = (
            "Hides each token of the tile and takes a gradient: what the student's answer hangs on."
        )
        self._connect()
        self._set_enabled()
        self._preferences = Preferences(
            "attention",
            student=self.form.student.line_edit,
            teacher=self.form.teacher.line_edit,
            device=self.form.device,
        )

    def _connect(self) -> None:
        self.inspect.clicked.connect(self.inspect_view)
        self.whole_slide.clicked.connect(self.inspect_whole_slide)
        self.stop.clicked.connect(self.end)
        self.follow.changed.connect(self.query.follow)
        self.question.insisted.connect(self.inspect_whole_slide)
        self.check.clicked.connect(self.check_tile)
        self.table.chosen.connect(self._on_row_chosen)
        self.form.asked_other.connect(self._on_asked_other)
        self.form.region.said.connect(self._say)
        self.scene.forgotten.connect(self._on_forgotten)
        self.run.stepped.connect(self._on_step)
        self.run.ended.connect(self._on_ended)
        self.checking.run.ended.connect(self._set_enabled)
        self.checking.judged.connect(self._on_judged)
        for said in (self.query.said, self.checking.said):
            said.connect(self._say)
        self.run.failed.connect(self._refuse)
        blinding.changed.connect(self._on_blinding)
        WhenClosed(self.native, self._on_closed)
        self.native.destroyed.connect(self._on_destroyed)

    def inspect_view(self) -> None:
        """Inspect the tiles in view, the nearest to its middle first, as the button does."""
        subject = self._asked()
        findings = self.scene.findings
        if subject is None or findings is None or self.run.running:
            return
        in_view = self._tiles_in_view(subject.grid)
        if not len(in_view):
            self._say(nothing_words(self.form.region.only.value, bool(self.form.region.marked())))
            return
        chosen = in_view[: most_tiles(subject, self.scene.cache)]
        findings.cover(chosen)
        self.scene.show(agreement=False)
        self._begin(len(chosen), extent_words(len(chosen), len(in_view)))
        self._tell()
        tiles = [(row, column) for row, column in chosen.tolist()]
        self._start("inspecting tiles", inspect_tiles, subject, tiles, self.scene.cache)

    def inspect_whole_slide(self) -> None:
        """Find the agreement of all tiles with tissue, as the button does; their maps are not kept."""
        subject = self._asked()
        findings = self.scene.findings
        if subject is None or findings is None or self.run.running:
            return
        self.question.hide()
        self.scene.show(agreement=True)
        self._begin(0)
        self._say("Opening the models, finding the tissue ...")
        settings = GradeSettings(
            only_regions=self.form.region.only.value, force=self.question.insists_on(subject.he)
        )
        self._start(
            "inspecting the slide", inspect_whole_slide, subject, set(findings.rows),
            self.tissue.mask_of(subject.he), self.form.region.marked(), settings,
        )  # fmt: skip

    def check_tile(self) -> None:
        """Compare attention with importance in the tile that was pointed at or chosen last."""
        subject = self._asked()
        if subject is None or self.checking.run.running:
            return
        if self.scene.tile is None:
            self._say("First point at a tile with 'Follow the cursor', or choose one in the table.")
            return
        self.checking.start(subject, self.scene.tile, self.form.level.value)
        self._set_enabled()

    def end(self) -> None:
        """End what is under way after the step that it is at, as the button Stop does."""
        for run in self._runs:
            run.stop()

    @property
    def _runs(self) -> tuple[LatestRun, ...]:
        return self.run, self.checking.run, self.query.run

    def _asked(self) -> Subject | None:
        try:
            return self.scene.turn_to_asked()
        except HmkdError as error:
            self._refuse(str(error))
            return None

    def _tiles_in_view(self, grid: TileGrid) -> np.ndarray:
        """Those to be inspected, the nearest to the middle of the view first: (n, 2)."""
        focus, view = visible_region(self._viewer, self.form.slide.value)
        tiles = grid.tiles()
        wanted = grid.meets(tiles, view)
        if self.form.region.only.value:
            wanted &= tiles_inside(self.form.region.marked(), grid).ravel()
        return grid.nearest_first(tiles[wanted], focus)

    def _start(self, what: str, work: Work, subject: Subject, *arguments: object) -> None:
        judged = self.scene.findings is None or self.scene.findings.judged
        self.run.start(what, work if judged else partial(doubting, work), subject, *arguments)
        self._set_enabled()

    def _begin(self, planned: int, extent: str = "") -> None:
        self._done, self._planned, self._extent = 0, planned, extent
        self._failed = {}

    def _on_step(
        self, key: Hashable, step: PlannedTiles | Doubts | UnsuitableSlideError | Step
    ) -> None:
        findings = self.scene.findings
        if findings is None or key != findings.key:
            return
        if isinstance(step, UnsuitableSlideError):
            self._on_doubted(str(step))
        elif isinstance(step, Doubts):
            findings.judged |= step.of_stains
            findings.warnings += [one for one in step.words if one not in findings.warnings]
            tell(self.warnings, "\n".join(findings.warnings))
        elif isinstance(step, PlannedTiles):
            self._on_planned(step)
        elif self.scene.take(key, step):
            self._on_tile(step)

    def _on_tile(self, step: Step) -> None:
        if isinstance(step, FailedTile):
            self._failed[step.row, step.column] = step.message
        else:
            self._done += 1
        if not self.scene.hidden:
            self._tell()

    def _on_planned(self, planned: PlannedTiles) -> None:
        self._planned = planned.count
        self._tell()
        layer, slide = self.scene.slide_layer, self.form.slide.chosen
        if layer is None or slide is None or planned.tissue is None:
            return
        if self.tissue.layer_of(slide) is None:
            self.tissue.show(layer, planned.tissue)

    def _on_doubted(self, reason: str) -> None:
        self._say(reason)
        if (slide := self.form.slide.chosen) is not None:
            self.question.doubt(slide)

    def _tell(self) -> None:
        self._say(progress_words(self._done, self._planned, self._failed) + self._extent)

    def _on_ended(self, well: bool) -> None:
        self.scene.paint()
        if well and self.run.stopping:
            self._say(f"Stopped. {self.status.value}" if self._planned else "Stopped.")
        self._set_enabled()

    def _on_row_chosen(self, row: TileRow) -> None:
        self.scene.go_to((row.row, row.column))
        self._say(f"This is the tile of {tile_words((row.row, row.column))}.")

    def _on_asked_other(self) -> None:
        self.end()
        if self.status.value == self._refused and self.form.slide.chosen is not None:
            self._say(_HINT)
        self.question.hide()
        self._set_enabled()

    def _on_forgotten(self) -> None:
        self.run.stop()
        for label in (self.verdict, self.warnings):
            tell(label, "")
        self._begin(0)
        self._say(_HINT)

    def _on_blinding(self) -> None:
        """The table's grades are results, too; all of it comes back, as results of other panels do."""
        if not self.scene.obey_blinding():
            return
        hidden = self.scene.hidden
        if hidden:
            self.end()
        self.verdict.visible = bool(self.verdict.value) and not hidden
        self._say(f"Maps and numbers are {HIDDEN}." if hidden else _HINT)

    def _set_enabled(self, _value: object = None) -> None:
        """What is asked for must not change while it is inspected."""
        busy = self.run.running or self.checking.run.running
        with self._keyboard.kept():
            for field in self.form.asked:
                field.enabled = not busy
            self.inspect.enabled = not self.run.running
            self.whole_slide.enabled = self.form.with_ihc and not self.run.running
            self.check.enabled = not self.checking.run.running
            self.stop.enabled = busy

    def _say(self, message: str) -> None:
        self.status.value = message

    def _refuse(self, message: str) -> None:
        self._refused = message
        self._say(message)

    def _on_judged(self, verdict: str) -> None:
        tell(self.verdict, verdict)
        self.verdict.visible = bool(verdict) and not self.scene.hidden

    def _on_closed(self) -> None:
        """Nobody sees the panel any more: it looks at no further tile."""
        self.follow.value = False
        self.beside.leave()
        self.end()
        self._preferences.write()

    def _on_destroyed(self, _widget: object = None) -> None:
        self.query.follow(False)
        self._preferences.write()
        blinding.changed.disconnect(self._on_blinding)
        for run in (*self._runs, self.tissue):
            run.close()
