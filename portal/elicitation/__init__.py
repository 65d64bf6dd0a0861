"""Logging in to upstream servers in the browser: the link that an agent shows, and the page that it leads to."""

from portal.elicitation.choices import Choices

__all__ = ["Choices"]
