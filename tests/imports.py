#!/usr/bin/env python3
"""What components import: wasi:http those alone that make requests, whatever is on their link line.

    tests/imports.py [--wasip2 build/wasip2]

needs tools/setup and a build folder with libpoise.a and libpoise_http.a. Links each program with every component linker
that is here (jco's, and wasm-component-ld on PATH), and prints a line for each; the exit status is 1 if one is wrong.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
# Program, whether libpoise_http.a is linked, the interfaces of wasi:http that it imports.
CASES = [
    ("hello", False, set()),
    ("hello", True, set()),
    ("get", True, {"wasi:http/types", "wasi:http/outgoing-handler"}),
]


def linkers():
    """Their names, and the PATH with which tools/wasi-cc takes them."""
    folders = os.environ["PATH"].split(":")
    without = ":".join(folder for folder in folders if not shutil.which("wasm-component-ld", path=folder))
    found = {"jco": without}
    if shutil.which("wasm-component-ld"):
        found["wasm-component-ld"] = os.environ["PATH"]
    return found


def imports(case, archives, path, folder):
    """The interfaces of wasi:http that are named in the component; None: it does not link."""
    output = Path(folder) / "program.wasm"
    name, has_http, _ = case
    command = [TOP / "tools" / "wasi-cc", "--no-poise", "-std=c11", "-D_GNU_SOURCE", f"-I{TOP}/include", "-O1",
               TOP / "examples" / f"{name}.c", *([archives / "libpoise_http.a"] if has_http else []),
               archives / "libpoise.a", "-o", output]
    done = subprocess.run([str(part) for part in command], env=os.environ | {"PATH": path, "WASI_SDK_PATH": ""})
    if done.returncode != 0:
        return None
    contents = output.read_bytes()
    return {text.decode() for text in (b"wasi:http/types", b"wasi:http/outgoing-handler") if text in contents}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wasip2", type=Path, default=TOP / "build" / "wasip2", help="a folder with the archives")
    options = parser.parse_args()
    failed = 0
    for linker, path in linkers().items():
        for case in CASES:
            with tempfile.TemporaryDirectory() as folder:
                found = imports(case, options.wasip2.resolve(), path, folder)
            right = found == case[2]
            failed += not right
            said = "does not link" if found is None else ", ".join(sorted(found)) or "nothing of wasi:http"
            name = case[0] + (" with poise_http" if case[1] else "")
            print(f"{'ok' if right else 'not ok'} {name} by {linker}: {said}", flush=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
