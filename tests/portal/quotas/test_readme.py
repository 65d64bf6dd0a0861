"""The chapter's examples: the document is one, and the error is what a client is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

from portal.config import parse_config
from portal.errors import OverQuota
from portal.quotas import CountedCall, Quota, Quotas

CHAPTER = (Path(__file__).resolve().parents[3] / "portal" / "quotas" / "README.md").read_text(encoding="utf-8")


def test_the_document_is_one_and_the_error_is_that_of_its_second_quota() -> None:
    document, error = (json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", CHAPTER, re.S | re.M))
    config = parse_config(document, env={})
    searches = Quota.of_section(config.portal.quotas[1])
    reason = searches.refusal(error["data"]["retryAfter"])
    over = OverQuota(reason, policy=searches.policy, seconds=error["data"]["retryAfter"])
    assert (over.code, over.message, over.data) == (error["code"], error["message"], error["data"]) and over.ran == "no"
    quotas = Quotas()
    quotas.apply(map(Quota.of_section, config.portal.quotas))
    call = CountedCall("ada", False, "", "tickets", "search")
    refused = [quotas.take(call) for _ in range(121)][-1]
    assert refused is not None and refused.quota.name == "Everybody"
    assert {(one.quota.name, one.calls) for one in quotas.used(9)} == {
        ("Everybody", 120),
        ("Searches", 120),
        ("Tickets", 120),
    }


def test_every_row_of_the_keys_is_one_of_the_section() -> None:
    named = re.findall(r"^\| (`[^|]*`) \| ", CHAPTER.partition("| key |")[2].partition("\n\n")[0], re.M)
    assert {name.strip("`") for row in named for name in row.split(", ")} == {
        *("name", "calls", "period", "per", "portals", "servers", "tools")
    }
