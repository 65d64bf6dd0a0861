"""Output types learned from the results of tools that declare none."""

from portal.learning.learning import Learning

__all__ = ["Learning"]
