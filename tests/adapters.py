#!/usr/bin/env python3
"""Compiles and runs the programs of docs/adapters.md, those marked needs=LIBRARY, against real servers:

    tests/services.py --shell tests/adapters.py [NAME...]           natively, with the libraries that pkg-config finds
    tests/services.py --shell tests/adapters.py --wasi [NAME...]    as components, with those of tests/services/wasi-libs

See tests/recipes.py for what a program has to do. None may have more than 30 lines.
"""
import os
import shlex
import subprocess
import sys

import recipes

MOST_LINES = 30
WASI_LIBS = recipes.ROOT / "build" / "wasi-libs"
WASI_NAMES = {"hiredis": ["hiredis"], "libpq": ["pq", "pgcommon", "pgport"], "libcurl": ["curl"], "libcares": ["cares"]}
ARGUMENTS = {
    "redis": ["127.0.0.1", "{POISE_REDIS}"],
    "pg": ["host=127.0.0.1 port={POISE_PG} dbname={POISE_PG_DATABASE} user={POISE_PG_USER} password='{POISE_PG_PASSWORD}'"],
    "curl": ["http://127.0.0.1:{POISE_HTTP}/hello.txt", "http://localhost:{POISE_HTTP}/hello.txt"],
    "cares": ["v4.poise.test"],
}


def native_libraries(program):
    result = subprocess.run(["pkg-config", "--cflags", "--libs", program.needs], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{result.stderr}adapters.py: run tools/setup --tests")
    return shlex.split(result.stdout)


def wasi_libraries(program):
    if not (WASI_LIBS / "stamp").exists():
        sys.exit("adapters.py: run tests/services/wasi-libs first")
    names = [f"-l{name}" for name in WASI_NAMES[program.needs]]
    return ["-isystem", WASI_LIBS / "include", f"-L{WASI_LIBS}/lib", *names]


def main(names):
    wasi = names[:1] == ["--wasi"]
    names = names[wasi:]
    programs = [p for p in recipes.all_programs() if p.needs is not None and (not names or p.name in names)]
    if not programs or set(names) - {p.name for p in programs} or "POISE_REDIS" not in os.environ:
        sys.exit(__doc__)
    for program in programs:
        if len(program.text.splitlines()) > MOST_LINES:
            sys.exit(f"{program.document}:{program.line}: {program.name} has more than {MOST_LINES} lines")
    return recipes.run_all(programs, wasi, libraries=wasi_libraries if wasi else native_libraries,
                           arguments=lambda program: [a.format(**os.environ) for a in ARGUMENTS[program.name]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
