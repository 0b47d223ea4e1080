"""Panels open as they were left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("magicgui", reason="needs the napari extra")

from magicgui.widgets import CheckBox, ComboBox, FloatSlider
from napari.utils.notifications import notification_manager

from napari_hmkd.errors import OutputError
from napari_hmkd.widgets import preferences
from napari_hmkd.widgets.preferences import Preferences


def fields(qapp) -> dict[str, object]:
    return {
        "device": ComboBox(choices=["auto", "cpu"]),
        "opacity": FloatSlider(value=0.5, min=0, max=1),
        "follow": CheckBox(value=False),
    }


def test_what_was_chosen_comes_back(qapp) -> None:
    first = fields(qapp)
    kept = Preferences("grade", **first)
    first["device"].value, first["opacity"].value, first["follow"].value = "cpu", 0.25, True
    kept.write()
    second, other = fields(qapp), fields(qapp)
    Preferences("grade", **second)
    Preferences("another", **other)
    assert [field.value for field in second.values()] == ["cpu", 0.25, True]
    assert [field.value for field in other.values()] == ["auto", 0.5, False]


def test_what_is_no_choice_any_more_is_left_out(qapp) -> None:
    path = preferences._path()
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"grade": {"device": "cuda:7", "opacity": "thick", "follow": True}}),
        encoding="utf-8",
    )
    found = fields(qapp)
    Preferences("grade", **found)
    assert [field.value for field in found.values()] == ["auto", 0.5, True]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"grade": 3}'])
def test_a_spoilt_file_gives_the_defaults(qapp, content: str) -> None:
    path = preferences._path()
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    found = fields(qapp)
    kept = Preferences("grade", **found)
    assert found["device"].value == "auto"
    found["device"].value = "cpu"
    kept.write()
    assert json.loads(path.read_text(encoding="utf-8"))["grade"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "Expecting"),
        (b"[1]", "no JSON object"),
        (b"\xff\xfe{", "decode"),
        (b"{}", ""),
        (None, ""),
    ],
)
def test_a_file_that_cannot_be_read_is_told(qapp, content: bytes | None, why: str) -> None:
    path = preferences._path()
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    notification_manager.records.clear()
    for panel in ("grade", "reader"):
        Preferences(panel, **fields(qapp))
    told = [record.message for record in notification_manager.records]
    assert len(told) == bool(why), "once for all panels"
    assert all(str(path) in one and why in one for one in told)


def test_a_file_that_cannot_be_read_for_a_moment_is_not_replaced(
    qapp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virus scanner holds it, or a network's home is away: what it says may be that results are hidden."""
    path = preferences._path()
    preferences.remember("reader", {"hide_results": True})
    held = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        preferences.remember("grade", {"opacity": 0.5})
    assert path.read_bytes() == held


def refuse(*_: object, **__: object) -> str:
    raise PermissionError(13, "Permission denied")


def test_a_home_that_cannot_be_written_is_no_error(
    qapp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(preferences, "_path", lambda: tmp_path / "file" / "preferences.json")
    found = fields(qapp)
    kept = Preferences("grade", **found)
    found["device"].value = "cpu"
    kept.write()
    assert "not remembered" in caplog.text


def test_a_student_of_this_session_alone_is_not_chosen_on_another_day(qapp, tmp_path: Path) -> None:
    choices = ["demo", str(tmp_path / "student.safetensors")]
    first, second = ComboBox(choices=choices), ComboBox(choices=choices[:1])
    kept = Preferences("grade", model=first)
    first.value = choices[1]
    kept.write()
    Preferences("grade", model=second)
    assert second.value == "demo"


def test_a_slider_that_is_drawn_is_written_once_it_rests(
    qapp, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, object]] = []
    monkeypatch.setattr(preferences, "remember", lambda panel, values: written.append(values))
    found = fields(qapp)
    kept = Preferences("grade", **found)
    for step in range(100):
        found["opacity"].value = step / 100
    assert written == []
    qtbot.waitUntil(lambda: bool(written))
    assert written == [{"opacity": 0.99}]
    kept.write()
    assert len(written) == 1, "there was nothing new"


def test_a_user_without_a_home_has_the_defaults(
    qapp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless(kind: str) -> Path:
        raise OutputError("this user has no home folder")

    monkeypatch.setattr(preferences, "user_folder", homeless)
    found = fields(qapp)
    kept = Preferences("grade", **found)
    found["device"].value = "cpu"
    kept.write()
    assert found["opacity"].value == 0.5
    assert "preferences are not remembered: this user has no home folder" in caplog.text
