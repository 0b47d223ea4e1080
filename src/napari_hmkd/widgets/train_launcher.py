"""A process that runs a command and leaves nothing of it behind: `... train_launcher GRACE COMMAND`.

The window that starts it holds the other end of its standard input. When that end closes, because
the window asks for a stop, quits or is killed, the command is interrupted as by Ctrl-C and, after
a grace period, killed with every process it started.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
_NOT_STARTED = 127  # a shell's exit code for it


def main(arguments: Sequence[str]) -> int:
    """Run a command until it ends or standard input closes.

    Parameters
    ----------
    arguments : sequence of str
        The seconds between interrupting and killing, the program, its arguments.

    Returns
    -------
    int
        The command's exit code; 128 + n if signal n ended it, as in a shell.
    """
    grace_s, command = float(arguments[0]), arguments[1:]
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **_own_group())
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr)
        return _NOT_STARTED
    ended = threading.Event()

    def end(*_signal: object) -> None:
        _interrupt(child)
        threading.Thread(target=kill_late, daemon=True).start()

    def kill_late() -> None:
        if not ended.wait(grace_s):
            _kill(child)

    def watch() -> None:
        # Not sys.stdin: its lock would be held when the interpreter ends.
        while os.read(0, 1024):
            pass
        end()

    # Ctrl-C in the terminal of the window, the end of its session: the command would not hear them.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end)
    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    ended.set()
    _kill(child)  # what it started and did not wait for
    return code if code >= 0 else 128 - code


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "linux":
        # Should this process be killed, the command is interrupted, too.
        prctl = ctypes.CDLL(None).prctl
        apart["preexec_fn"] = partial(prctl, _SIGNAL_AT_PARENTS_DEATH, signal.SIGINT.value)
    return apart


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        # A process without a console hears no Ctrl-Break.
        _kill(child)
    else:
        _signal_group(child, signal.SIGINT)


def _kill(child: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        tree = ["taskkill", "/F", "/T", "/PID", str(child.pid)]
        # Where this process has no console, taskkill would open one. It must not share the pipe at which
        # `watch` waits: Windows lets no other process look at that meanwhile.
        apart: dict[str, Any] = {
            "stdin": subprocess.DEVNULL, "creationflags": subprocess.CREATE_NO_WINDOW,
        }  # fmt: skip
        subprocess.run(tree, capture_output=True, check=False, **apart)
    else:
        _signal_group(child, signal.SIGKILL)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    """Signal all that is left of the command's session, which bears its number."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return  # all have ended


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
