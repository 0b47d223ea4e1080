"""The dock widget behind "Grade HER2"."""

from __future__ import annotations

from pathlib import Path

import napari.layers
import napari.viewer
from magicgui.widgets import (
    ComboBox,
    Container,
    FileEdit,
    FloatSlider,
    FloatSpinBox,
    Label,
    ProgressBar,
    PushButton,
)
from napari.qt.threading import create_worker
from napari.settings import get_settings
from qtpy.QtWidgets import QFileDialog

from napari_hmkd.device import available_devices
from napari_hmkd.errors import HmkdError, ModelError
from napari_hmkd.export import write_results
from napari_hmkd.grading import SlideGrading
from napari_hmkd.model import ModelCard
from napari_hmkd.planning import GradeSettings
from napari_hmkd.widgets.finished_models import finished_students
from napari_hmkd.widgets.grade_run import GradeRun
from napari_hmkd.widgets.notice import BY_AREA, legend_html
from napari_hmkd.widgets.viewing import (
    slide_layers,
    slide_of,
    state_pixel_size,
    visible_region,
)

_DEMO = "demo student (procedural tissue)"
_FROM_FILE = "from a file ..."
_NO_SLIDE = "Open a slide first: drop its file on the window, or File > Open Sample."


class GradeWidget(Container):
    """Choose a slide, a model and a device; press the button; watch the heatmap fill.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._viewer = napari_viewer
        self.run = GradeRun(napari_viewer)
        self._failure = ""
        self._announced: SlideGrading | None = None
        self.slide = ComboBox(label="H&E slide", choices=self._slide_choices, nullable=False)
        self.mpp = FloatSpinBox(label="Pixel size (um/px)", value=0, min=0, max=20, step=0.0001)
        self.model = ComboBox(label="Model", choices=_model_choices)
        self.model_file = FileEdit(
            label="Student file", mode="r", filter="*.safetensors", nullable=True
        )
        self.device = ComboBox(label="Device", choices=["auto", *available_devices()])
        self.start = PushButton(text="Grade HER2")
        self.stop = PushButton(text="Stop", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0, label=" ")
        self.status = Label(value="")
        self.legend = Label(label="Grade", value="")
        self.opacity = FloatSlider(label="Opacity", value=0.5, min=0, max=1)
        self.save = PushButton(text="Save results ...", enabled=False)
        self.load_async = PushButton(text="Load tiles in the background (recommended)")
        self.notice = Label(value=BY_AREA)
        super().__init__(
            widgets=[
                self.slide, self.mpp, self.model, self.model_file, self.device,
                Container(widgets=[self.start, self.stop], layout="horizontal", labels=False),
                self.progress, self.status, self.legend, self.opacity, self.save, self.load_async,
                self.notice,
            ]
        )  # fmt: skip
        for label in (self.status, self.notice):
            label.native.setWordWrap(True)
        self._connect()
        self._on_slide_chosen()
        self._on_model_chosen()

    def _connect(self) -> None:
        self.slide.changed.connect(self._on_slide_chosen)
        self.model.changed.connect(self._on_model_chosen)
        finished_students.changed.connect(self.model.reset_choices)
        self.start.clicked.connect(self.grade)
        self.stop.clicked.connect(self._on_stop)
        self.opacity.changed.connect(self._set_opacity)
        self.save.clicked.connect(self._on_save)
        self.load_async.visible = not get_settings().experimental.async_
        self.load_async.clicked.connect(self._switch_on_async)
        self.run.progressed.connect(self._on_progress)
        self.run.failed.connect(self._on_failed)
        self.run.ended.connect(self._on_ended)
        self._viewer.layers.events.inserted.connect(self._refresh_slides)
        self._viewer.layers.events.removed.connect(self._refresh_slides)
        self.native.destroyed.connect(self._on_destroyed)

    def grade(self) -> None:
        """Start grading the chosen slide, as the button does; a run under way is left alone."""
        layer = self.slide.value
        if self.run.running:
            return
        if layer is None:
            self._complain(_NO_SLIDE)
            return
        try:
            model = self._model_name()
            view = visible_region(self._viewer, layer)
            slide = slide_of(layer)
            stated = (self.mpp.value, self.mpp.value)
            if self.asks_for_pixel_size and slide is not None and slide.mpp != stated:
                state_pixel_size(self._viewer, layer, self.mpp.value)
        except HmkdError as error:
            self._complain(str(error))
            return
        self._failure = ""
        self._set_running(True)
        self.run.start(layer, model, GradeSettings(device=self.device.value), view)
        self.status.value = "Opening the model, finding the tissue ..."

    @property
    def asks_for_pixel_size(self) -> bool:
        """Whether the chosen slide's file has no pixel size, so that the user states one."""
        slide = slide_of(self.slide.value) if self.slide.value is not None else None
        return slide is not None and slide.mpp_source in (None, "user")

    def _model_name(self) -> str:
        if self.model.value == _DEMO:
            return "demo"
        if self.model.value != _FROM_FILE:
            return str(self.model.value)
        if self.model_file.value is None:
            raise ModelError("grading with a model from a file was asked for: choose the file")
        return str(self.model_file.value)

    def _slide_choices(self, _widget: object) -> list[napari.layers.Image]:
        return slide_layers(self._viewer)

    def _refresh_slides(self, _event: object = None) -> None:
        before = self.slide.value
        self.slide.reset_choices()
        if self.slide.value is not before:
            self._on_slide_chosen()

    def _on_slide_chosen(self, _value: object = None) -> None:
        slide = slide_of(self.slide.value) if self.slide.value is not None else None
        self.mpp.visible = self.asks_for_pixel_size
        # Another slide's pixel size must not be taken for this one's.
        self.mpp.value = slide.mpp[0] if slide is not None and slide.mpp is not None else 0
        if self.run.running:
            return
        if slide is None:
            self.status.value = _NO_SLIDE
        elif slide.mpp is None:
            guess = slide.guess_mpp()
            likely = "" if guess is None else f" Its objective suggests about {guess:.3g}."
            self.status.value = f"{slide.path.name} has no pixel size: state it above.{likely}"
        else:
            self.status.value = f"{slide.mpp[0]:.4g} um/px, from {slide.mpp_source}"

    def _on_model_chosen(self, _value: object = None) -> None:
        self.model_file.visible = self.model.value == _FROM_FILE

    def _on_progress(self, tried: int, planned: int, tiles_per_second: float) -> None:
        self.progress.max, self.progress.value = planned, tried
        self.status.value = f"{tried} of {planned} tiles, {tiles_per_second:.1f} tiles/s"
        # Not "tried == 0": the worker can be past that when the window hears of its first step.
        if self.run.grading is not None and self.run.grading is not self._announced:
            self._announced = self.run.grading
            self._show_card(self._announced.plan.card, self._announced.plan.warnings)
            self._set_opacity(self.opacity.value)

    def _show_card(self, card: ModelCard, warnings: tuple[str, ...]) -> None:
        self.legend.value = legend_html(card.class_names)
        self.notice.value = "\n".join([card.notice, *warnings, BY_AREA])

    def _on_stop(self) -> None:
        self.status.value = "Stopping after this batch ..."
        self.run.stop()

    def _on_ended(self, complete: bool) -> None:
        self._set_running(False)
        grading = self.run.grading
        self.save.enabled = grading is not None and bool(grading.heatmap.graded.any())
        if grading is None:
            self.progress.value = 0
            if not self._failure:
                self.status.value = "Stopped: the layer was removed."
            return
        tried = len(grading.plan.tiles) - len(grading.heatmap.remaining)
        failed = len(grading.heatmap.failed)
        unread = f", {failed} could not be read" if failed else ""
        if complete:
            self.status.value = f"Done: {tried} tiles in {grading.seconds:.0f} s{unread}"
        elif not self._failure:
            self.status.value = f"Stopped at {tried} of {len(grading.plan.tiles)} tiles{unread}"

    def _set_running(self, running: bool) -> None:
        self.start.enabled, self.stop.enabled = not running, running
        for field in (self.slide, self.model, self.model_file, self.device, self.mpp):
            field.enabled = not running
        if running:
            self.save.enabled = False

    def _set_opacity(self, value: float) -> None:
        if self.run.heatmap_layer is not None:
            self.run.heatmap_layer.opacity = value

    def _switch_on_async(self) -> None:
        """napari's own setting, off by default: without it each tile read blocks the window."""
        get_settings().experimental.async_ = True
        self.load_async.visible = False

    def _on_save(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self.native, "Folder for the results")
        if chosen:
            self.save_results(Path(chosen))

    def save_results(self, out: Path) -> None:
        """Write tiles.csv, summary.json and heatmap.png to `out` / the slide's name."""
        grading = self.run.grading
        if grading is None or self.run.running:
            self._complain("There is no finished or stopped grading to save.")
            return
        folder = out / grading.plan.slide.path.name
        worker = create_worker(write_results, grading, folder, _start_thread=False)
        worker.returned.connect(lambda _: setattr(self.status, "value", f"Saved to {folder}"))
        worker.errored.connect(lambda error: self._complain(str(error)))
        # A run would change the results while they are written.
        self.start.enabled = self.save.enabled = False
        worker.finished.connect(lambda: setattr(self.start, "enabled", True))
        worker.finished.connect(lambda: setattr(self.save, "enabled", True))
        worker.start()

    def _on_failed(self, message: str) -> None:
        self._failure = message
        self._complain(message)

    def _complain(self, message: str) -> None:
        self.status.value = message

    def _on_destroyed(self, _widget: object = None) -> None:
        finished_students.changed.disconnect(self.model.reset_choices)
        self._viewer.layers.events.inserted.disconnect(self._refresh_slides)
        self._viewer.layers.events.removed.disconnect(self._refresh_slides)
        self.run.close()


def _model_choices(_widget: object) -> list[tuple[str, str | Path]]:
    """Labels and values: the demo, students trained in this session, a file."""
    return [(_DEMO, _DEMO), *finished_students.choices(), (_FROM_FILE, _FROM_FILE)]
