"""A running peer: a process that is asked for rounds, one line each, and its time limits."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from harness import Peer, Row, Table

TOP = Path(__file__).resolve().parent.parent


class Failure(Exception):
    """A peer that crashed, took too long, or said something else than the protocol has."""


class Unsupported(Exception):
    """A peer that says that it cannot do this."""


def numbers(words: list[str]) -> dict[str, float]:
    """Of KEY=VALUE words, those whose value is a number."""
    found = {}
    for word in words:
        key, _, value = word.partition("=")
        try:
            found[key] = float(value) if "." in value else int(value)
        except ValueError:
            continue
    return found


class Folders:
    """Where the programs were built."""

    def __init__(self, native: str, wasip2: str, mio: str) -> None:
        self.native, self.wasip2, self.mio = (Path(folder).resolve() for folder in (native, wasip2, mio))

    def program(self, peer: Peer, platform: str) -> Path:
        if peer.program == "mio":
            return self.mio / ("release/mio" if platform == "linux" else "wasm32-wasip2/release/mio.wasm")
        return (
            self.native / "bench" / peer.program
            if platform == "linux"
            else self.wasip2 / "bench" / f"{peer.program}.wasm"
        )

    def command(self, table: Table, peer: Peer, row: Row, host: str) -> list[str]:
        program = self.program(peer, table.platform)
        wrapper = [self.native / "bench" / table.wrapper] if table.wrapper else []
        for needed in [program, *wrapper]:
            if not needed.is_file():
                where = needed.relative_to(TOP) if needed.is_relative_to(TOP) else needed
                raise Failure(f"there is no {where}: build it first")
        parameters = [f"{key}={value}" for key, value in {**row, **peer.options}.items()]
        command = [str(program), peer.argument, peer.workload or table.workload, *parameters]
        if table.platform == "wasi":
            command = [str(TOP / "tools" / "wasi-run"), "--host", host, *table.host_options, *command]
        command = [*map(str, wrapper), *command]
        if table.pin:
            command = ["taskset", "-c", str(max(os.sched_getaffinity(0))), *command]
        return command


class Process:
    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            start_new_session=True,
        )
        self.buffer = b""

    def line(self, seconds: float) -> str:
        """The next line. No thread reads ahead: while a peer runs, the driver sleeps."""
        limit = time.monotonic() + seconds
        output = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            readable, _, _ = select.select([output], [], [], max(0.0, limit - time.monotonic()))
            if not readable:
                raise Failure(f"said nothing for {seconds:.0f} s")
            some = os.read(output, 65536)
            if not some:
                raise Failure(self.how_it_ended())
            self.buffer += some
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace").strip()

    def how_it_ended(self) -> str:
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            return "closed its output, and goes on"
        return f"ended with status {status}" + self.last_words()

    def said_on_errors(self, begin: int = 0) -> str:
        """All that its standard error has had, from some place on. (Written by another process: the offset is shared.)"""
        return os.pread(self.errors.fileno(), 1 << 30, begin).decode(errors="replace")

    def last_words(self) -> str:
        words = self.said_on_errors().strip().splitlines()[-3:]
        return ": " + " / ".join(word.strip() for word in words) if words else ""

    def ready(self, seconds: float) -> None:
        line = self.line(seconds)
        if line.startswith("unsupported"):
            raise Unsupported(line.removeprefix("unsupported").strip() or "no reason given")
        if line.split()[:1] != ["ready"]:
            raise Failure(f"said {line!r} instead of ready")

    def round(self, count: int, seconds: float) -> dict[str, float]:
        try:
            self.process.stdin.write(f"round {count}\n".encode())
            self.process.stdin.flush()
        except OSError:
            raise Failure(self.how_it_ended()) from None
        line = self.line(seconds)
        result = numbers(line.split())
        missing = [key for key in ("ns", "ops", "waits", "reads", "writes") if key not in result]
        if missing:
            raise Failure(f"said {line!r}, without {', '.join(missing)}")
        if result["ops"] < count:
            raise Failure(f"did {result['ops']} of {count} operations")
        return result

    def end(self) -> str | None:
        """Lets it end by itself; returns what is wrong with that, or None."""
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            return "did not end when its input did"
        return None if status == 0 else f"ended with status {status}" + self.last_words()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # what it has started, too
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            try:
                pipe.close()
            except OSError:
                pass
