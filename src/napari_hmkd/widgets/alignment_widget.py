"""The dock widget that lays an IHC slide over its H&E slide."""

from __future__ import annotations

from pathlib import Path

import napari.viewer
import numpy as np
from magicgui.widgets import Container, FloatSlider, Label, PushButton
from qtpy.QtWidgets import QFileDialog

from napari_hmkd.alignment import Alignment, residuals_um
from napari_hmkd.errors import HmkdError, SlideError
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.widgets.aligned_layers import AlignedLayers, LayerPair, he_to_ihc
from napari_hmkd.widgets.alignment_run import AlignmentRun
from napari_hmkd.widgets.alignment_words import alignment_words, residual_words
from napari_hmkd.widgets.closing import WhenClosed
from napari_hmkd.widgets.field_names import name_fields
from napari_hmkd.widgets.keyboard_focus import KeyboardKept
from napari_hmkd.widgets.landmark_layers import LandmarkLayers
from napari_hmkd.widgets.notice import wrap
from napari_hmkd.widgets.scrolling import scroll
from napari_hmkd.widgets.side_by_side_choice import SideBySideChoice
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.viewing import unwrapped

_HINT = "Choose both slides of a section. Only the IHC's layer is moved."
_FILES = "Alignments (*.json)"


class AlignmentWidget(Container):
    """Aligns the IHC automatically, by landmarks or from a file, and shows it through the H&E.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._viewer = napari_viewer = unwrapped(napari_viewer)
        self.he = SlideChoice(napari_viewer, label="H&E slide")
        self.ihc = SlideChoice(napari_viewer, label="IHC slide", nullable=True)
        self.automatic = PushButton(text="Align automatically")
        self.stop = PushButton(text="Stop", enabled=False)
        self.mark = PushButton(text="Mark landmarks")
        self.by_landmarks = PushButton(text="Align by landmarks")
        self.save = PushButton(text="Save alignment ...")
        self.load = PushButton(text="Load alignment ...")
        self.undo = PushButton(text="Undo")
        self.opacity = FloatSlider(label="IHC opacity", value=1, min=0, max=1)
        self.beside = SideBySideChoice(napari_viewer, self.ihc)
        self.status, self.residuals = Label(value=_HINT), Label(value="")
        self.run = AlignmentRun()
        self.landmarks = LandmarkLayers(napari_viewer)
        self.aligned = AlignedLayers(napari_viewer)
        self._marked: tuple[np.ndarray, ...] = ()  # the landmarks that were asked to be fitted
        rows = [
            [self.automatic, self.stop],
            [self.mark, self.by_landmarks],
            [self.save, self.load, self.undo],
        ]
        super().__init__(
            widgets=[
                self.he,
                self.ihc,
                *(Container(widgets=row, layout="horizontal", labels=False) for row in rows),
                self.opacity,
                self.beside,
                Container(widgets=[self.status, self.residuals], labels=False),
            ]
        )
        for label in (self.status, self.residuals):
            wrap(label)
        scroll(self.native)
        name_fields(self)
        self._keyboard = KeyboardKept(self.native, self.stop.native)
        self._connect()

    def _connect(self) -> None:
        self.automatic.clicked.connect(self.align_automatically)
        self.stop.clicked.connect(self.end)
        self.mark.clicked.connect(self.mark_landmarks)
        self.by_landmarks.clicked.connect(self.align_by_landmarks)
        self.save.clicked.connect(self.choose_file_and_save)
        self.load.clicked.connect(self.choose_file_and_load)
        self.undo.clicked.connect(self.take_back)
        self.opacity.changed.connect(self.fade)
        self.beside.panes.changed.connect(self._take_landmarks_along)
        self.run.found.connect(self._on_found)
        self.run.saved.connect(lambda file: self._say(f"Saved to {file}"))
        self.run.failed.connect(self._on_failed)
        self.run.ended.connect(self._on_ended)
        WhenClosed(self.native, self._on_closed)
        self.native.destroyed.connect(self._on_destroyed)

    def align_automatically(self) -> None:
        """Search how the IHC lies, as the button does."""
        if (pair := self._asked()) is not None:
            self._say("Comparing the texture of the tissue ...")
            self.run.find(pair)
            self._set_enabled()

    def mark_landmarks(self) -> None:
        """Turn to the slide with fewer landmarks, as the button does."""
        if (pair := self._asked()) is None:
            return
        chosen = self.landmarks.mark(pair, hide_other=not self.beside.value)
        self._take_landmarks_along()
        he, ihc = (len(self.landmarks.positions_um(layer)) for layer in pair)
        other = "" if self.beside.value else "; the other slide is hidden meanwhile"
        self._say(
            f"Click places on {chosen.name}{other}. By now {he} are "
            f"marked on the H&E and {ihc} on the IHC: the same places, in the same order. "
            "Press again to turn to the slide with fewer."
        )

    def align_by_landmarks(self) -> None:
        """Lay the IHC so that its landmarks come near those of the H&E, as the button does."""
        if (pair := self._asked()) is not None:
            self._marked = tuple(map(self.landmarks.positions_um, pair))
            self.run.fit(pair, *self._marked)
            self._set_enabled()

    def choose_file_and_save(self) -> None:
        """Ask for a file and write the alignment there, as the button does."""
        if (pair := self._asked()) is None:
            return
        name = f"{pair.ihc.name}.alignment.json"
        chosen, _ = QFileDialog.getSaveFileName(
            self.native, "File for the alignment", str(_folder_of(pair) / name), _FILES
        )
        if chosen:
            self.save_alignment(Path(chosen))

    def save_alignment(self, file: Path) -> None:
        """Write how the slides lie now; what an alignment knows of itself, if it is still that one."""
        if (pair := self._asked()) is not None:
            self.run.save(pair, file, self.aligned.alignment_of(pair) or he_to_ihc(pair))
            self._set_enabled()

    def choose_file_and_load(self) -> None:
        """Ask for a file and align as it says, as the button does."""
        if (pair := self._asked()) is None:
            return
        chosen, _ = QFileDialog.getOpenFileName(
            self.native, "File of an alignment", str(_folder_of(pair)), _FILES
        )
        if chosen:
            self.load_alignment(Path(chosen))

    def load_alignment(self, file: Path) -> None:
        """Align as a file says that was saved for these slides."""
        if (pair := self._asked()) is not None:
            self.run.load(pair, file)
            self._set_enabled()

    def take_back(self) -> None:
        """Put the IHC that was aligned last back to where it lay, as the button does."""
        layer = self.aligned.undo()
        self.residuals.value = ""
        self._say("Nothing to undo." if layer is None else f"{layer.name} lies as before.")

    def fade(self, opacity: float) -> None:
        """Show the H&E through the IHC, 0 (H&E alone) to 1, as the slider does."""
        he, ihc = self.he.value, self.ihc.value
        if he is not None and ihc is not None and he is not ihc:
            self._show(LayerPair(he, ihc), opacity)

    def end(self) -> None:
        """Wait no longer for what is under way, as the button Stop does."""
        if self.run.running:
            self.run.ignore()
            self._say("Stopped: nothing was moved.")

    def _asked(self) -> LayerPair | None:
        """Both slides, None where something is under way or there is something to say first."""
        if self.run.running:
            return None
        try:
            return self._pair()
        except HmkdError as error:
            self._say(str(error))
            return None

    def _pair(self) -> LayerPair:
        he, ihc = self.he.chosen, self.ihc.chosen
        if he is None or ihc is None:
            raise SlideError(
                "Open the H&E and the IHC of a section, and choose both: drop their files on the window."
            )
        if he.reader is ihc.reader:
            raise SlideError(
                f"{he.name} is chosen as H&E and as IHC: choose the IHC's own layer, or open it first."
            )
        pair = LayerPair(self.he.value, self.ihc.value)
        for slide in pair.slides:
            slide.require_mpp()
        return pair

    def _on_found(self, pair: LayerPair, alignment: Alignment) -> None:
        if any(layer not in self._viewer.layers for layer in pair):
            self._say("A slide's layer was removed: nothing was moved.")
            return
        self.aligned.apply(pair, alignment)
        self._show(pair, self.opacity.value)
        self.landmarks.show(pair)
        self._say(alignment_words(alignment))
        over = alignment.residual_um is not None and self._marked
        self.residuals.value = residual_words(residuals_um(alignment, *over)) if over else ""

    def _on_failed(self, message: str) -> None:
        """How far pairs were off before would look like why it failed."""
        self.residuals.value = ""
        self._say(message)

    def _show(self, pair: LayerPair, opacity: float) -> None:
        self.aligned.lift(pair)
        pair.he.visible = pair.ihc.visible = True
        pair.ihc.opacity = opacity

    def _on_ended(self, _well: bool) -> None:
        self._marked = ()
        self._set_enabled()

    def _set_enabled(self) -> None:
        """What is aligned must not change meanwhile."""
        busy = self.run.running
        with self._keyboard.kept():
            for field in (
                self.he, self.ihc, self.automatic, self.mark, self.by_landmarks, self.save, self.load,
                self.undo,
            ):  # fmt: skip
                field.enabled = not busy
            self.stop.enabled = busy

    def _say(self, message: str) -> None:
        self.status.value = message

    def _take_landmarks_along(self) -> None:
        """Where the IHC has a pane of its own, its landmarks are there, too."""
        if self.beside.value and (layer := self.landmarks.layer_of(self.ihc.value)) is not None:
            self.beside.panes.add(layer)

    def _on_closed(self) -> None:
        self.beside.leave()
        self.end()

    def _on_destroyed(self, _widget: object = None) -> None:
        self.beside.panes.changed.disconnect(self._take_landmarks_along)
        self.run.close()


def _folder_of(pair: LayerPair) -> Path:
    """Where the IHC lies, or the working folder where that is on a server."""
    path = pair.slides[1].path
    return Path.cwd() if is_remote(path) else path.parent
