"""The rules of the predefined profiles, each with a title for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from portal.dlp.catalog import SecretCatalog
from portal.dlp.credentials import RULES as FORMS
from portal.dlp.expressions import compiler
from portal.dlp.identifiers import RULES_OF
from portal.dlp.names import CREDENTIALS, FINANCIAL, NATIONAL, PERSONAL

_LONGEST_TITLE = 200
_TITLES = {
    "named-secret": "A value beside a name that says secret",
    "url-password": "Password in a URL",
    "bearer-authorization": "Authorization header with a token",
    "basic-authorization": "Authorization header with a password",
    "private-key": "Private key",
    "card": "Payment card",
    "iban": "International bank account number (IBAN)",
    "us-ssn": "United States: social security number",
    "ca-sin": "Canada: social insurance number",
    "nl-bsn": "Netherlands: burgerservicenummer",
    "pl-pesel": "Poland: PESEL",
    "de-steuer-id": "Germany: tax identification number",
    "br-cpf": "Brazil: CPF",
    "in-aadhaar": "India: Aadhaar",
    "fr-nir": "France: NIR",
    "ch-ahv": "Switzerland: AHV number",
    "se-personnummer": "Sweden: personnummer",
    "be-national": "Belgium: national number",
    "cn-resident": "China: resident identity number",
    "es-dni": "Spain: DNI",
    "es-nie": "Spain: NIE",
    "it-codice-fiscale": "Italy: codice fiscale",
    "uk-nino": "United Kingdom: national insurance number",
    "fi-hetu": "Finland: henkilötunnus",
    "email": "E-mail address",
    "ip-address": "IP address",
    "phone": "Telephone number",
}


class PredefinedRule(NamedTuple):
    """A rule as findings name it, and what it is for people."""

    rule: str
    title: str


def predefined_rules(folder: Path) -> Mapping[str, Sequence[PredefinedRule]]:
    """The rules of each predefined profile in the order of their names. Takes as long as making a detector: see
    `Detector.made`.

    Raises:
        DetectionUnavailable: the extra is not installed, or the folder cannot be used.
    """
    compiler()
    titles = {rule: rule.replace("-", " ").capitalize() for rule in FORMS} | SecretCatalog(folder).titles
    rules = {CREDENTIALS: frozenset(titles)} | {
        profile: RULES_OF[profile] for profile in (FINANCIAL, NATIONAL, PERSONAL)
    }
    return {
        profile: [
            PredefinedRule(rule, (_TITLES.get(rule) or titles[rule])[:_LONGEST_TITLE]) for rule in sorted(of_profile)
        ]
        for profile, of_profile in rules.items()
    }
