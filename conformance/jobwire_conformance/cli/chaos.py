"""The command ``chaos``, which is in ``endurance/chaos`` of a checkout."""

from __future__ import annotations

import argparse

from jobwire_conformance.cli import endurance

HELP = "a mixed fleet under kill -9, cuts and restarts"


def configure(parser: argparse.ArgumentParser) -> None:
    endurance.configure("chaos", parser)


def run(options: argparse.Namespace) -> int:
    status: int = endurance.load("chaos").main(options)
    return status
