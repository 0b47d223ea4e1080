"""Which modules of this project come with one of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


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
