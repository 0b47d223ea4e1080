"""What results say of themselves."""

from __future__ import annotations

import pytest

from napari_hmkd.wording import RESEARCH_ONLY, one_notice, path_replaced


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


@pytest.mark.parametrize(
    "folder",
    [
        "/study/Erika Mustermann/",
        r"C:\Study\Erika Mustermann" + "\\",
        r"\\server\Erika Mustermann" + "\\",
    ],
    ids=["as on Linux", "as on Windows", "as on its network"],
)
def test_no_message_tells_the_folder_of_a_slide(folder: str) -> None:
    """Its own messages name it as it is; those of the system write each backslash twice."""
    slide = f"{folder}a.svs"
    said = f"'{slide}' cannot be opened: {PermissionError(13, 'Permission denied', slide)}"
    assert (
        path_replaced(said, folder, "")
        == "'a.svs' cannot be opened: [Errno 13] Permission denied: 'a.svs'"
    )
    assert path_replaced(said, slide, "it").count("it") == 2
