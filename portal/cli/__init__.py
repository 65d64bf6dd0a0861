"""The `codemode` command line. Heavy modules are imported only by the commands that need them."""

from portal.cli.app import main

__all__ = ["main"]
