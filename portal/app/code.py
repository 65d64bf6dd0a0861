"""What code mode is made of: the limits of a run and the type checker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from codemode import HOW_TO_INSTALL_CHECKER, Checker
from portal.config import Config
from portal.errors import StartError
from sandbox import Limits

if TYPE_CHECKING:
    pass


def checker_for(config: Config, environment: Mapping[str, str] = os.environ) -> Checker:
    """What checks programs before they run. A portal that promises to check never starts without being able to."""
    checker, wanted = Checker(environment), config.portal.type_check
    if wanted == "off" or checker.compiler is not None:
        return checker
    missing = f"portal.typeCheck is `{wanted}`, but no type checker is installed"
    if wanted == "enforce":
        raise StartError(f"{missing}. Install one with: {HOW_TO_INSTALL_CHECKER}. Or set it to `warn`.")
    structlog.get_logger("codemode").warning("type_check_unavailable", reason=missing, fix=HOW_TO_INSTALL_CHECKER)
    return checker


def limits_of(config: Config) -> Limits:
    try:
        return Limits(**dict(config.portal.limits))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise StartError(f"The configured limits cannot be used: {error}") from error
