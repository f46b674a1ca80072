"""Build all optional compiled code in place: ``python -m jobwire.build``.

Needs a C compiler and Python's headers, nothing else. ``--remove`` takes it away again. Without it everything works,
and is slower (docs/PERFORMANCE.md).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from jobwire.sereal import build as compiler

__all__ = ["main"]

_FOLDERS = tuple(Path(__file__).parent / name for name in ("sereal", "wire"))


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 where all went well."""
    parser = argparse.ArgumentParser(prog="python -m jobwire.build", description=__doc__)
    parser.add_argument("--remove", action="store_true", help="delete what was built")
    if parser.parse_args(arguments).remove:
        for folder in _FOLDERS:
            compiler.target(folder).unlink(missing_ok=True)
        return 0
    try:
        for folder in _FOLDERS:
            print(compiler.build(folder, source=folder / "_speedups.c"))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"not built: {error}; jobwire works without", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
