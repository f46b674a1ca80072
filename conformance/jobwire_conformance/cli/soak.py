"""The command ``soak``, which is in ``endurance/soak`` of a checkout."""

from __future__ import annotations

import argparse

from jobwire_conformance.cli import endurance

HELP = "a mixed fleet for an hour: is memory flat?"


def configure(parser: argparse.ArgumentParser) -> None:
    endurance.configure("soak", parser)


def run(options: argparse.Namespace) -> int:
    status: int = endurance.load("soak").main(options)
    return status
