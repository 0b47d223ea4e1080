"""What a log shows while a command works: neither minutes of silence nor a line for each item."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from napari_hmkd.training import console
from napari_hmkd.training.console import Pulse, tracked


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day in s, to be moved."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_long_piece_of_work_tells_how_far_it_is_once_a_minute(clock, capsys) -> None:
    def items() -> Iterator[int]:
        for number in range(6):
            clock[0] += 25
            yield number

    assert list(tracked(items(), "Decoding pictures", 6)) == [0, 1, 2, 3, 4, 5]
    assert capsys.readouterr().err.splitlines() == [
        "Decoding pictures: 6",
        "Decoding pictures: 3 of 6",
    ]


def test_what_comes_at_once_after_a_line_is_not_said(clock, capsys) -> None:
    pulse = Pulse()
    for seconds, text in ((59, "early"), (1, "first"), (1, "again"), (59, "second")):
        clock[0] += seconds
        pulse.say(text)
    assert capsys.readouterr().err.splitlines() == ["first", "second"]


def test_a_name_with_brackets_is_shown_as_it_is(capsys, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    assert list(tracked([1], "a [/b] [c].svs, batches", 1)) == [1]
    assert "a [/b] [c].svs, batches" in capsys.readouterr().err


def test_a_name_with_the_code_of_an_emoji_is_said_as_it_is(capsys) -> None:
    console.say("runs/a:car:b [/c]")
    assert capsys.readouterr().err == "runs/a:car:b [/c]\n"


def test_one_of_several_processes_alone_speaks(clock, capsys, monkeypatch) -> None:
    monkeypatch.setattr(console, "_silent", True)
    pulse = Pulse()
    clock[0] += 100
    pulse.say("a word")
    assert list(tracked([1], "Decoding pictures", 1)) == [1]
    assert capsys.readouterr().err == ""
