"""Sets up logging once: lines for people on a terminal, one JSON object a line everywhere else."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import orjson
import structlog
from structlog.typing import Processor

OUR_LOGGERS = ("codemode", "portal", "sandbox", "stubs")


def configure_logging(*, level: str, terminal: bool, stream: TextIO = sys.stderr) -> None:
    """Send structlog and the standard library's loggers to `stream`, in one form."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
        structlog.processors.EventRenamer("event"),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty()) if terminal else structlog.processors.JSONRenderer(_json)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.processors.format_exc_info],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Below warnings, libraries repeat what the portal logs itself, or log arguments and results.
    root.setLevel(max(number, logging.WARNING))
    # It warns of each request that it cannot read: strangers would write the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(number)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def set_level(level: str) -> None:
    """Set the level of our own loggers."""
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.getLevelNamesMapping()[level.upper()])


def _json(record: object, **_: object) -> str:
    return orjson.dumps(record, default=repr).decode()
