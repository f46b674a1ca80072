"""The compiled code under AddressSanitizer and UndefinedBehaviorSanitizer, beside the plain code.

    python tests/fuzz/sanitized.py --count 10000000      # the long run; docs/SEREAL.md has its totals

Builds the compiled code with both sanitizers into a scratch copy of the package and runs ``side_by_side.py`` there,
with Python's own allocator off and its lists of free objects full: both hide that something is used after it was freed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import jobwire

__all__ = ["build", "command", "environment", "missing"]

ROOT = Path(__file__).parents[2]
PARTS = ("sereal", "wire")
FLAGS = (
    "-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-include", str(Path(__file__).with_name("no_free_lists.h")),
)  # fmt: skip
Change = Callable[[str], str]


def _runtime() -> str | None:
    """The library that must be loaded before Python itself; None where the compiler has none."""
    cc = (sysconfig.get_config_var("LDSHARED") or "cc").split()[0]
    if shutil.which(cc) is None:
        return None
    asked = subprocess.run([cc, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    path = asked.stdout.strip()
    return path if os.path.isabs(path) and os.path.exists(path) else None


def missing() -> str | None:
    """Why there is no such run here; None where there is one."""
    if sys.platform != "linux":
        return "the sanitizers are used on Linux alone"
    return None if _runtime() else "there is no C compiler with AddressSanitizer here (gcc and its libasan)"


def build(scratch: Path, *, flags: tuple[str, ...] = FLAGS, change: Change = str) -> Path:
    """A copy of the package in ``scratch`` with its compiled code; ``change`` is applied to the Sereal codec first."""
    package = scratch / "jobwire"
    shutil.copytree(ROOT / "jobwire", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for part in PARTS:
        source = package / part / "_speedups.c"
        if part == "sereal":
            source.write_text(change(source.read_text()))
        _compile(source, flags)
    return scratch


def _compile(source: Path, flags: tuple[str, ...]) -> None:
    """What setup.py does, with other flags."""
    asked = sysconfig.get_config_vars("LDSHARED", "CFLAGS", "CCSHARED", "EXT_SUFFIX")
    linker, cflags, shared, suffix = (str(value or "") for value in asked)
    target = source.with_name(f"_speedups{suffix}")
    define, include = f"-DJOBWIRE_VERSION={jobwire.__version__}", f"-I{sysconfig.get_path('include')}"
    words = [
        *shlex.split(f"{linker} {cflags} {shared}"),
        "-O3",
        *flags,
        define,
        include,
        str(source),
        "-o",
        str(target),
    ]
    subprocess.run(words, check=True)


def environment(scratch: Path, *, sanitized: bool = True) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.endswith("_PURE")}
    found |= {"PYTHONPATH": str(scratch), "PYTHONMALLOC": "malloc", "PYTHONDONTWRITEBYTECODE": "1"}
    if sanitized:
        found |= {
            "LD_PRELOAD": _runtime() or "",
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
    else:
        # What the C library keeps for its next answers would count as in use.
        found["GLIBC_TUNABLES"] = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
    return found


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("side_by_side.py")), *arguments]


def main(arguments: Sequence[str]) -> int:
    reason = missing()
    if reason is not None:
        print(f"LEFT OUT: {reason}", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory(prefix="jobwire-sanitized-") as folder:
        scratch = build(Path(folder))
        return subprocess.run(command(*arguments), env=environment(scratch), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
