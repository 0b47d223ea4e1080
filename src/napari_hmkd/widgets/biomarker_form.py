"""The fields of the panel of biomarkers: of which slide, by which model, where."""

from __future__ import annotations

from pathlib import Path

import napari.viewer
from magicgui.widgets import ComboBox, FileEdit, Label

from napari_hmkd.device import available_devices
from napari_hmkd.errors import ModelError
from napari_hmkd.model.registry import find_biomarkers
from napari_hmkd.widgets.pixel_size import PixelSizeField
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.tissue_run import TissueRun

_DEMO = "demo"
_NO_DEMO = "No biomarker model comes with this version: choose the file of one."
_ENCODERS = "*.safetensors *.bin *.pt *.pth"


class BiomarkerForm:
    """Fields to be laid out in a panel.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    tissue : TissueRun
        As of `PixelSizeField`.

    Attributes
    ----------
    slide : SlideChoice
    mpp : PixelSizeField
    model, encoder : FileEdit
        Empty for the demo's.
    device : ComboBox
    fields : list of magicgui widgets
        All of them.
    missing : Label
        That a model is to be chosen, to be laid out by itself; hidden where there is one.
    """

    def __init__(self, viewer: napari.viewer.Viewer, tissue: TissueRun) -> None:
        self.slide = SlideChoice(viewer, label="H&E slide")
        self.mpp = PixelSizeField(viewer, self.slide, tissue)
        self.model = FileEdit(label="Model file", mode="r", filter="*.safetensors", nullable=True)
        self.encoder = FileEdit(label="Encoder file", mode="r", filter=_ENCODERS, nullable=True)
        self.device = ComboBox(label="Device", choices=["auto", *available_devices()])
        self.fields = [self.slide, self.mpp, self.model, self.encoder, self.device]
        self.missing = Label(value=_NO_DEMO)
        own = "demo biomarkers" if _demo_is_here() else "choose a file"
        for field, name in ((self.model, own), (self.encoder, "demo student")):
            field.line_edit.native.setPlaceholderText(name)
        self.encoder.tooltip = "What the model's bags were made by: a student's file, or weights of the network of timm that it names."
        self.model.changed.connect(self._on_model_chosen)
        self._on_model_chosen()

    @property
    def model_name(self) -> str:
        """Name or file, as `open_biomarkers` takes it.

        Raises
        ------
        ModelError
            If no file is chosen, and there is no demo.
        """
        file: Path | None = self.model.value
        if file is None and not _demo_is_here():
            raise ModelError(_NO_DEMO)
        return _DEMO if file is None else str(file)

    def _on_model_chosen(self, _value: object = None) -> None:
        self.missing.visible = self.model.value is None and not _demo_is_here()


def _demo_is_here() -> bool:
    try:
        find_biomarkers(_DEMO)
    except ModelError:
        return False
    return True
