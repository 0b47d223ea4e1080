"""`--version`: what a report of a fault begins with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import pytest

from napari_hmkd.cli.grade import main as grade
from napari_hmkd.training.cli import main as train


@pytest.mark.parametrize("program", [grade, train], ids=["grade", "train"])
def test_the_version_is_said_and_nothing_else_is_asked_for(
    program: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        program(["--version"])
    assert stop.value.code in (0, None)
    assert capsys.readouterr().out == f"napari-hmkd {version('napari-hmkd')}\n"
