"""The teacher and the student, their files and their attention."""

from __future__ import annotations

from napari_hmkd.model.student import build_student
from napari_hmkd.model.teacher import build_teacher

__all__ = ["build_student", "build_teacher"]
