"""The teacher and the student, their files and their attention."""

from __future__ import annotations

from napari_hmkd.model.attention import agreement, discrepancy, received_attention, unit_squares
from napari_hmkd.model.card import ModelCard
from napari_hmkd.model.checkpoint import load, read_card, save
from napari_hmkd.model.convert import import_published
from napari_hmkd.model.outputs import StudentOutput, TeacherAttention, TeacherOutput
from napari_hmkd.model.registry import find_model
from napari_hmkd.model.stages import stage_channels
from napari_hmkd.model.student import Student, build_student
from napari_hmkd.model.teacher import Teacher, build_teacher
from napari_hmkd.model.timm_student import TimmStudent, build_timm_student

__all__ = [
    "ModelCard",
    "Student",
    "StudentOutput",
    "Teacher",
    "TeacherAttention",
    "TeacherOutput",
    "TimmStudent",
    "agreement",
    "build_student",
    "build_teacher",
    "build_timm_student",
    "discrepancy",
    "find_model",
    "import_published",
    "load",
    "read_card",
    "received_attention",
    "save",
    "stage_channels",
    "unit_squares",
]
