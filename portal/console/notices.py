"""What a page says after something was done. Only these sentences are said: a URL names one by its key, and so nobody
can put words of their own on a page by a link."""

from __future__ import annotations

from collections.abc import Mapping

NOTICES: Mapping[str, str] = {
    "saved": "Saved. It is in force.",
    "made": "Made.",
    "removed": "Removed.",
    "added-server": "The server is added. The portal is connecting to it.",
    "added-portal": "The portal is added. Give it servers, and policies that let people in.",
    "attached": "The server is added to the portal.",
    "detached": "The server is no longer in the portal.",
    "synced": "The tools and prompts were read again.",
    "sync-failed": "The portal tried just now. What stands in the way is below.",
    "approved": "Approved. Agents see it from their next request on.",
    "not-listed": "The server lists nothing of this name now.",
    "enabled": "Enabled. Agents see it from their next request on.",
    "disabled": "Disabled. No agent sees it any more.",
    "ended": "Ended.",
    "undone": "Undone.",
}
