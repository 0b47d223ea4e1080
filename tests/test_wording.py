"""What results say of themselves."""

from __future__ import annotations

import pytest

from napari_hmkd.wording import RESEARCH_ONLY, one_notice


@pytest.mark.parametrize(
    ("notices", "together"),
    [
        ((), ""),
        (("", ""), ""),
        (("drawn tissue",), "drawn tissue"),
        ((f"drawn tissue, {RESEARCH_ONLY}",), f"drawn tissue; {RESEARCH_ONLY}"),
        ((f"{RESEARCH_ONLY}; no test", f"drawn, {RESEARCH_ONLY}"), f"no test; drawn; {RESEARCH_ONLY}"),
        ((f"no test; drawn; {RESEARCH_ONLY}", f"drawn, {RESEARCH_ONLY}"), f"no test; drawn; {RESEARCH_ONLY}"),
        (("for research use only",), "for research use only"),
        ((RESEARCH_ONLY, "a; b", "b; c"), f"a; b; c; {RESEARCH_ONLY}"),
    ],
)  # fmt: skip
def test_several_notices_say_everything_once(notices: tuple[str, ...], together: str) -> None:
    assert one_notice(*notices) == together
    assert one_notice(together, *notices) == together
