"""Secrets and numbers drawn at random, each of a form that its vendor or state publishes. None is real."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

ALPHANUMERIC = string.ascii_letters + string.digits
HEXADECIMAL = "0123456789abcdef"


def drawn(source: random.Random, alphabet: str, count: int) -> str:
    return "".join(source.choices(alphabet, k=count))


SECRETS: dict[str, Callable[[random.Random], str]] = {
    "github": lambda source: "ghp_" + drawn(source, ALPHANUMERIC, 36),
    "gitlab": lambda source: "glpat-" + drawn(source, ALPHANUMERIC, 20),
    "azure": lambda source: drawn(source, ALPHANUMERIC, 3) + "8Q~" + drawn(source, ALPHANUMERIC, 34),
    "aws": lambda source: "AKIA" + drawn(source, string.ascii_uppercase + "234567", 16),
    "google": lambda source: "AIza" + drawn(source, ALPHANUMERIC, 35),
    "google, with a dash at its end": lambda source: "AIza" + drawn(source, ALPHANUMERIC, 34) + "-",
    "google client": lambda source: "GOCSPX-" + drawn(source, ALPHANUMERIC, 28),
    "openai": lambda source: "sk-proj-" + drawn(source, ALPHANUMERIC, 48),
    "openai, older": lambda source: "sk-" + drawn(source, ALPHANUMERIC, 48),
    "anthropic": lambda source: "sk-ant-api03-" + drawn(source, ALPHANUMERIC, 93) + "AA",
    "sourcegraph": lambda source: "sgp_" + drawn(source, HEXADECIMAL, 16) + "_" + drawn(source, HEXADECIMAL, 40),
    "stripe": lambda source: "sk_live_" + drawn(source, ALPHANUMERIC, 24),
    "telegram": lambda source: drawn(source, "123456789", 10) + ":AA" + drawn(source, ALPHANUMERIC, 33),
    "npm": lambda source: "npm_" + drawn(source, ALPHANUMERIC, 36),
    "hugging face": lambda source: "hf_" + drawn(source, string.ascii_letters, 34),
    "databricks": lambda source: "dapi" + drawn(source, HEXADECIMAL, 32),
    "slack": lambda source: (
        f"xoxb-{drawn(source, '123456789', 12)}-{drawn(source, '123456789', 13)}-{drawn(source, ALPHANUMERIC, 24)}"
    ),
    "tailscale": lambda source: f"tskey-auth-{drawn(source, ALPHANUMERIC, 16)}-{drawn(source, ALPHANUMERIC, 32)}",
}
"""What makes a secret, by its kind."""


def with_check_digit(digits: str) -> str:
    """The digits and the one after them that satisfies Luhn, by the rule as ISO/IEC 7812-1 words it."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def card(source: random.Random) -> str:
    prefix, length = source.choice(
        [("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("37", 15), ("36", 14), ("6011", 16), ("3530", 16)]
    )
    return with_check_digit(prefix + drawn(source, string.digits, length - 1 - len(prefix)))


def iban(source: random.Random) -> str:
    country, form = source.choice(
        [("DE", "d" * 18), ("GB", "llll" + "d" * 14), ("NL", "llll" + "d" * 10), ("NO", "d" * 11)]
    )
    rest = "".join(source.choice(string.digits if kind == "d" else string.ascii_uppercase) for kind in form)
    as_number = "".join(str(int(sign, 36)) for sign in rest + country + "00")
    return f"{country}{98 - int(as_number) % 97:02}{rest}"


def us_ssn(source: random.Random) -> str:
    area = source.choice([number for number in range(1, 900) if number != 666])
    return f"{area:03}-{source.randint(1, 99):02}-{source.randint(1, 9999):04}"
