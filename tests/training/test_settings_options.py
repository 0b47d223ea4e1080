"""Each field of the settings is one option of the command line, with the same default."""

from __future__ import annotations

from dataclasses import fields

import pytest
from typer.main import get_command

from napari_hmkd.errors import DataError
from napari_hmkd.training.cli import app
from napari_hmkd.training.config import ComputeSettings, EngineSettings, TrainSettings


def options(command: str) -> dict[str, object]:
    parameters = get_command(app).commands[command].params
    return {parameter.opts[0]: parameter.default for parameter in parameters}


def test_the_student_s_options_are_the_settings_with_their_defaults() -> None:
    found = options("student")
    for group in fields(TrainSettings):
        settings = getattr(TrainSettings(), group.name)
        for item in fields(settings):
            flag = "--" + (item.metadata["name"] or item.name).replace("_", "-")
            assert found.pop(flag) == getattr(settings, item.name), flag
    assert found.keys() == {"data", "--teacher", "--out"}


def test_the_teacher_has_no_distillation_and_evaluate_no_training() -> None:
    assert "--logits-kl" not in options("teacher")
    assert {"--epochs", "--optimiser", "--width"}.isdisjoint(options("evaluate"))


@pytest.mark.parametrize(
    "make", [lambda: EngineSettings(epochs=0), lambda: ComputeSettings(batch_size=0)]
)
def test_settings_out_of_range_are_refused(make) -> None:
    with pytest.raises(DataError, match="at least 1, got 0"):
        make()
