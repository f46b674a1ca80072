"""The commands that are no part of the wheel: ``endurance/`` of a checkout, loaded when one of them is asked for."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

from jobwire_conformance.peers.servers import EnvironmentFault

__all__ = ["configure", "load"]


def load(name: str) -> ModuleType:
    """``endurance.<name>.command``. Raises :class:`EnvironmentFault` where there is no checkout."""
    try:
        return import_module(f"endurance.{name}.command")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("endurance"):
            raise
        raise EnvironmentFault(
            f"{name} is not part of the installed package: it is in the folder endurance/ of jobwire's sources; "
            "from a checkout, pip install -e '.[conformance]' and run it there"
        ) from None


def configure(name: str, parser: argparse.ArgumentParser) -> None:
    """The description and the options that the command gives itself."""
    command = load(name)
    parser.description = command.__doc__
    command.configure(parser)
