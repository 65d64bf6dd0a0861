"""The console: what administrators see and do, on pages. Its chapter is `README.md`."""

from portal.console.console import CONSOLE_FORMS, AdminConsole
from portal.console.frame import CONSOLE_PATH
from portal.console.visit import ConsoleRole

__all__ = ["CONSOLE_FORMS", "CONSOLE_PATH", "AdminConsole", "ConsoleRole"]
