"""The log of a process that ``jobwire`` runs: to stderr, as text or JSON, unless the application has set up its own."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobwire.cli.common import USAGE, CliError

__all__ = ["LEVELS", "JsonFormatter", "set_up_logging"]

LEVELS = ("debug", "info", "warning", "error", "critical")
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, ``exception``, the fields of ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; values that JSON cannot say by their ``repr``."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        entry |= {name: value for name, value in vars(record).items() if name not in _ORDINARY and name not in entry}
        return json.dumps(entry, default=repr)


def set_up_logging(*, level: str | None = None, style: str = "text", config: str | None = None) -> None:
    """Log to stderr, unless the application has handlers of its own: then it decides.

    ``config`` names a file for ``logging.config``, which wins over both: a dictionary as ``.json`` or ``.toml``, else
    an ini file. Raises ``CliError`` where it cannot be used.
    """
    if config is not None:
        _configure(Path(config))
        return
    root = logging.getLogger()
    wanted = logging.INFO if level is None else getattr(logging, level.upper())
    if root.handlers:
        if level is not None:
            logging.getLogger("jobwire").setLevel(wanted)
        return
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter() if style == "json" else logging.Formatter(_TEXT)
    handler.setFormatter(formatter)
    root.addHandler(handler)
    # An application that has set a level, and no handler, means it.
    root.setLevel(wanted if level is not None or root.level == logging.WARNING else root.level)


_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def _configure(path: Path) -> None:
    try:
        if path.suffix not in (".json", ".toml"):
            logging.config.fileConfig(path, disable_existing_loggers=False)
            return
        text = path.read_text(encoding="utf-8")
        settings = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **settings})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CliError(f"--log-config {path}: {type(error).__name__}: {error}", USAGE) from error
