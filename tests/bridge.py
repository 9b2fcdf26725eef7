#!/usr/bin/env python3
"""Programs that link poise in unusual ways, on each WASI host: tests/bridge/*.c.

    tests/bridge.py [--wasip2 build/wasip2] [--host HOST]... [CASE]...

needs tools/setup and `make wasip2` (libpoise.a). Prints a line for each case and host; the last line is
"N passed, N failed". The exit status is 1 if anything failed.

in_force      the bridge as it should be
defeated      src/wasi/bridge.c compiled with other names for what it defines: poise falls back to poll(2)
fallback      the same, and the tests of every descriptor state and of level, edge and one-shot through the fall-back
few_handles   10,000 sockets and queues, one after the other, on a host that allows 200 handles (wasmtime can)
own_bindings  a program with wit-bindgen's bindings of its own for the interfaces that poise imports, too
own_realloc   a program with a cabi_import_realloc of its own
own_poll      a program with poll(2) calls of its own beside poise
unused        poise linked, and not used
hello         the same, in a program that uses neither
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BRIDGE = TOP / "tests" / "bridge"
HOSTS = ["wasmtime-48", "wasmtime-47", "jco"]
FLAGS = ["-D_GNU_SOURCE", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{TOP}/include", f"-I{TOP}/src"]
DEFEATED = ["-D__wasm_import_poll_poll=defeated_poll", "-D__wasm_import_poll_pollable_drop=defeated_drop"]


class Failed(Exception):
    pass


def run(command, seconds=120):
    try:
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace").strip().splitlines()
        raise Failed(f"no end after {seconds} s; last line: {said[-1] if said else 'none'}") from None
    return done.returncode, done.stdout


class Builder:
    """Builds each program once, whatever the number of hosts."""

    def __init__(self, archive, folder):
        self.archive = archive
        self.folder = Path(folder)
        self.built = {}

    def compile(self, source, flags=()):
        output = self.folder / (str(source.relative_to(TOP)).replace("/", "_") + ".o")
        self.do([TOP / "tools" / "wasi-cc", "--no-poise", *FLAGS, *flags, "-c", source, "-o", output])
        return output

    def do(self, command):
        status, said = run(command)
        if status != 0:
            raise Failed("does not build: " + " | ".join(said.strip().splitlines()[:4]))

    def link(self, name, objects, flags=()):
        """Like a user's link: poise's archive behind the program's objects. wasi-cc adds --fatal-warnings."""
        output = self.folder / f"{name}.wasm"
        self.do([TOP / "tools" / "wasi-cc", "--no-poise", *objects, *flags, "-o", output])
        return output

    def defeated(self):
        """poise's objects, the bridge among them with other names for what libc imports."""
        sources = sorted((TOP / "src").glob("*.c")) + sorted((TOP / "src" / "wasi").glob("*.c"))
        sources += [TOP / "src" / "backend" / f"{name}.c" for name in ("wasip2", "poll", "table")]
        return [self.compile(source, DEFEATED if source.name == "bridge.c" else ()) for source in sources]

    def get(self, case):
        if case not in self.built:
            try:
                self.built[case] = self.build(case)
            except Failed as failure:
                self.built[case] = failure
        if isinstance(self.built[case], Failed):
            raise self.built[case]
        return self.built[case]

    def build(self, case):
        if case == "fallback":
            tests = TOP / "tests"
            sources = [tests / name for name in ("main.c", "count.c", "promise_ready.c")] + sorted(tests.glob("wasi_*.c"))
            objects = [self.compile(source) for source in sources]
            return self.link(case, objects + self.defeated(), ["-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"])
        if case == "few_handles":
            objects = [self.compile(TOP / "tests" / f"{name}.c") for name in ("main", "count", "wasi_hooks", "wasi_leaks")]
            return self.link(case, objects + [self.archive], ["-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"])
        objects = [self.compile(BRIDGE / f"{case}.c")]
        if case == "defeated":
            return self.link(case, objects + self.defeated())
        if case == "own_bindings":
            objects += [self.compile(BRIDGE / "stranger.c", ["-w"]), BRIDGE / "stranger_component_type.o"]
        return self.link(case, objects + [self.archive])


def check(case, host, program):
    """Returns what to say in brackets."""
    command = [TOP / "tools" / "wasi-run", "--host", host]
    if case == "few_handles":
        status, said = run(command + ["-S", "max-resources=200", program, "--host", host], 300)
        lines = said.strip().splitlines()
        if status != 0 or not lines or " passed, 0 failed" not in lines[-1]:
            raise Failed(f"status {status}: " + " | ".join(line for line in lines if not line.startswith("ok"))[:500])
        return lines[-1]
    if case != "fallback":
        status, said = run(command + [program])
        lines = said.strip().splitlines()
        if status != 0 or not lines or lines[-1] != "ok":
            raise Failed(f"status {status}: " + " | ".join(lines[-3:]))
        return ""
    # No --backend: the queue chooses, and what it finds is poll.
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "poise-test.file").write_text("some")
        command += ["--dir", f"{folder}::.", program, "--host", host, "BRIDGE", "G1", "G2", "G3", "G4"]
        status, said = run(command + (["--scale", "10"] if host == "jco" else []), 300)
    lines = said.strip().splitlines()
    bad = [line for line in lines if line.startswith("not ok")]
    if status != 0 or bad or not lines or " passed, 0 failed" not in lines[-1]:
        raise Failed(f"status {status}: " + " | ".join(bad or lines[-3:]))
    if "wasip2 knows pollables" not in said:
        raise Failed("the fall-back was not used")
    return lines[-1]


def main():
    parser = argparse.ArgumentParser(description="Links poise in unusual ways, and runs it.")
    parser.add_argument("--wasip2", type=Path, default=TOP / "build" / "wasip2", help="a build folder with libpoise.a")
    parser.add_argument("--host", action="append", choices=HOSTS)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    options = parser.parse_args()
    cases = ["in_force", "defeated", "fallback", "few_handles", "own_bindings", "own_realloc", "own_poll", "unused", "hello"]
    if set(options.cases) - set(cases):
        parser.error("the cases are " + ", ".join(cases))
    archive = (options.wasip2 / "libpoise.a").resolve()
    if not archive.exists():
        parser.error(f"there is no {archive}: run `make wasip2`")
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(archive, folder)
        for case in options.cases or cases:
            for host in options.host or HOSTS:
                if case == "few_handles" and host == "jco":
                    continue
                try:
                    said = check(case, host, builder.get(case))
                    passed += 1
                    print(f"ok {case} on {host}" + (f" ({said})" if said else ""), flush=True)
                except Failed as failure:
                    failed += 1
                    print(f"not ok {case} on {host}: {failure}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
