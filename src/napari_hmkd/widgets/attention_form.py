"""The fields of the attention inspector: whose attention, in which map."""

from __future__ import annotations

import napari.viewer
from magicgui.widgets import CheckBox, ComboBox, FileEdit, Label
from psygnal import Signal

from napari_hmkd.errors import HmkdError, SlideError
from napari_hmkd.inspection.maps import ALONE, MapKind
from napari_hmkd.inspection.tile import LEVELS, token_side_px
from napari_hmkd.widgets.attention_subject import Subject, card_of, model_file, subject_of
from napari_hmkd.widgets.attention_words import map_words
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.device_choice import device_choice
from napari_hmkd.widgets.region_fields import RegionFields
from napari_hmkd.widgets.slide_choice import NO_SLIDE, SlideChoice

_WEIGHTS = "*.safetensors"
_FINENESS = ("finest", "middle", "coarsest")
_WITHOUT_IHC = (
    "Without the registered IHC slide there is the student's map alone: what the teacher sees, the "
    "difference, what it costs and the agreement need both stains."
)


class AttentionForm:
    """Fields to be laid out in a panel.

    Parameters
    ----------
    viewer : napari.viewer.Viewer

    Attributes
    ----------
    slide, ihc : SlideChoice
    student, teacher : FileEdit
        Empty for the demo's.
    refine : CheckBox
        Whether the IHC is moved at each tile, as `AlignedIhc.refine`.
    device : ComboBox
        Where the networks run.
    region : RegionFields
        Of the H&E; not among `fields`.
    kind, level : ComboBox
        A `MapKind` that can be had, and 0 to 2.
    asked, fields : list of magicgui widgets
        Those that say what is inspected, and all of them.
    meaning : Label
        What the numbers of the map are, which its bar of colours has; to be laid out below them.
    missing : Label
        What there is not without IHC, to be laid out by itself.

    Signals
    -------
    asked_other()
        Other slides or networks are asked for.
    map_chosen()
        Another map of the same.
    """

    asked_other = Signal()
    map_chosen = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self.slide = SlideChoice(viewer, label="H&E slide")
        self.ihc = SlideChoice(viewer, label="IHC slide", nullable=True)
        self.student = FileEdit(label="Student file", mode="r", filter=_WEIGHTS, nullable=True)
        self.teacher = FileEdit(label="Teacher file", mode="r", filter=_WEIGHTS, nullable=True)
        self.refine = CheckBox(
            value=True,
            visible=False,
            text="Move the IHC at each tile",
            tooltip="By up to 50 um, to where its nuclei fit those of the H&E, as the command line does.",
        )
        self.region = RegionFields(viewer, self.slide, "region")
        self.device = device_choice()
        self.kind = ComboBox(label="Map", choices=self._kinds)
        self.level = ComboBox(label="Level", choices=self._levels)
        self.meaning = Label(value=map_words(self.kind.value))
        self.missing = Label(value=_WITHOUT_IHC)
        self.asked = [self.slide, self.ihc, self.refine, self.student, self.teacher, self.device]
        self.fields = [*self.asked, self.kind, self.level]
        for field, name in ((self.student, "demo student"), (self.teacher, "demo teacher")):
            field.line_edit.native.setPlaceholderText(name)
        for one in self.asked:
            one.changed.connect(self._on_asked_other)
        self.kind.changed.connect(self._on_kind_chosen)
        for one in (self.kind, self.level):
            one.changed.connect(lambda _value: self.map_chosen.emit())

    @property
    def with_ihc(self) -> bool:
        """Whether the teacher takes part."""
        return self.ihc.value is not None

    def subject(self) -> Subject:
        """What is asked for, as its layers lie now.

        Raises
        ------
        HmkdError
            If there is no slide, its results are hidden from its reader, or as `subject_of`.
        """
        slide = self.slide.chosen
        if slide is None:
            raise SlideError(NO_SLIDE)
        if blinding.hides(slide.path):
            raise SlideError(
                f"The networks' answers to {slide.name} are hidden until you have scored it: see the "
                "panel Reader study."
            )
        names = str(self.student.value or "demo"), str(self.teacher.value or "demo-teacher")
        return subject_of(
            self.slide.value, self.ihc.value, *names, self.refine.value, self.device.value
        )

    def _on_asked_other(self, _value: object = None) -> None:
        self.kind.reset_choices()
        self.level.reset_choices()
        self.missing.visible = not self.with_ihc
        self.refine.visible = self.with_ihc
        self.asked_other.emit()

    def _on_kind_chosen(self, kind: MapKind) -> None:
        self.meaning.value = map_words(kind)

    def _kinds(self, _widget: object = None) -> tuple[MapKind, ...]:
        return tuple(MapKind) if self.with_ihc else ALONE

    def _levels(self, _widget: object = None) -> list[tuple[str, int]]:
        try:
            card = card_of(model_file(str(self.student.value or "demo")))
        except HmkdError:  # it is told once it is to be opened
            sizes = [""] * len(LEVELS)
        else:
            sizes = [f" ({token_side_px(level) * card.mpp:.0f} um)" for level in LEVELS]
        return [(f"{level}, {_FINENESS[level]}{sizes[level]}", level) for level in LEVELS]
