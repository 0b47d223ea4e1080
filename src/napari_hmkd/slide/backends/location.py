"""Where a slide lies: a path of this machine, or an address on a network."""

from __future__ import annotations

import logging
import os
import re
import sys
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from upath import UPath

from napari_hmkd.errors import SlideError
from napari_hmkd.wording import printable

if TYPE_CHECKING:
    from typing_extensions import TypeIs
    from zarr.storage import FsspecStore

SCHEMES = ("http", "https", "s3")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)  # two letters: "C:" is a drive

CONNECT_S = 10.0
STALL_S = 15.0
REQUEST_S = 25.0
"""Seconds to connect, between two packets, and for one request in all: then a read is an error."""

_NO_PROXY = ("No proxies found", "Proxying is disallowed")
_TWO_TRIES = {"max_attempts": 2}


def locate(path: str | os.PathLike[str] | UPath) -> Path | UPath:
    """The path as it is used from here on; an address becomes a `UPath`.

    Raises
    ------
    SlideError
        It is an address of a kind that is not read, or holds a user name, a password or a query.
    """
    if isinstance(path, UPath) and not isinstance(path, Path):
        text, options = str(path), dict(path.storage_options)
    else:
        text, options = os.fspath(path), {}
    address = _ADDRESS.match(text)
    if address is None:
        return Path(text)
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query:
        raise SlideError(
            f"The address of '{PurePosixPath(parts.path).name}' at {parts.hostname} has a user name, a "
            "password or a '?' in it. A store is many files below one address, which is written into "
            "results: put user name and password into ~/.netrc (~/_netrc on Windows), and take an "
            "address without '?'."
        )
    if address[1].lower() not in SCHEMES:
        raise SlideError(
            f"'{text}' is an address of the kind '{address[1]}'. Read are files of this machine "
            f"and addresses that begin with {', '.join(f'{one}://' for one in SCHEMES)}."
        )
    return UPath(text.rstrip("/"), **options)


def require_utf8(path: Path) -> None:
    """Check that results, which are UTF-8, can name a file.

    Raises
    ------
    SlideError
        Its name, or a folder's above it, is no UTF-8, as names from old systems are not, or not to
        this Python.
    """
    whole = os.path.abspath(path)
    if printable(whole) == whole:
        return
    try:
        found = os.fsencode(whole).decode("utf-8")
    except UnicodeError:  # a letter that stands for no byte has no bytes either
        raise SlideError(
            f"'{printable(str(path))}' has a name, or lies in a folder with one, that is no UTF-8, which "
            "results are written in. Rename it."
        ) from None
    raise SlideError(
        f"'{found}' is a name in UTF-8, but this Python takes the names of files for "
        f"{sys.getfilesystemencoding()}. Set PYTHONUTF8=1."
    )


def is_remote(path: Path | UPath) -> TypeIs[UPath]:
    """Whether it is an address."""
    return not isinstance(path, Path)


def remote_store(path: UPath) -> FsspecStore:
    """A zarr store at an address, whose requests all end in time.

    The address's own `storage_options` win over the limits here; credentials of S3 come from
    where boto finds them, or from fsspec's settings (`FSSPEC_S3_ANON=true` for public data).

    Raises
    ------
    SlideError
        The package that reads this kind of address is not installed.
    """
    from zarr.storage import FsspecStore

    try:
        return FsspecStore.from_url(str(path), storage_options=_options(path), read_only=True)
    except ImportError as error:
        raise SlideError(
            f"'{path}' cannot be read: {error}. For s3:// addresses: "
            'pip install "napari-hmkd[s3]".'
        ) from error


def read_file(folder: Path | UPath, name: str) -> bytes | None:
    """A small file below a folder or an address; None where there is none."""
    if is_remote(folder):
        folder = UPath(str(folder), **_options(folder))
    file = folder / name
    try:
        found: bytes = file.fs.cat_file(file.path) if is_remote(file) else file.read_bytes()
    except FileNotFoundError:
        return None
    return found


def is_stall(error: Exception) -> bool:
    """Whether a disk, network or server failed and not the data: all further reads would fail too."""
    if isinstance(error, _connection_errors()):
        return True
    # An error of a codec can be an OSError, without a number; a lost file is one place's fault.
    return (
        isinstance(error, OSError)
        and error.errno is not None
        and not isinstance(error, FileNotFoundError)
    )


def is_refusal(error: BaseException | None) -> bool:
    """Whether a server said that it cannot answer a request now: HTTP 429, or 500 and above."""
    from aiohttp import ClientResponseError

    return isinstance(error, ClientResponseError) and (error.status == 429 or error.status >= 500)


def reason_of(error: Exception) -> str:
    """What went wrong, for a message; a timeout often has no words of its own."""
    words = str(error) or type(error).__name__
    return f"no answer in time ({words})" if isinstance(error, TimeoutError) else words


def _connection_errors() -> tuple[type[Exception], ...]:
    import aiohttp

    found = (TimeoutError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
    try:
        botocore = import_module("botocore.exceptions")
    except ImportError:  # it comes with the extra s3
        return found
    return (*found, botocore.ConnectionError, botocore.HTTPClientError)


def _options(path: UPath) -> dict[str, Any]:
    return {**_limits(path.protocol), **path.storage_options}


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of asyncio's says more than that a request was given up.

    After one request failed the others are, at times while aiohttp still looks for their proxies; then
    "not found" reaches nobody, and asyncio writes it with a traceback below the message of the failure.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, LookupError) and str(error).startswith(_NO_PROXY))


def _limits(protocol: str) -> dict[str, Any]:
    """Storage options of fsspec that bound how long a silent server is waited for."""
    if protocol == "s3":
        botocore = {"connect_timeout": CONNECT_S, "read_timeout": STALL_S, "retries": _TWO_TRIES}
        return {"config_kwargs": botocore}
    from aiohttp import ClientTimeout

    logging.getLogger("asyncio").addFilter(_is_news)
    timeout = ClientTimeout(total=REQUEST_S, sock_connect=CONNECT_S, sock_read=STALL_S)
    # Hospitals reach the outside through proxies, which the environment names.
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}
