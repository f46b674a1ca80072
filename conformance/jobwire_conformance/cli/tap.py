"""The command ``tap``, as in ``jobwire tap``."""

from __future__ import annotations

import argparse

from jobwire_conformance.tap.command import main
from jobwire_conformance.tap.options import HELP
from jobwire_conformance.tap.options import __doc__ as about
from jobwire_conformance.tap.options import configure as add_options

__all__ = ["HELP", "configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = about
    add_options(parser)


def run(options: argparse.Namespace) -> int:
    return main(options)
