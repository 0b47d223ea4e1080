"""A web server of this machine that can fail, wait or stay silent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Server:
    """A web server of this machine, and how it behaves; parts of requests' paths select them.

    Attributes
    ----------
    url : str
        Of the folder that is served, without a slash at its end.
    failing : set of str
        These requests are answered with 500.
    silent : set of str
        These are never answered.
    delay_s : float
        So long each answer is kept back.
    most_at_once : int
        Most requests that were under way together.
    asked : list of str
        Paths of all requests so far.
    """

    url: str = ""
    failing: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    delay_s: float = 0.0
    most_at_once: int = 0
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_once: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        yield
        with self.lock:
            self.at_once -= 1


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, state: Server, **more: Any) -> None:
        self.state = state
        super().__init__(*arguments, **more)

    def do_GET(self) -> None:
        self.state.asked.append(self.path)
        with self.state.counted():
            self.answer()

    def answer(self) -> None:
        self.state.over.wait(self.state.delay_s)
        if any(part in self.path for part in self.state.silent):
            self.state.over.wait(30)
        elif any(part in self.path for part in self.state.failing):
            self.send_error(500)
        else:
            super().do_GET()

    def log_message(self, *message: object) -> None:
        """The tests' output stays clean."""


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder at 127.0.0.1."""
    state = Server()
    handler = partial(_Handler, directory=str(folder), state=state)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        poll = {"poll_interval": 0.02}
        thread = threading.Thread(target=server.serve_forever, kwargs=poll)
        thread.start()
        try:
            yield state
        finally:
            state.over.set()
            server.shutdown()
            thread.join()
