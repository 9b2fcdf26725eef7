"""On what the numbers were measured: stands in the head of each CSV, and under each published table."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
VERSION = re.compile(r"\d+(\.\d+)+\S*")


def output_of(*command: str) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=30,
            cwd=TOP,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def version_of(*command: str) -> str:
    for word in reversed(output_of(*command).partition("\n")[0].replace("(", " ").replace(")", " ").split()):
        if VERSION.match(word):
            return word
    return ""


def package(name: str) -> str:
    return output_of("dpkg-query", "-W", "-f", "${Version}", name)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return re.sub(r"\s+", " ", line.partition(":")[2]).strip()
    return platform.machine()


def mio() -> str:
    lock = TOP / "bench" / "mio" / "Cargo.lock"
    found = re.search(r'name = "mio"\nversion = "([^"]+)"', lock.read_text()) if lock.is_file() else None
    return found[1] if found else ""


def sysroot() -> Path:
    return Path(os.environ.get("POISE_TOOLCHAIN", TOP / ".toolchain")) / "sysroot" / "version"


def hosts() -> dict[str, str]:
    """The version of each wasmtime of tools/setup, from the folder's file."""
    found = {}
    for folder in sorted(sysroot().parent.parent.glob("wasmtime-*")):
        if (folder / "version").is_file():
            found[folder.name] = (folder / "version").read_text().strip()
    return found


def describe(table_platform: str) -> dict[str, str]:
    """What is not there has no line."""
    count = len(os.sched_getaffinity(0))
    header = {
        "machine": f"{processor()}, {count} processor{'s' * (count != 1)}",
        "date": datetime.date.today().isoformat(),
        "poise": output_of("git", "describe", "--always", "--dirty", "--exclude", "*"),
        "kernel": f"{platform.system()} {platform.release()}",
        "mio": mio(),
    }
    if table_platform == "linux":
        header["gcc"] = version_of("cc", "--version")
        for name, owner in (("libev", "libev-dev"), ("libevent", "libevent-dev"), ("libuv", "libuv1-dev")):
            header[name] = package(owner)
    else:
        header["clang"] = version_of("clang-19", "--version")
        header["wasi-libc"] = sysroot().read_text().strip() if sysroot().is_file() else ""
        header.update(hosts())
    return {key: value for key, value in header.items() if value}
