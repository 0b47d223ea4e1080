"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides beside the checkout; it is never part of the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real slides in ../shared/data, which are not part of the repository")
    return SHARED / "data"


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of reference numbers beside the checkout."""
    if not (SHARED / "parity").is_dir():
        pytest.skip("needs the reference numbers in ../shared/parity")
    return SHARED / "parity"
