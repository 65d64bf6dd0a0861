"""What a page says after something was done. Only these sentences are said: a URL names one by its key, and so nobody
can put words of their own on a page by a link."""

from __future__ import annotations

from collections.abc import Mapping

NOTICES: Mapping[str, str] = {
    "saved": "Saved. It is in force.",
    "made": "Created.",
    "removed": "Removed.",
    "added-server": "The server is added. The portal is connecting to it.",
    "added-ready-server": "The server is added, and its tools are read.",
    "added-failed-server": "The server is added, but it does not work yet. What stands in the way is below: remove it "
    "and add it again, or go on and see to it later.",
    "added-portal": "The portal is added. Give it servers, and policies that let people in.",
    "server-attached": "The server is added to the portal.",
    "server-detached": "The server is no longer in the portal.",
    "synced": "The tools and prompts were read again.",
    "sync-failed": "The portal tried just now. What stands in the way is below.",
    "approved": "Approved. Agents see it from their next request on.",
    "not-listed": "The server lists nothing of this name now.",
    "enabled": "Enabled. Agents see it from their next request on.",
    "disabled": "Disabled. No agent sees it any more.",
    "turned-on": "Enabled. It is in force.",
    "turned-off": "Disabled. It is not asked any more.",
    "forgotten": "Forgotten. What they have read does not count any more.",
    "entry-on": "Switched on. It is looked for.",
    "entry-off": "Switched off. It is not looked for any more.",
    "as-at-first": "Restored: everything is on.",
    "uploaded": "Uploaded. These values are found from now on.",
    "job-on": "Enabled. It goes on where it stopped.",
    "job-off": "Disabled. It sends nothing.",
    "moved": "Moved. The order below is in force.",
    "ended": "Ended.",
    "ended-browser": "Signed out. The browser is refused from its next request on.",
    "ended-agent": "Ended. Its tokens are good no longer, and what it had running is stopped.",
    "gone-agent": "This agent has ended already.",
    "changed-role": "The role is changed. It holds from their next click on.",
    "run-ended": "The program is being ended. Its agent reads that an administrator did it.",
    "decided": "Your decision is kept.",
    "revoked": "Revoked. The next call is asked about again.",
    "undone": "Undone.",
    "refreshed": "Refreshed. It is valid for its whole duration from now on.",
    "rotated": "Rotated. The portal signs with a new key.",
    "attached": "Attached. It is in force.",
    "detached": "Detached. It does not hold here any more.",
    "added-items": "Added. Rules that name the list know it at once.",
}
