#!/usr/bin/env python3
"""Compiles and runs every full program of the documents: each block ```c program=NAME of README.md and docs/*.md.

    tests/recipes.py [NAME...]              all of them, or these; natively, on the epoll and the poll backend
    tests/recipes.py --wasi [NAME...]       those that are marked `wasi`, as components (needs tools/setup and make wasip2)
    tests/recipes.py --print NAME           the program's text
    tests/recipes.py [--wasi] --run NAME    compiles it, and runs it on each backend (or host) with its output shown

A program gets "hello\n" on standard input. It passes if it compiles without a warning, ends with status 0 within the time
limit, and prints just what the block ```text behind it says, or, marked `one-of`, one line of it. (No such block: its output
is not looked at.) Those marked needs=LIBRARY, which need servers as well, are for tests/adapters.py.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md"))]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
SECONDS = 60
BACKENDS = ["epoll", "poll"]
HOSTS = ["wasmtime-48", "wasmtime-47", "jco"]


class Program:
    def __init__(self, document, line, name, marks):
        self.document, self.line, self.name = document, line, name
        self.wasi, self.one_of = "wasi" in marks, "one-of" in marks
        self.needs = next((mark[len("needs="):] for mark in marks if mark.startswith("needs=")), None)
        self.text, self.expected = "", None


def programs_of(document):
    found, block, last = [], None, None
    for number, line in enumerate((ROOT / document).read_text().splitlines(), 1):
        if block is None and line.startswith("```"):
            words = line[3:].split()
            name = next((w[len("program="):] for w in words if w.startswith("program=")), None)
            block, lines = words[0] if words else "", []
            if name:
                last = Program(document, number, name, words)
                found.append(last)
            elif block != "text":
                last = None
            is_program = name is not None
        elif block is not None and line.rstrip() == "```":
            text = "".join(l + "\n" for l in lines)
            if is_program:
                last.text = text
            elif block == "text" and last is not None:
                last.expected, last = text, None
            block = None
        elif block is not None:
            lines.append(line)
        elif line.startswith("#"):
            last = None
    return found


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, **more)


def build_library(scratch):
    sources = [*ROOT.glob("src/*.c"), *(ROOT / "src/backend" / name for name in ("table.c", "poll.c", "epoll.c"))]
    result = run([os.environ.get("CC", "gcc"), "-std=c11", "-D_GNU_SOURCE", "-O1", "-c", f"-I{ROOT}/include", f"-I{ROOT}/src",
                  *map(str, sources)], cwd=scratch)
    if result.returncode != 0:
        sys.exit(result.stdout)
    return sorted(str(p) for p in pathlib.Path(scratch).glob("*.o"))


def compiled(program, scratch, objects, libraries=()):
    """The compiled program, or what the compiler said. libraries: more options for it."""
    source, output = pathlib.Path(scratch, program.name + ".c"), pathlib.Path(scratch, program.name)
    source.write_text(program.text)
    if objects is None:
        output = output.with_suffix(".wasm")
        command = [ROOT / "tools/wasi-cc", *WARNINGS, "-O1", source, *libraries, "-o", output]
    else:
        command = [os.environ.get("CC", "gcc"), *WARNINGS, f"-I{ROOT}/include", source, *objects, *libraries, "-pthread", "-o",
                   output]
    result = run([str(word) for word in command])
    return (output, None) if result.returncode == 0 else (None, result.stdout)


def verdict(program, command, environment):
    """None, or why it failed."""
    try:
        result = run([str(word) for word in command], input="hello\n", env={**os.environ, **environment})
    except subprocess.TimeoutExpired:
        return f"not done after {SECONDS} s"
    if result.returncode != 0:
        return f"status {result.returncode}\n{result.stdout}"
    if program.expected is None:
        return None
    if result.stdout not in (program.expected.splitlines(keepends=True) if program.one_of else [program.expected]):
        return f"prints\n{result.stdout}and not\n{program.expected}"
    return None


def run_all(programs, wasi, show=False, libraries=lambda program: (), arguments=lambda program: ()):
    """Each on each backend or host. libraries: options for the compiler; arguments: of the program. The exit status."""
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        objects = None if wasi else build_library(scratch)
        for program in programs:
            if wasi and not program.wasi:
                continue
            binary, error = compiled(program, scratch, objects, libraries(program))
            for where in HOSTS if wasi else BACKENDS:
                command = [ROOT / "tools/wasi-run", "--host", where, binary] if wasi else [binary]
                command += arguments(program)
                environment = {} if wasi else {"POISE_BACKEND": where}
                if binary is not None and show:
                    print(f"{where}: ", end="", flush=True)
                    subprocess.run(command, env={**os.environ, **environment}, check=True)
                    continue
                why = error or verdict(program, command, environment)
                passed, failed = passed + (why is None), failed + (why is not None)
                where = f"{program.name} ({program.document}:{program.line}), {where}"
                print(f"ok {where}" if why is None else f"not ok {where}: {why}", flush=True)
    if not show:
        print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def all_programs():
    programs = [p for document in DOCUMENTS for p in programs_of(document)]
    if len({p.name for p in programs}) != len(programs):
        sys.exit("two programs of one name")
    return programs


def main(arguments):
    wasi = arguments[:1] == ["--wasi"]
    arguments = arguments[wasi:]
    mode = arguments.pop(0) if arguments[:1] and arguments[0].startswith("--") else None
    if mode not in (None, "--print", "--run") or (mode and len(arguments) != 1):
        sys.exit(__doc__)
    programs = [p for p in all_programs() if p.needs is None or mode == "--print"]
    unknown = set(arguments) - {p.name for p in programs}
    if unknown:
        sys.exit(f"no such program: {' '.join(sorted(unknown))}")
    programs = [p for p in programs if not arguments or p.name in arguments]
    if mode == "--print":
        print(programs[0].text, end="")
        return 0
    return run_all(programs, wasi, show=mode == "--run")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
