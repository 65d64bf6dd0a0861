"""The `codemode` command line. Nothing heavy is imported until a command needs it."""

from portal.cli.app import main

__all__ = ["main"]
