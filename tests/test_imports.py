"""Imports go one way, and the core needs neither napari nor Qt (DESIGN.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "napari_hmkd"
TRAINING = ROOT / "training"

# A part may import those on earlier lines, and itself.
ORDER = (
    "errors leftovers",
    "durable user_folders",
    "geometry device memory cores palette wording cells drawn_text output_folder bootstrap grade_tables result_files version_option",
    "patients",
    "slide",
    "sample tiling overlap alignment",
    "queueing regions bags genes",
    "model",
    "planning tile_grader",
    "inference",
    "result_store",
    "heatmap",
    "map_modes",
    "grading",
    "inspection",
    "biomarkers",
    "export layers",
    "attention_layers consistency",
    "results study verification cohort attention_report",
    "workers",
    "reader cli training",
    "widgets",
)
RANK = {part: rank for rank, line in enumerate(ORDER) for part in line.split()}
MODEL = next(rank for rank, line in enumerate(ORDER) if line == "model")
NEVER = {
    # One of its commands turns slides into bags: `biomarkers` has the encoders.
    "training": {part for part, rank in RANK.items() if rank > MODEL} - {"training", "biomarkers"},
    "widgets": {"training", "cli"},
}
NEEDS_TRITON = SOURCE / "model" / "triton_kernels.py"
GUI = {"napari", "qtpy", "magicgui", "superqt", "PyQt5", "PyQt6", "PySide2", "PySide6", "vispy"}
TRAINING_ONLY = {"lightning", "sklearn", "tensorboard", "torchmetrics"}
SLOW = {"timm"}  # to load; its own networks alone need it


def modules() -> list[Path]:
    return sorted([*SOURCE.rglob("*.py"), *TRAINING.rglob("*.py")])


def part_of(path: Path) -> str:
    if TRAINING in path.parents:
        return "training"
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, also in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            # `from napari_hmkd import slide` imports the part by its alias.
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_before_it(path: Path) -> None:
    part = part_of(path)
    for name in imports(path):
        top, *rest = name.split(".")
        if part != "widgets":
            assert top not in GUI, f"imports {name}: only widgets/ may"
        if part != "training":
            assert top not in TRAINING_ONLY, f"imports {name}: only training/ may"
        if top != "napari_hmkd" or part == "__init__":
            continue
        other = rest[0]
        assert other in RANK, f"imports {name}, whose place in the order is not decided"
        allowed = other == part or RANK[other] < RANK[part]
        assert allowed, f"{part} imports {name}"
        assert other not in NEVER.get(part, ()), f"{part} imports {name}"


def test_every_part_has_its_place() -> None:
    assert {part_of(path) for path in modules()} - {"__init__"} <= set(RANK)


def test_the_core_opens_a_model_without_a_window_the_training_engine_and_timm() -> None:
    names = [
        ".".join(("napari_hmkd", *path.relative_to(SOURCE).with_suffix("").parts))
        for path in modules()
        if part_of(path) not in {"widgets", "training"} and path != NEEDS_TRITON
    ]
    unwanted = sorted(GUI | TRAINING_ONLY | SLOW)
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name.removesuffix('.__init__'))\n"
        "importlib.import_module('napari_hmkd.grading').open_model('demo')\n"
        f"print(*[name for name in {unwanted!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
