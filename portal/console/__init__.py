"""The console: what administrators see and do, on pages. Its chapter is `README.md`."""

from portal.console.console import CONSOLE_FORMS, AdminConsole
from portal.console.visit import ConsoleRole

__all__ = ["CONSOLE_FORMS", "AdminConsole", "ConsoleRole"]
