"""What a page says after something was done. Only these sentences are said: a URL names one by its key, and so nobody
can put words of their own on a page by a link."""

from __future__ import annotations

from collections.abc import Mapping

NOTICES: Mapping[str, str] = {
    "saved": "Saved. It is in force.",
    "made": "Made.",
    "removed": "Removed.",
    "added-server": "The server is added. The portal is connecting to it.",
    "synced": "The tools and prompts were read again.",
    "enabled": "Enabled. Agents see it from their next request on.",
    "disabled": "Disabled. No agent sees it any more.",
    "ended": "Ended.",
    "run-ended": "The program is being ended. Its agent reads that an administrator did it.",
    "undone": "Undone.",
}
