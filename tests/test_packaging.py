"""What is installed: every package folder, the manifest, the weights, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_folder_is_listed(project: dict) -> None:
    source = ROOT / "src"
    found = {
        ".".join(init.parent.relative_to(source).parts)
        for init in source.glob("napari_hmkd/**/__init__.py")
    }
    found |= {
        ".".join(("napari_hmkd", *init.parent.relative_to(ROOT).parts))
        for init in ROOT.glob("training/**/__init__.py")
    }
    found.add("napari_hmkd_manifest")
    assert found == set(project["tool"]["setuptools"]["packages"])


def test_no_python_lies_at_the_root_where_it_would_be_shipped() -> None:
    assert list(ROOT.glob("*.py")) == []


def test_the_extras_are_those_promised(project: dict) -> None:
    assert set(project["project"]["optional-dependencies"]) == {
        "napari",
        "train",
        "test",
        "fast",
        "inspect",
        "s3",
        "all",
    }


def test_the_core_asks_for_no_viewer(project: dict) -> None:
    wanted = " ".join(project["project"]["dependencies"]).lower()
    assert not any(word in wanted for word in ("napari", "qt", "magicgui", "lightning"))


def test_manifest_and_project_share_a_name_and_its_commands_exist(project: dict) -> None:
    manifest_of = pytest.importorskip("npe2", reason="needs the napari extra").PluginManifest
    manifest = manifest_of.from_file(ROOT / "napari.yaml")
    assert manifest.name == project["project"]["name"]
    for command in manifest.contributions.commands:
        assert callable(command.python_name and _resolve(command.python_name))


def _resolve(python_name: str) -> object:
    module, _, attribute = python_name.partition(":")
    return getattr(__import__(module, fromlist=[attribute]), attribute)


def test_the_wheel_holds_code_manifest_and_weights(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), "."],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("napari_hmkd-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    weights = {
        f"napari_hmkd/model/weights/demo_{role}" for role in ("student", "teacher", "biomarkers")
    }
    assert {f"{stem}{end}" for stem in weights for end in (".safetensors", ".json")} <= names
    assert "napari_hmkd_manifest/napari.yaml" in names
    for place, folder in (("napari_hmkd", "src/napari_hmkd"), ("napari_hmkd/training", "training")):
        code = [path for end in ("py", "html") for path in (ROOT / folder).rglob(f"*.{end}")]
        wanted = {path.relative_to(ROOT / folder).as_posix() for path in code}
        assert {f"{place}/{name}" for name in wanted} <= names
    assert not any(name.startswith(("tests/", "training/")) for name in names)
    size = sum((ROOT / "src" / f"{stem}.safetensors").stat().st_size for stem in weights)
    assert size <= 16 * 2**20
