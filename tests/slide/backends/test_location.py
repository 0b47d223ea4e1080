"""Addresses: which are taken, and OME-Zarr stores read over HTTP from a server of this machine."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import zarr
from aiohttp import ClientResponseError
from aiohttp.helpers import get_env_proxy_for_url
from upath import UPath
from yarl import URL

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide, pyramid
from napari_hmkd.slide.backends import location
from napari_hmkd.slide.description import describe

WHOLE = Region(0, 0, 100, 140)


@pytest.fixture
def pixels(noise):
    return noise(100, 140)


@pytest.fixture
def folder(tmp_path: Path, write_zarr, pixels) -> Path:
    for version in ("0.4", "0.5"):
        name = f"Präparat {version}.ome.zarr"
        write_zarr(tmp_path / name, [pixels, pixels[::2, ::2]], version)
    return tmp_path


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> float:
    """Servers are waited for this many seconds only."""
    monkeypatch.setattr(location, "STALL_S", 1.0)
    return 1.0


@pytest.mark.parametrize(
    "text", ["a b/ä.svs", "/data/slide.zarr/", r"C:\data\slide.svs", "http:/one slash.zarr"]
)
def test_paths_stay_paths(text: str):
    assert location.locate(text) == Path(text)
    assert not location.is_remote(location.locate(text))


@pytest.mark.parametrize(
    "text", ["http://a.b/c d/e.zarr", "https://a.b/e.zarr", "s3://bucket/e.zarr"]
)
@pytest.mark.parametrize("end", ["", "/"])
def test_addresses_are_kept_whole(text: str, end: str):
    found = location.locate(text + end)
    assert location.is_remote(found)
    assert (str(found), found.name) == (text, PurePosixPath(text).name)
    assert location.locate(found) == found


def test_options_of_an_address_are_kept():
    found = location.locate(UPath("s3://bucket/e.zarr/", anon=True))
    assert found.storage_options == {"anon": True}


@pytest.mark.parametrize("text", ["ftp://a.b/e.zarr", "gs://a/e.zarr", "file:///e.zarr"])
def test_addresses_of_other_kinds_are_refused(text: str):
    with pytest.raises(SlideError, match=r"http://, https://, s3://"):
        open_slide(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://me:secret@a.b/e.zarr",
        "https://secret@a.b/e.zarr",
        "ftp://me:secret@a.b/e.zarr",
        "https://a.b/e.zarr?key=secret",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(text: str):
    with pytest.raises(SlideError, match=r"e\.zarr.*netrc") as refused:
        open_slide(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("end", ["", "/"])
def test_a_store_on_a_server_is_the_store_on_disk(folder, serve, pixels, version, end):
    name = f"Präparat {version}.ome.zarr"
    with serve(folder) as server, open_slide(f"{server.url}/{name}{end}") as slide:
        assert (slide.backend, slide.name, slide.mpp) == ("zarr", name, (0.5, 0.5))
        assert "address" in slide.backend_reason
        assert str(slide.path) == f"{server.url}/{name}"
        assert [level.downsample for level in slide.levels] == [1.0, 2.0]
        assert np.array_equal(slide.read_level(0, WHOLE), pixels)
        assert np.array_equal(slide.read_level(1, Region(0, 0, 50, 70)), pixels[::2, ::2])


def test_opening_reads_no_pixels_and_a_region_the_512_px_around_it_once(folder, serve):
    with serve(folder) as server, open_slide(f"{server.url}/Präparat 0.5.ome.zarr") as slide:
        assert not [path for path in server.asked if "/c/" in path]
        slide.read_level(0, Region(32, 32, 32, 32))
        slide.read_level(0, Region(0, 90, 50, 50))
        chunks = [path for path in server.asked if "/c/" in path]
        assert len(chunks) == len(set(chunks)) == 4 * 5 * 3  # the level has fewer than 512 px
        assert all("/0/c/" in path for path in chunks)


def test_a_slow_server_is_asked_for_many_chunks_at_once(tmp_path, serve, write_zarr, noise):
    pixels = noise(600, 600)
    write_zarr(tmp_path / "a.zarr", [pixels], chunk_px=128)
    with serve(tmp_path) as server, open_slide(f"{server.url}/a.zarr") as slide:
        server.delay_s = 0.1
        (level,) = pyramid(slide)
        assert np.array_equal(level[:512, :512].compute(), pixels[:512, :512])
        assert server.most_at_once > 3  # more than the channels of one chunk


def test_a_missing_chunk_is_the_fill_value(folder, serve, pixels):
    (folder / "Präparat 0.5.ome.zarr/0/c/0/0/0").unlink()
    pixels[:32, :32, 0] = 0
    with serve(folder) as server, open_slide(f"{server.url}/Präparat 0.5.ome.zarr") as slide:
        assert np.array_equal(slide.read_level(0, WHOLE), pixels)


def test_a_chunk_that_the_server_cannot_deliver_fails_alone(folder, serve, pixels):
    with serve(folder) as server, open_slide(f"{server.url}/Präparat 0.5.ome.zarr") as slide:
        server.failing.add("/0/c/1/0/0")
        with pytest.raises(SlideReadError, match=r"Präparat 0\.5.*500"):
            slide.read_level(0, Region(0, 0, 32, 32))
        beside = Region(32, 32, 32, 32)
        assert np.array_equal(slide.read_level(0, beside), pixels[32:64, 32:64])
        server.failing.clear()
        assert np.array_equal(slide.read_level(0, WHOLE), pixels)


@pytest.mark.parametrize(
    ("status", "passes"), [(429, True), (500, True), (503, True), (403, False), (404, False)]
)
def test_a_refusal_is_what_may_pass(status: int, passes: bool):
    error = ClientResponseError(None, (), status=status)
    assert location.is_refusal(error) == passes
    assert not location.is_refusal(None)


def test_a_server_that_stalls_is_waited_for_in_bounds(folder, serve, brief):
    url = "Präparat 0.5.ome.zarr"
    with serve(folder) as server, open_slide(f"{server.url}/{url}") as slide:
        server.silent.add("/0/c/")
        start = time.perf_counter()
        with pytest.raises(SlideStalledError, match="no answer in time"):
            slide.read_level(0, WHOLE)
        server.silent.add("zarr.json")
        with pytest.raises(SlideError, match="no answer in time"):
            open_slide(f"{server.url}/{url}")
        assert time.perf_counter() - start < 10 * brief


def test_a_server_that_stalls_ends_a_run_and_fails_no_tile(folder, serve, brief):
    with serve(folder) as server, open_slide(f"{server.url}/Präparat 0.5.ome.zarr") as slide:
        server.silent.add("/c/")
        start = time.perf_counter()
        tiles = [lambda place=place: slide.read_level(0, place) for place in [WHOLE] * 20]
        with pytest.raises(SlideStalledError):
            list(slide.in_order(tiles, ahead=2))
        with pytest.raises(SlideStalledError):
            slide.thumbnail(30)
        assert time.perf_counter() - start < 10 * brief


@pytest.mark.parametrize(
    ("error", "stall"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(104, "reset"), True),
        (OSError(5, "Input/output error"), True),
        (FileNotFoundError(2, "no such file"), False),
        (OSError("Not a gzipped file"), False),
        (ValueError("damaged"), False),
    ],
)
def test_what_is_a_stall_and_what_is_damage(error: Exception, stall: bool):
    assert location.is_stall(error) is stall


def test_a_bucket_that_does_not_answer_is_a_stall():
    errors = pytest.importorskip("botocore.exceptions", reason="needs the s3 extra")
    for kind in (errors.ReadTimeoutError, errors.EndpointConnectionError):
        assert location.is_stall(kind(endpoint_url="https://a.b"))


def test_a_server_that_is_gone(folder, serve):
    with serve(folder) as server:
        url = f"{server.url}/Präparat 0.5.ome.zarr"
        slide = open_slide(url)
    with slide, pytest.raises(SlideStalledError, match="connect"):
        slide.read_level(0, WHOLE)
    with pytest.raises(SlideError, match="connect"):
        open_slide(url)


@pytest.mark.parametrize("without_proxy", ["127.0.0.1", "elsewhere"])
def test_of_requests_that_are_given_up_with_a_server_there_is_no_traceback(
    serve, tmp_path, monkeypatch, caplog, without_proxy: str
):
    """Of those, by chance, that are at the search for their proxy when another one fails."""
    with serve(tmp_path) as server:
        pass
    with pytest.raises(SlideError, match="connect"):
        open_slide(f"{server.url}/slide.zarr")
    monkeypatch.setenv("NO_PROXY", without_proxy)
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    with pytest.raises(LookupError) as no_proxy:
        get_env_proxy_for_url(URL(server.url))
    leave_unread(no_proxy.value)
    assert not caplog.records
    leave_unread(LookupError("another"))
    assert "another" in caplog.text


def leave_unread(error: Exception) -> None:
    """As a future does that failed and that nobody waits for."""
    loop = asyncio.new_event_loop()
    loop.create_future().set_exception(error)
    gc.collect()
    loop.close()


def test_of_shards_on_a_server_that_knows_no_ranges_the_cause_is_told(serve, tmp_path, write_zarr):
    path, part = tmp_path / "s.zarr", Region(0, 0, 512, 512)
    write_zarr(path, [np.zeros((1024, 1024, 3), np.uint8)], chunk_px=512)
    shutil.rmtree(path / "0")
    sides: dict[str, Any] = {"chunks": (1, 256, 256), "shards": (3, 1024, 1024)}
    level = zarr.open_group(path, mode="r+").create_array(
        "0", shape=(3, 1024, 1024), dtype="u1", **sides
    )
    level[:] = 7
    with open_slide(path) as slide:
        assert (slide.read_level(0, part) == 7).all()
    with serve(tmp_path) as server, open_slide(f"{server.url}/s.zarr") as slide:
        with pytest.raises(SlideReadError, match="ignores Range requests"):
            slide.read_level(0, part)


def test_of_shards_that_a_server_refuses_the_refusal_is_told(serve, tmp_path, write_zarr):
    path = tmp_path / "s.zarr"
    write_zarr(path, [np.zeros((64, 64, 3), np.uint8)])
    shutil.rmtree(path / "0")
    shards = {"chunks": (1, 32, 32), "shards": (3, 64, 64)}
    zarr.open_group(path, mode="r+").create_array("0", data=np.ones((3, 64, 64), "u1"), **shards)
    with serve(tmp_path) as server, open_slide(f"{server.url}/s.zarr") as slide:
        server.failing.add("/c/")
        with pytest.raises(SlideReadError, match="500") as refusal:
            slide.read_level(0, Region(0, 0, 64, 64))
    assert "Range" not in str(refusal.value)


@pytest.mark.parametrize("name", ["nothing.zarr", "slide.svs", ""])
def test_an_address_without_a_store_is_refused(folder, serve, name: str):
    (folder / "slide.svs").write_bytes(b"no store")
    with serve(folder) as server, pytest.raises(SlideError, match="only OME-Zarr"):
        open_slide(f"{server.url}/{name}")


def test_a_server_that_answers_everything_with_a_page_is_refused(folder, serve):
    store = folder / "Präparat 0.5.ome.zarr"
    (store / "zarr.json").write_text("<html>sign in</html>", encoding="utf-8")
    with serve(folder) as server, pytest.raises(SlideError, match="Look at the address"):
        open_slide(f"{server.url}/{store.name}")


@pytest.mark.parametrize("backend", ["openslide", "tifffile", "fastslide"])
def test_only_zarr_reads_addresses(folder, serve, backend: str):
    with serve(folder) as server, pytest.raises(SlideError, match="only zarr reads addresses"):
        open_slide(f"{server.url}/Präparat 0.5.ome.zarr", backend=backend)


def test_an_address_is_described_without_asking_the_server(folder, serve):
    with serve(folder) as server, open_slide(f"{server.url}/Präparat 0.5.ome.zarr") as slide:
        server.asked.clear()
        facts = describe(slide)
        assert facts["file"] == "Präparat 0.5.ome.zarr"
        assert server.url in facts["folder"]
        assert server.asked == []


@pytest.mark.skipif(os.name == "nt", reason="names are letters on Windows, not bytes")
def test_a_name_in_utf8_is_not_to_be_renamed_where_python_takes_it_for_ascii(
    tmp_path: Path,
) -> None:
    """As in the C locale with PYTHONUTF8=0."""
    name = "Präparat ß.tif".encode().decode("ascii", "surrogateescape")
    with pytest.raises(
        SlideError, match=r"Präparat ß.tif' is a name in UTF-8, .* Set PYTHONUTF8=1"
    ):
        open_slide(tmp_path / name)
    with pytest.raises(SlideError, match="Rename it"):
        open_slide(tmp_path / "f\udcfcr" / name)


def test_a_name_that_no_system_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="Rename it"):
        open_slide(tmp_path / "a\ud800.tif")
