"""The fields of the panel of biomarkers: of which slide, by which model, where."""

from __future__ import annotations

from pathlib import Path

import napari.viewer
from magicgui.widgets import FileEdit, Label, LineEdit

from napari_hmkd.errors import ModelError
from napari_hmkd.model.registry import find_biomarkers
from napari_hmkd.widgets.device_choice import device_choice
from napari_hmkd.widgets.pixel_size import PixelSizeField
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.tissue_run import TissueRun

_DEMO = "demo"
_NO_DEMO = "No biomarker model comes with this version: choose the file of one."
_ENCODERS = "*.safetensors *.bin *.pt *.pth"
_TABLES = "*.csv *.tsv *.txt *.parquet *.gz"


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
    genes : FileEdit
        Empty for none.
    case : LineEdit
        Whose genes; empty where the slide's name tells. Hidden without a table.
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
        self.genes = FileEdit(label="Genes", mode="r", filter=_TABLES, nullable=True)
        self.case = LineEdit(label="Case in genes", visible=False)
        self.device = device_choice()
        self.fields = [
            self.slide, self.mpp, self.model, self.encoder, self.genes, self.case, self.device,
        ]  # fmt: skip
        self.missing = Label(value=_NO_DEMO)
        own = "demo biomarkers" if _demo_is_here() else "choose a file"
        for line, name in (
            (self.model.line_edit, own),
            (self.encoder.line_edit, "demo student"),
            (self.genes.line_edit, "none: H&E alone"),
            (self.case, "as the slide is named"),
        ):
            line.native.setPlaceholderText(name)
        self.encoder.tooltip = (
            "What the model's bags were made by: a student's file, or weights of the network of timm that it "
            "names."
        )
        self.genes.tooltip = (
            "Cases x genes, or cBioPortal's table. Where it has the slide's case, the network that sees both "
            "answers, if the model has one."
        )
        self.case.tooltip = (
            "Needed where the slide's name neither is nor begins with that of its row of genes, and is no TCGA "
            "barcode of its patient."
        )
        self.model.changed.connect(self._on_model_chosen)
        self.genes.changed.connect(self._on_genes_chosen)
        self.slide.changed.connect(self._on_slide_chosen)
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

    def _on_slide_chosen(self, _value: object = None) -> None:
        self.case.value = ""  # what was named is another slide's

    def _on_genes_chosen(self, _value: object = None) -> None:
        self.case.visible = self.genes.value is not None

    def _on_model_chosen(self, _value: object = None) -> None:
        self.missing.visible = self.model.value is None and not _demo_is_here()


def _demo_is_here() -> bool:
    try:
        find_biomarkers(_DEMO)
    except ModelError:
        return False
    return True
