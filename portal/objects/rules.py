"""The rules of policies and groups, in Cloudflare's JSON: an object with one member, the selector, and its parameters.

`{"email": {"email": "ada@example.com"}}`. The selectors are those of Cloudflare Access, by the same names. Other
names or members are errors that name the place.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)

MAX_TEXT = 2048


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address or CIDR block") from None
    return value


Network = Annotated[str, Field(max_length=64), AfterValidator(_network)]
Country = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]$")]
HttpsUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$", max_length=MAX_TEXT)]


class Empty(_Part):
    """Parameters of a selector that needs none."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ById(_Part):
    id: Text


class EmailIs(_Part):
    email: Text


class DomainIs(_Part):
    domain: Text

    @field_validator("domain")
    @classmethod
    def _without_at(cls, value: str) -> str:
        return value.removeprefix("@").lower()


class AddressIn(_Part):
    ip: Network


class CountryIs(_Part):
    country_code: Country


class AuthMethodIs(_Part):
    auth_method: Text


class OfProvider(_Part):
    """Parameters of a selector that only one identity provider can answer."""

    identity_provider_id: Text


class ClaimIs(OfProvider):
    claim_name: Text
    claim_value: Annotated[str, Field(max_length=MAX_TEXT)]


class AttributeIs(OfProvider):
    attribute_name: Text
    attribute_value: Annotated[str, Field(max_length=MAX_TEXT)]


class GroupId(OfProvider):
    id: Text


class GroupName(OfProvider):
    name: Text


class GroupEmail(OfProvider):
    email: Text


class Organization(OfProvider):
    name: Text
    team: Text | None = None


class ContextIs(OfProvider):
    id: Text
    ac_id: Text


class TokenIs(_Part):
    token_id: Text


class CommonNameIs(_Part):
    common_name: Text


class PostureIs(_Part):
    integration_uid: Text
    account_id: str | None = None


class RiskIn(_Part):
    user_risk_score: Annotated[list[Literal["low", "medium", "high", "unscored"]], Field(min_length=1)]


class EvaluatedBy(_Part):
    evaluate_url: HttpsUrl
    keys_url: HttpsUrl


class LinkedApp(_Part):
    app_uid: Text


class AccountMember(_Part):
    account_id: str = ""


class _Rule(_Part):
    """A rule has exactly one member, which names its selector."""

    @property
    def selector(self) -> str:
        name = next(iter(type(self).model_fields))
        return type(self).model_fields[name].alias or name

    @property
    def parameters(self) -> object:
        """The parameters of the selector: a value of one of the classes above."""
        return getattr(self, next(iter(type(self).model_fields)))


class Everyone(_Rule):
    everyone: Empty


class Email(_Rule):
    email: EmailIs


class EmailDomain(_Rule):
    email_domain: DomainIs


class EmailList(_Rule):
    email_list: ById


class InGroup(_Rule):
    group: ById


class Ip(_Rule):
    ip: AddressIn


class IpList(_Rule):
    ip_list: ById


class Geo(_Rule):
    geo: CountryIs


class LoginMethod(_Rule):
    login_method: ById


class AuthMethod(_Rule):
    auth_method: AuthMethodIs


class OidcClaim(_Rule):
    oidc: ClaimIs


class GitHubOrganization(_Rule):
    github_organization: Organization = Field(alias="github-organization")


class AzureGroup(_Rule):
    azure_ad: GroupId = Field(alias="azureAD")


class OktaGroup(_Rule):
    okta: GroupName


class GSuiteGroup(_Rule):
    gsuite: GroupEmail


class SamlGroup(_Rule):
    saml: AttributeIs


class AuthContext(_Rule):
    auth_context: ContextIs


class ServiceToken(_Rule):
    service_token: TokenIs


class AnyValidServiceToken(_Rule):
    any_valid_service_token: Empty


class CommonName(_Rule):
    common_name: CommonNameIs


class Certificate(_Rule):
    certificate: Empty


class DevicePosture(_Rule):
    device_posture: PostureIs


class UserRiskScore(_Rule):
    user_risk_score: RiskIn


class ExternalEvaluation(_Rule):
    external_evaluation: EvaluatedBy


class LinkedAppToken(_Rule):
    linked_app_token: LinkedApp


class CloudflareAccountMember(_Rule):
    cloudflare_account_member: AccountMember


def _without_nulls(value: object) -> object:
    """A rule without the selectors that are null: some programs write every selector, and null for all but one."""
    return {name: one for name, one in value.items() if one is not None} if isinstance(value, dict) else value


def _selector_of(value: object, info: ValidationInfo | None = None) -> str | None:
    """The selector of a rule, which is its one member, or None if the value is no rule."""
    if isinstance(value, _Rule):
        return value.selector
    if isinstance(value, dict) and len(value) == 1:
        name = next(iter(value))
        return name if name in SELECTORS else None
    return None


SELECTORS = (
    *("everyone", "email", "email_domain", "email_list", "group", "ip", "ip_list", "geo", "login_method"),
    *("auth_method", "oidc", "github-organization", "azureAD", "okta", "gsuite", "saml", "auth_context"),
    *("service_token", "any_valid_service_token", "common_name", "certificate", "device_posture"),
    *("user_risk_score", "external_evaluation", "linked_app_token", "cloudflare_account_member"),
)
"""Every selector, by the name it has in JSON."""

Rule = Annotated[
    Annotated[Everyone, Tag("everyone")]
    | Annotated[Email, Tag("email")]
    | Annotated[EmailDomain, Tag("email_domain")]
    | Annotated[EmailList, Tag("email_list")]
    | Annotated[InGroup, Tag("group")]
    | Annotated[Ip, Tag("ip")]
    | Annotated[IpList, Tag("ip_list")]
    | Annotated[Geo, Tag("geo")]
    | Annotated[LoginMethod, Tag("login_method")]
    | Annotated[AuthMethod, Tag("auth_method")]
    | Annotated[OidcClaim, Tag("oidc")]
    | Annotated[GitHubOrganization, Tag("github-organization")]
    | Annotated[AzureGroup, Tag("azureAD")]
    | Annotated[OktaGroup, Tag("okta")]
    | Annotated[GSuiteGroup, Tag("gsuite")]
    | Annotated[SamlGroup, Tag("saml")]
    | Annotated[AuthContext, Tag("auth_context")]
    | Annotated[ServiceToken, Tag("service_token")]
    | Annotated[AnyValidServiceToken, Tag("any_valid_service_token")]
    | Annotated[CommonName, Tag("common_name")]
    | Annotated[Certificate, Tag("certificate")]
    | Annotated[DevicePosture, Tag("device_posture")]
    | Annotated[UserRiskScore, Tag("user_risk_score")]
    | Annotated[ExternalEvaluation, Tag("external_evaluation")]
    | Annotated[LinkedAppToken, Tag("linked_app_token")]
    | Annotated[CloudflareAccountMember, Tag("cloudflare_account_member")],
    Discriminator(
        _selector_of,
        custom_error_type="selector",
        custom_error_message="must be an object with one member, a selector: " + ", ".join(SELECTORS),
    ),
    BeforeValidator(_without_nulls),
]
