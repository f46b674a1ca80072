"""Build the optional compiled code of the codec in place: ``python -m jobwire.sereal.build``.

Needs a C compiler and Python's headers, nothing else. ``--remove`` takes it away again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["build", "main", "target"]

HERE = Path(__file__).parent


def target(directory: Path = HERE) -> Path:
    """Return the file that the import system of this Python looks for."""
    return directory / f"_speedups{sysconfig.get_config_var('EXT_SUFFIX')}"


def build(directory: Path = HERE, extra: tuple[str, ...] = (), *, source: Path = HERE / "_speedups.c") -> Path:
    """Compile ``source`` into ``directory``; ``subprocess.CalledProcessError`` where that fails."""
    linker = shlex.split(sysconfig.get_config_var("LDSHARED") or "cc -shared")
    flags = shlex.split(f"{sysconfig.get_config_var('CFLAGS') or ''} {sysconfig.get_config_var('CCSHARED') or '-fPIC'}")
    out = target(directory)
    command = [
        *linker,
        *flags,
        "-O3",
        *extra,
        f"-I{sysconfig.get_path('include')}",
        str(source),
        "-o",
        str(out),
    ]
    subprocess.run(command, check=True)  # noqa: S603 - the compiler that built this Python, no shell
    return out


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 on success."""
    parser = argparse.ArgumentParser(prog="python -m jobwire.sereal.build", description=__doc__)
    parser.add_argument("--remove", action="store_true", help="delete what was built")
    if parser.parse_args(arguments).remove:
        target().unlink(missing_ok=True)
        return 0
    try:
        print(build())
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"not built: {error}; jobwire.sereal works without", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
