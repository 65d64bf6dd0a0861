"""Clients against a portal in the test's own process need the same `code` tool as the portal's tests."""

from tests.portal.conftest import code_tool, engine

__all__ = ["code_tool", "engine"]
