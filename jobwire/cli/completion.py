"""Print a script that completes the command line in a shell (extra `completion`).

jobwire completion bash > ~/.local/share/bash-completion/completions/jobwire
jobwire completion zsh > "${fpath[1]}/_jobwire"
"""

from __future__ import annotations

import argparse

from jobwire.cli.common import OK, USAGE, CliError

HELP = "print a script that completes the command line"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh"))


def run(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ModuleNotFoundError:
        raise CliError("this needs the extra completion: pip install 'jobwire[completion]'", USAGE) from None
    from jobwire.cli.main import build_parser

    print(shtab.complete(build_parser(), options.shell))
    return OK
