"""An experiment is bound to the program that trains its networks, and to no other part of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training.experiment import provenance


def imports_of(path: Path) -> Iterator[str]:
    """What a file imports, within its functions, too; also names in a module, which are none."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{item.name}" for item in node.names)
            yield str(node.module)


def source_of(name: str) -> Path | None:
    """The file of a module of this project; None for a name that is none."""
    try:
        spec = find_spec(name) if name.startswith("napari_hmkd.") else None
    except ModuleNotFoundError:  # a class, say, where its module is no package
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def reached_from(root: str) -> set[str]:
    """Modules of this project that come with one of them, and the packages that they are in."""
    found: set[str] = set()
    ahead = [root]
    while ahead:
        name = ahead.pop()
        if name not in found and (path := source_of(name)) is not None:
            found.add(name)
            ahead += [name.rpartition(".")[0], *imports_of(path)]
    return found


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in the place of this project's training."""
    for name in ("__init__.py", "engine.py", "mkd/engine.py", "scores/page.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one = 1\n", encoding="utf-8")
    package = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(provenance, "training", package)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "another"),
    [("engine.py", True), ("mkd/engine.py", False), ("scores/page.py", False)],
)
def test_what_trains_no_grader_may_change_within_an_experiment(
    training: Path, name: str, another: bool
) -> None:
    before = provenance.program_digest()
    (training / name).write_text("one = 2\n", encoding="utf-8")
    assert (provenance.program_digest() != before) == another


def test_the_experiment_imports_nothing_of_mkd() -> None:
    found = reached_from("napari_hmkd.training.experiment.runner")
    assert {"napari_hmkd.training.workflow", "napari_hmkd.model.teacher"} <= found
    assert [name for name in found if "mkd" in name.split(".")] == []
