"""What `make demo` shows: the sample slide's H&E, chosen to be graded."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari.settings import get_settings

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import demo
from napari_hmkd.widgets.viewing import slide_of


def test_the_demo_is_about_to_grade_the_h_and_e(viewer, pair, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(get_settings().experimental, "async_", False)
    monkeypatch.setattr(demo.napari, "Viewer", lambda **_: viewer)
    layers = [*read_slides(pair.ihc), *read_slides(pair.he)]
    monkeypatch.setattr(demo, "sample_layers", lambda: layers)
    _, widget = demo.open_demo()
    assert slide_of(widget.slide.value).path == pair.he
    assert [slide_of(layer).path for layer in viewer.layers] == [pair.ihc, pair.he]
    assert get_settings().experimental.async_
