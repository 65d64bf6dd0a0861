"""Output types of tools that declare none, learned from their results."""

from portal.learning.learning import Learning

__all__ = ["Learning"]
