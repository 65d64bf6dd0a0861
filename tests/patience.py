"""How long a test waits for what must come.

It says nothing about speed: it turns a hang into a failure with a name, before pytest's own limit ends the test. A
machine that does ten things at once needs minutes for what takes a moment on a quiet one.
"""

from typing import Final

PATIENCE: Final = 240
"""Seconds."""
