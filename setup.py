"""The packages and the compiled code of the build; pyproject.toml says all else.

The compiled code is optional: where it cannot be built, pip installs plain Python, which does the same work more slowly
(``jobwire doctor`` says which is in use). ``JOBWIRE_COMPILED=required`` makes that an error, for whoever builds wheels;
``JOBWIRE_COMPILED=no`` leaves it out.
"""

import os
import re
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup

SUITE = "jobwire_conformance"
DATA = ("cases", "expected", "golden", "stacks")
VERSION = re.findall(r'^__version__ = "(.+)"$', Path("jobwire/version.py").read_text(), re.MULTILINE)[0]


def compiled() -> list[Extension]:
    """The extensions that this Python takes.

    PyPy is faster without. A free-threaded Python gets none: another thread could change a container while it is
    written, and what guards against that today is the interpreter's lock.
    """
    choice = os.environ.get("JOBWIRE_COMPILED", "optional")
    if choice not in ("optional", "required", "no"):
        raise SystemExit(f"JOBWIRE_COMPILED={choice}: say optional, required or no")
    if choice == "no" or sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return []
    return [
        Extension(
            f"jobwire.{part}._speedups",
            [f"jobwire/{part}/_speedups.c"],
            extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
            # jobwire.fast leaves alone what was built from another release.
            define_macros=[("JOBWIRE_VERSION", VERSION)],
            depends=["jobwire/version.py"],
            optional=choice == "optional",
        )
        for part in ("sereal", "wire")
    ]


setup(
    version=VERSION,
    packages=[
        *find_packages(include=["jobwire", "jobwire.*"]),
        *find_packages("conformance"),
        *(f"{SUITE}.data.{folder}" for folder in DATA),
    ],
    # The suite's data stands beside its package in a checkout, and inside it when installed.
    package_dir={
        SUITE: f"conformance/{SUITE}",
        **{f"{SUITE}.data.{folder}": f"conformance/{folder}" for folder in DATA},
    },
    package_data={
        "jobwire": ["py.typed", "*/*.c", "cli/web/page/*"],
        f"{SUITE}.report": ["assets/*"],
        **{f"{SUITE}.data.{folder}": ["**/*.toml", "**/*.jsonl"] for folder in DATA},
    },
    include_package_data=False,
    ext_modules=compiled(),
)
