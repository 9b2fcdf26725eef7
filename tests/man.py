#!/usr/bin/env python3
"""The man pages against the headers and sources.

* Each function of include/poise/*.h has a page of its name, which names it in NAME and has its prototype in SYNOPSIS.
* A page names nothing else.
* Each error that a page lists exists, and is in poise's sources or headers, or comes from a system call that is named beside it.
* Each error that the sources return by name from a public function, or that a header (but poise.h) lists, is on its page.
* mandoc -Tlint has nothing to say, and the quotes of each rendered paragraph open and close in turn.
"""

import errno
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = sorted(ROOT.glob("include/poise/*.h"))
SOURCES = sorted(ROOT.glob("src/**/*.[ch]"))
# What a backend's functions return is what these return (backend.h).
BACKEND = {"open_": "poise_open", "arm": "poise_watch", "reserve": "poise_watch", "wait": "poise_wait", "fileno_": "poise_fileno"}
ADDONS = ("resolve", "http")  # folders of src/: libraries of their own
LISTING_ERRORS = ("net", "loop", "resolve", "connect", "http")
HELPERS = {"open_backend": "poise_open", "grow": "poise_watch", "watch": "poise_watch", **BACKEND}

failures = []
passed = 0


def check(condition, text):
    global passed
    if condition:
        passed += 1
    else:
        failures.append(text)
        print(f"not ok {text}")


def normal(prototype):
    prototype = re.sub(r"/\*.*?\*/", " ", prototype)
    return re.sub(r"\s*([(),*])\s*", r"\1", re.sub(r"\s+", " ", prototype)).strip()


def declared():
    """Function -> prototype, from the headers."""
    found = {}
    for header in HEADERS:
        text = header.read_text()
        for match in re.finditer(r"^POISE_API\s+([^;{]*?\b(poise_\w+)\([^;]*\));", text, re.M):
            found[match[2]] = normal(match[1])
        for match in re.finditer(r"^(static inline [^;{]*?\b(poise_\w+)\([^;{]*\))\s*\{", text, re.M):
            found[match[2]] = normal(match[1])
    return found


def read(page):
    """The text of man/PAGE.3; one that is missing has been told already."""
    path = ROOT / "man" / f"{page}.3"
    return path.read_text() if path.is_file() else ""


def section(text, name):
    match = re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", text, re.M | re.S)
    return match[1] if match else ""


def prototypes(text):
    found = {}
    for match in re.finditer(r'^\.Ft (.*)\n\.Fo (\w+)\n((?:\.Fa .*\n)+)\.Fc', section(text, "SYNOPSIS"), re.M):
        arguments = [line[4:].strip('"') for line in match[3].splitlines()]
        returned = match[1].strip('"')
        found[match[2]] = normal(f"{returned} {match[2]}({', '.join(arguments)})")
    return found


def errors_of(text):
    """(errno, what is written around it) for each entry of the ERRORS section; the list's heading counts as around it."""
    found, heading, pending = [], "", []
    for part in re.split(r"^(?=\.It |\.Bl |\.El)", section(text, "ERRORS"), flags=re.M):
        if part.startswith(".It"):
            pending.append(re.match(r"\.It Bq Er (E\w+)", part)[1])
            if part.count("\n") > 1:
                found += [(name, heading + part) for name in pending]
                pending = []
        elif not part.startswith(".Bl"):
            heading = part
    return found


def returned():
    """Public function -> errors that are written in its body as `return -E...`, `result = -E...`, `: -E...`."""
    found = {}
    for source in SOURCES:
        for match in re.finditer(r"^(?:\w[\w *]*?[ *])(\w+)\([^;{]*\)\n\{\n(.*?)^\}", source.read_text(), re.M | re.S):
            name = match[1]
            helper = name in HELPERS and source.relative_to(ROOT).parts[1] not in ADDONS
            if name.startswith("poise__") or not (name.startswith("poise_") or helper):
                continue
            errors = re.findall(r"(?:return|result = |[?:]) *-(E[A-Z]+)\b", match[2])
            found.setdefault(HELPERS.get(name, name), set()).update(errors)
    return found


def rendered(page):
    """The page as it is read, a paragraph a line."""
    result = subprocess.run(["mandoc", "-Tascii", "-Owidth=1000", str(page)], stdout=subprocess.PIPE,
                            text=True, check=True)
    return [line for line in re.sub(r".\x08", "", result.stdout).splitlines() if '"' in line]


def quotes_match(line):
    """Every second quote closes: there is an even number of them, and no space before one that closes."""
    parts = line.split('"')
    return len(parts) % 2 == 1 and not any(part == "" or part[-1].isspace() for part in parts[1::2])


def main():
    functions = declared()
    check(len(functions) > 30, "functions were found in the headers")
    sources = "".join(path.read_text() for path in [*HEADERS, *SOURCES])
    pages = {page: page.read_text() for page in sorted(ROOT.glob("man/*.[37]")) if not page.is_symlink()}
    for function, prototype in functions.items():
        page = ROOT / "man" / f"{function}.3"
        check(page.is_file(), f"man/{function}.3 exists")
        text = read(function)
        check(re.search(rf"^\.Nm {function}\b", section(text, "NAME"), re.M), f"man/{function}.3 names it in NAME")
        written = prototypes(text).get(function)
        check(written == prototype, f"SYNOPSIS of {function}: {written}, and in the header {prototype}")
    for link in ROOT.glob("man/*.3"):
        if link.is_symlink():
            check(link.stem in functions, f"{link.name}: there is no such function")
    for page, text in pages.items():
        if page.suffix == ".3":
            for name in re.findall(r"^\.Nm (\w+)", section(text, "NAME"), re.M):
                check(name in functions, f"{page.name}: {name} is in no header")
        for name in re.findall(r"\bEr (E\w+)", text):
            check(hasattr(errno, name), f"{page.name}: {name} is no error")
        for name, around in errors_of(text):
            check(re.search(rf"\b{name}\b", sources) or re.search(r"\bXr \w+ 2", around), f"{page.name}: {name} comes from nowhere")
        for name in re.findall(r"\b(?:Fn|Xr) (poise_\w+)", text):
            known = name in functions or any((ROOT / "man").glob(f"{name}.[37]")) or "binding" in text
            check(known, f"{page.name}: there is no {name}")
    for function, errors in returned().items():
        if function in functions:
            text = read(function)
            listed = {name for name, _ in errors_of(text)}
            check(errors <= listed, f"{function} returns {errors - listed}, which its page does not list")
    for header in LISTING_ERRORS:
        listed = section(read(f"poise_{header}"), "ERRORS")
        for name in sorted(set(re.findall(r"-(E[A-Z]+)\b", (ROOT / f"include/poise/{header}.h").read_text())) - {"EINTR"}):
            check(f"Er {name}" in listed, f"{header}.h lists {name}, and poise_{header}.3 does not")
    if shutil.which("mandoc"):
        result = subprocess.run(["mandoc", "-Tlint", *map(str, pages)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True, cwd=ROOT)
        strange = [line for line in result.stdout.splitlines() if "referenced manual not found" not in line]
        check(not strange, "mandoc -Tlint:\n" + "\n".join(strange))
        for page in pages:
            for line in rendered(page):
                check(quotes_match(line), f"{page.name}: quotes: {line.strip()}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
