"""Runs commands in processes that begin with torch and transformers loaded, which takes longer than most commands do.

A server loads them once and forks for each command. The command itself is begun as `python -m packtrain` begins it, in
its own environment, folder and files; all of packtrain is loaded in it, not before.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

LOADED = ("torch", "transformers.models.auto.modeling_auto", "transformers.models.llama.modeling_llama", "tokenizers")
REQUEST_BYTES = 1 << 20


class CommandServer:
    """The server's other end; one command at a time."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._socket, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for one in (self._socket, end):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
        with end:
            words = [sys.executable, __file__, str(end.fileno())]
            self._process = subprocess.Popen(words, env=environment, pass_fds=[end.fileno()])

    def serves(self, environment: dict[str, str]) -> bool:
        """Whether nothing that is read while modules load differs from the server's environment."""
        return _read_early(environment) == _read_early(self.environment)

    def run(
        self,
        words: list[str],
        *,
        code: str | None,
        cwd: Path | None,
        stdin: str | None,
        environment: dict[str, str],
        timeout: float,
    ) -> "subprocess.CompletedProcess[str]":
        """As `subprocess.run` with captured text; with `code` the words are those of `python -c CODE`."""
        request = {"words": words, "code": code, "cwd": str(cwd or Path.cwd()), "environment": environment}
        with (
            tempfile.TemporaryFile("w+") as given,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as errors,
        ):
            given.write(stdin or "")
            given.seek(0)
            here, there = socket.socketpair()
            with here, there:
                files = [given.fileno(), out.fileno(), errors.fileno(), there.fileno()]
                socket.send_fds(self._socket, [json.dumps(request).encode()], files)
                there.close()
                here.settimeout(timeout)
                with here.makefile("r") as told:
                    pid = int(told.readline())
                    try:
                        status = int(told.readline())
                    except TimeoutError:
                        os.kill(pid, signal.SIGKILL)
                        raise
            return subprocess.CompletedProcess(words, status, _whole(out), _whole(errors))

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._process.wait()


def _whole(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _read_early(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(("PYTEST_", "PACKTRAIN_"))}


def _next_command(requests: socket.socket) -> dict[str, Any] | None:
    """What is asked for, in the process that is to run it; None in the server when nobody asks any more."""
    while True:
        data, files, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 4)
        if not data:
            return None
        watcher = os.fork()
        if watcher:
            for file in files:
                os.close(file)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # the watchers that have ended
                    pass
            continue
        command = os.fork()
        if not command:
            return _become(json.loads(data), files)
        os.write(files[3], f"{command}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        os.write(files[3], f"{status}\n".encode())
        os._exit(0)


def _become(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """Take the place of a process that was started so."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    sys.argv = ["packtrain" if request["code"] is None else "-c", *request["words"]]
    return request


def _serve(requests: socket.socket) -> None:
    for name in LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a page that nobody writes to is not copied
    request = _next_command(requests)
    if request is None:
        return
    requests.close()
    try:
        if request["code"] is None:
            runpy.run_module("packtrain", run_name="__main__", alter_sys=True)
        else:
            exec(request["code"], {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does: pools end, then threads are awaited
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # without freeing what was loaded before, which would copy all of it


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
