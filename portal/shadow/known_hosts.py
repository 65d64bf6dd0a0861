"""Public MCP servers by their endpoints: facts only, each with where it was read.

That is a page of the vendor or of a client, or a public list of official servers.

A host that serves more than MCP is here with a path, because the host alone says nothing. A host of nothing but MCP is
here without one. Many of these are found by `mcp` in their names as well; they are here for the vendor's name.
"""

from __future__ import annotations

from dataclasses import dataclass

CLAUDE_CODE = "https://docs.anthropic.com/en/docs/claude-code/mcp"
CLOUDFLARE = "https://developers.cloudflare.com/agents/model-context-protocol/mcp-servers-for-cloudflare"
CONTINUE = "https://docs.continue.dev/customize/deep-dives/mcp-examples"
GITHUB = "https://docs.github.com/copilot/how-tos/context/model-context-protocol/using-the-github-mcp-server"
MICROSOFT = "https://learn.microsoft.com/training/support/mcp-developer-reference"
REMOTE_LIST = "https://github.com/jaw9c/awesome-remote-mcp-servers"


@dataclass(frozen=True, slots=True)
class KnownEndpoint:
    """A published endpoint: its vendor, its host, the path that its URLs begin with ("" for a host of MCP alone)."""

    vendor: str
    host: str
    path: str
    source: str


KNOWN_ENDPOINTS = tuple(
    KnownEndpoint(vendor, *place.partition("/")[::2], source)
    for source, listed in (
        (
            CLAUDE_CODE,
            (
                ("Asana", "mcp.asana.com"),
                ("Atlassian", "mcp.atlassian.com"),
                ("Box", "mcp.box.com"),
                ("Daloopa", "mcp.daloopa.com"),
                ("Fireflies", "api.fireflies.ai/mcp"),
                ("HubSpot", "mcp.hubspot.com"),
                ("Hugging Face", "huggingface.co/mcp"),
                ("Intercom", "mcp.intercom.com"),
                ("Jam", "mcp.jam.dev"),
                ("Linear", "mcp.linear.app"),
                ("monday.com", "mcp.monday.com"),
                ("Notion", "mcp.notion.com"),
                ("PayPal", "mcp.paypal.com"),
                ("Plaid", "api.dashboard.plaid.com/mcp"),
                ("Sentry", "mcp.sentry.dev"),
                ("Socket", "mcp.socket.dev"),
                ("Square", "mcp.squareup.com"),
                ("Stripe", "mcp.stripe.com"),
            ),
        ),
        (
            CLOUDFLARE,
            (
                ("Cloudflare", "mcp.cloudflare.com"),
                ("Cloudflare", "docs.mcp.cloudflare.com"),
                ("Cloudflare", "bindings.mcp.cloudflare.com"),
                ("Cloudflare", "builds.mcp.cloudflare.com"),
                ("Cloudflare", "observability.mcp.cloudflare.com"),
            ),
        ),
        (CONTINUE, (("PostHog", "mcp.posthog.com"), ("Supabase", "mcp.supabase.com"))),
        (GITHUB, (("GitHub", "api.githubcopilot.com/mcp"),)),
        (MICROSOFT, (("Microsoft Learn", "learn.microsoft.com/api/mcp"),)),
        (
            REMOTE_LIST,
            (
                ("Apify", "mcp.apify.com"),
                ("Attio", "mcp.attio.com"),
                ("AWS", "knowledge-mcp.global.api.aws"),
                ("Buildkite", "mcp.buildkite.com"),
                ("Canva", "mcp.canva.com"),
                ("Close", "mcp.close.com"),
                ("Cloudinary", "asset-management.mcp.cloudinary.com"),
                ("Composio", "rube.app/mcp"),
                ("DeepWiki", "mcp.deepwiki.com"),
                ("Egnyte", "mcp-server.egnyte.com"),
                ("Exa", "mcp.exa.ai"),
                ("Google BigQuery", "bigquery.googleapis.com/mcp"),
                ("Google Compute Engine", "compute.googleapis.com/mcp"),
                ("Google Kubernetes Engine", "container.googleapis.com/mcp"),
                ("Google Maps", "mapstools.googleapis.com/mcp"),
                ("HubSpot", "app.hubspot.com/mcp"),
                ("Hugging Face", "hf.co/mcp"),
                ("Neon", "mcp.neon.tech"),
                ("Netlify", "netlify-mcp.netlify.app"),
                ("Port", "mcp.port.io"),
                ("Prisma", "mcp.prisma.io"),
                ("Ramp", "ramp-mcp-remote.ramp.com"),
                ("Semgrep", "mcp.semgrep.ai"),
                ("Stack Overflow", "mcp.stackoverflow.com"),
                ("Telnyx", "api.telnyx.com/v2/mcp"),
                ("ThoughtSpot", "agent.thoughtspot.app/mcp"),
                ("Vercel", "mcp.vercel.com"),
                ("Webflow", "mcp.webflow.com"),
                ("Wix", "mcp.wix.com"),
                ("Zapier", "mcp.zapier.com"),
            ),
        ),
    )
    for vendor, place in listed
)

_BY_HOST = {endpoint.host: endpoint for endpoint in KNOWN_ENDPOINTS}


def known_endpoint(host: str, path: str | None) -> KnownEndpoint | None:
    """The published endpoint that a request with this host and path goes to; None if there is none."""
    endpoint = _BY_HOST.get(host)
    if endpoint is None or not endpoint.path:
        return endpoint
    wanted = f"/{endpoint.path}"
    return endpoint if path is not None and (path == wanted or path.startswith(f"{wanted}/")) else None
