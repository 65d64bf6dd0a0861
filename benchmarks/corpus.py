"""What the search benchmarks run over: 2,747 operations of a large API, eight servers that run, and long tasks."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from benchmarks.cases import Unavailable
from codemode import Catalog
from tests.corpus import cloudflare
from tests.corpus.real_servers import demo_servers, published_servers
from tests.corpus.retrieval import MAX_CHARS, AbsentSet, foreign_set

SERVER = cloudflare.SERVER
_TASKS = (
    "I am moving the website of our shop to another host this weekend and I need some help. Please list all DNS "
    "records of our domain first, then change the address of the main record, and make a new one for the mail server. "
    "When that is done, could you also empty the cache, so that nobody sees the old pages any more on Monday morning?",
    "Our team had an incident last night: somebody tried thousands of passwords against the login page. Could you "
    "show me which addresses the requests came from, block the worst of them for a week, and tell me whether a rule "
    "that limits how often one visitor may ask is on already? If there is none, please make one that allows ten "
    "requests a minute.",
    "We want to show short films of our products on the front page. Please upload the three files that I have put "
    "into the storage bucket, wait until they are ready to play, and give me the code to embed each one. I would also "
    "like to know how many minutes people have watched in the past month, and what storing all of it is going to cost "
    "us.",
    "A new colleague begins on Tuesday and looks after our certificates from then on. Please invite her to the "
    "account with her work address, give her a role that may read everything but change only certificates, and send "
    "me the list of all certificates that expire within ninety days, together with the names of the hosts for which "
    "they were made.",
    "I would like to run a small program at the edge that greets visitors in their own language. Please create a "
    "script with the text from my notes, put it on the route of the blog only, store the greetings as keys and values "
    "beside it, and run it every night at three as well, so that the table of greetings is never older than a single "
    "day for anyone.",
    "The accountant asks what we paid last quarter and for which products, so please find all invoices of these "
    "months, add up what they say for each subscription, and tell me which plan every one of our zones is on. "
    "Afterwards make a notification that goes to finance by mail whenever the usage of a product grows beyond what we "
    "have planned for it.",
)


def catalog() -> Catalog:
    """A new catalog of the operations."""
    return Catalog.build([cloudflare.server()])


def real_servers() -> Catalog:
    """The demo's servers and five published ones. Raises Unavailable where those cannot be had."""

    async def listed() -> Catalog:
        with tempfile.TemporaryDirectory() as folder:
            return Catalog.build([*await published_servers(Path(folder)), *await demo_servers()])

    try:
        return asyncio.run(listed())
    except pytest.skip.Exception as error:
        raise Unavailable(str(error)) from error


def tasks_of_300() -> list[str]:
    """Tasks of 300 characters: those of StableToolBench, or, where they are absent, some that were written for this."""
    try:
        texts = [query.text for query in foreign_set("stabletoolbench").queries]
    except AbsentSet:
        texts = list(_TASKS)
    return [text[:MAX_CHARS] for text in texts if len(text) >= MAX_CHARS]
