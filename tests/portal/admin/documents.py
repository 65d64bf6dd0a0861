"""A configuration document in which every section of ours has something, with a secret wherever there may be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.portal.state.databases import new_state

SECRET = "hunter2hunter2hunter2hunter2"
EVERYBODY: list[dict[str, Any]] = [{"everyone": {}}]


TEN_EACH: dict[str, Any] = {
    "id": "ten",
    "name": "Ten each",
    "decision": "allow",
    "include": EVERYBODY,
    "calls_per_run": 10,
    "approval_required": True,
    "approval_groups": [
        {
            "approvals_needed": 2,
            "email_addresses": ["ada@acme.example"],
            "email_list_uuid": "guests",
        }
    ],
    "approval_seconds": 900,
    "purpose_justification_required": True,
    "purpose_justification_prompt": "Which ticket?",
}


def full_document(folder: Path, url: str = "http://127.0.0.1:9/mcp", *, pin: bool = False) -> dict[str, Any]:
    """The document. Its one HTTP server is at `url`, and pinned if asked."""
    return {
        "mcpServers": {
            "docs": {
                "url": f"{url}?key={SECRET}",
                "headers": {"Authorization": f"Bearer {SECRET}"},
                "description": "All of it",
                "pin": pin,
                "labels": ["confidential"],
                "toolLabels": {"echo": ["+external"]},
            },
            "tool": {"command": "/nowhere/at/all", "args": ["--token", SECRET], "env": {"KEY": SECRET}},
        },
        "portal": {
            "name": "Everything",
            "instructions": "Look things up.",
            "host": "127.0.0.1",
            "port": 0,
            "path": "/mcp",
            "codeMode": "opt_in",
            "typeCheck": "off",
            "limits": {"cpuTime": 10},
            "runs": {"patience": 45},
            "logLevel": "info",
            "allowedHosts": ["portal.example.com"],
            "allowedOrigins": ["https://portal.example.com"],
            "learnedShapes": str(folder / "shapes.json"),
            "state": new_state(folder),
            "identity": _identity(),
            "credentialNotices": {"webhook": "https://hooks.example.com/" + SECRET, "secret": SECRET},
            "logs": {"keepDays": 20, "contents": {"calls": [{"server": "docs", "arguments": True}], "keepDays": 2}},
            "metrics": {"token": SECRET},
            "quotas": [
                {"name": "Everybody", "calls": 500, "period": 60, "per": ["person"]},
                {"name": "All", "calls": 9000, "period": 3600, "per": [], "servers": ["docs"]},
            ],
            "secureWebGateway": True,
            "gateway": {
                "rules": [
                    {"name": "No secrets", "action": "block", "traffic": 'any(dlp.profiles[*] in {"house"})'},
                    {"id": "deletes", "name": "No deletes", "action": "log", "traffic": 'mcp.tool.name == "delete"'},
                ]
            },
            "dlp": {
                "profiles": {
                    "house": {
                        "name": "Of the house",
                        "patterns": {"customer": "C-[0-9]{6}"},
                        "lists": {"names": [SECRET, "second name"]},
                    },
                    "personal": {"confidence": "high"},
                }
            },
            "dataFlow": {"rules": [{"name": "No leaks", "when": ["confidential"], "target": ["external"]}]},
            "exports": {"allowPrivate": True, "folders": [str(folder / "out")]},
        },
        "portals": {
            "team": {
                "name": "Team",
                "hostname": "team.example.com",
                "servers": [{"server_id": "docs", "updated_tools": [{"name": "echo", "alias": "say"}]}],
                "policies": [{"id": "team", "name": "Of the team", "decision": "allow", "include": EVERYBODY}],
                "toolPolicies": [TEN_EACH],
            }
        },
    }


def _identity() -> dict[str, Any]:
    asked = {"evaluate_url": f"https://judge.example.com/{SECRET}", "keys_url": f"https://u:{SECRET}@keys.example.com"}
    return {
        "policies": [
            {
                "id": "staff",
                "name": "Staff",
                "decision": "allow",
                "include": [
                    {"group": {"id": "engineers"}},
                    {"email_list": {"id": "guests"}},
                    {"login_method": {"id": "local"}},
                ],
            },
            {"id": "judged", "name": "Judged", "decision": "deny", "include": [{"external_evaluation": asked}]},
        ],
        "serverPolicies": {
            "docs": [{"id": "readers", "name": "Readers", "decision": "allow", "include": EVERYBODY}],
        },
        "toolPolicies": [
            {
                "id": "no-deletes",
                "name": "No deletes",
                "decision": "deny",
                "include": EVERYBODY,
                "tools": {"names": ["delete*"]},
            }
        ],
        "groups": [
            {"id": "engineers", "name": "Engineers", "include": [{"email_domain": {"domain": "acme.example"}}]},
        ],
        "lists": [{"id": "guests", "name": "Guests", "type": "EMAIL", "items": [{"value": "eve@partner.example"}]}],
        "contact": "ada@example.com",
        "organization": {"login_design": {"header_text": "Sign in with your staff account."}},
        "pin": True,
        "smtp": {"host": "mail.example.com", "sender": "portal@example.com", "username": "u", "password": SECRET},
        "oauth": {"grant": {"session_duration": "12h"}},
        "trustedProxies": ["10.0.0.0/8"],
        "posture": {"url": f"http://127.0.0.1:9/{SECRET}", "headers": {"X-Key": SECRET}, "every": 86_400},
        "externalEvaluation": True,
    }
