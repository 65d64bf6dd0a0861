"""The facts about callers that a portal has a source for, as a value from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """`identity_providers` are types by id (`oidc`, `github`, `azureAD`, `okta`, `google-apps`, `saml`, `onetimepin`,
    `local`); `certificates` is whether a configured proxy passes client certificates on. The others are ids, or whether
    a source is configured.
    """

    identity_providers: Mapping[str, str] = field(default_factory=dict)
    service_tokens: frozenset[str] = frozenset()
    linked_apps: frozenset[str] = frozenset()
    certificates: bool = False
    geo: bool = False
    device_posture: frozenset[str] = frozenset()
    user_risk: bool = False
    external_evaluation: bool = False


NO_SOURCES = Sources()
