"""Finds tools by what they do: BM25 over names, descriptions and parameters, in memory, one index a catalog.

Names are split at case, underscores and digits before they are indexed. A query is plain words, never query syntax.
Common words find their synonyms in names, at a lower weight; a word no tool has finds words one or two letters away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tantivy import (
    Document,
    Filter,
    Index,
    Occur,
    Query,
    SchemaBuilder,
    Searcher,
    TextAnalyzer,
    TextAnalyzerBuilder,
    Tokenizer,
)

from codemode.text import encodable

MAX_QUERY_CHARS = 300
MAX_QUERY_WORDS = 32
_MAX_TEXT_CHARS = 2_000
_MAX_PARAMETERS = 100
_FIELDS = ["name", "text", "parameters", "server"]
_BOOSTS = {"name": 2.0, "text": 1.0, "parameters": 0.3, "server": 0.5}
_SYNONYM_WEIGHT = 0.5
_WRITER_BYTES = 15_000_000  # the least tantivy takes; freed once the index is built

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts written without spaces: one character a word
    r"|[^\W\d_]*[^\W\d_\x00-\x7f][^\W\d_]*"
    r"|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
)
_STOP_WORDS = frozenset(
    "a an and are at be by can do for from how i in into is it its me my of on or our please that the their this to "
    "up want we what which with you your".split()
)
_SYNONYMS = (
    "create add new make insert register post start open",
    "delete remove drop erase destroy revoke purge clear forget",
    "update edit change modify set rename patch",
    "list show all browse enumerate",
    "get read fetch show view see retrieve lookup describe status",
    "send push publish write put upload",
    "search find query lookup",
    "stop cancel abort end kill disable",
    "start enable run launch begin execute",
    "block deny ban forbid",
    "open go visit navigate load",
    "connect link relate join attach",
    "copy clone fork duplicate",
    "big large size length",
    "person user member people",
    "billing invoice cost payment paid pay bill charge",
    "address ip",
    "page url website site web",
    "site zone domain",
    "certificate cert ssl tls",
    "job task",
    "ticket issue bug defect",
    "file document doc",
    "message mail email",
    "repository repo",
    "pr pull",
    "info information detail metadata",
    "database db",
    "configuration config setting option",
    "authentication auth login",
    "organization org company",
    "permission access role",
    "folder directory",
    "picture image photo screenshot",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is searched of one tool. `server` is the configured id."""

    server: str
    name: str
    title: str = ""
    description: str = ""
    parameters: Sequence[str] = ()
    server_name: str = ""


def words(text: str) -> list[str]:
    """Lower-case words of a name or a text: `listDNSRecords2` is list, dns, records, 2."""
    return [word.lower() for word in _WORD.findall(encodable(text))]


class SearchIndex:
    """An immutable index over entries; results are positions in the sequence it was made from."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._analyzer = _analyzer()
        self._synonyms = _synonyms(self._analyzer)
        self._index = _build(entries, self._analyzer)
        self._searcher: Searcher = self._index.searcher()
        self._servers = frozenset(entry.server for entry in entries)

    def find(self, query: str, *, limit: int, server: str | None = None) -> list[int]:
        """Positions of the best matches, best first; equal scores keep the order of the entries."""
        wanted = _query_words(query)
        if not wanted or (server is not None and server not in self._servers):
            return []
        found = self._query(wanted)
        if server is not None:
            only = Query.term_query(self._index.schema, "id", server)
            found = Query.boolean_query([(Occur.Must, found), (Occur.Must, Query.const_score_query(only, 0.0))])
        hits = self._searcher.search(found, limit, count=False).hits
        # One segment, written in order: the address of a document is its position.
        return [address.doc for _, address in hits]

    def _query(self, wanted: list[str]) -> Query:
        spelled = [*wanted]
        for word in wanted:
            spelled += [f"name:{other}^{_SYNONYM_WEIGHT}" for other in self._others(word) if other not in wanted]
        query, _ = self._index.parse_query_lenient(" ".join(spelled), _FIELDS, _BOOSTS)
        near = [part for word in wanted for part in self._near(word)]
        return Query.boolean_query([(Occur.Should, query), *((Occur.Should, part) for part in near)]) if near else query

    def _others(self, word: str) -> Iterable[str]:
        """Synonyms of a word in any of its forms: `tickets` finds those of `ticket`."""
        return (other for term in self._analyzer.analyze(word) for other in self._synonyms.get(term, ()))

    def _near(self, word: str) -> Iterable[Query]:
        """Words about as written, for a word that is nowhere in the index."""
        for term in self._analyzer.analyze(word):
            if len(term) < 4 or any(self._searcher.doc_freq(field, term) for field in _FIELDS):
                continue
            distance = 1 if len(term) < 8 else 2
            for field in ("name", "text"):
                fuzzy = Query.fuzzy_term_query(self._index.schema, field, term, distance)
                yield Query.boost_query(fuzzy, _BOOSTS[field])


def _query_words(query: str) -> list[str]:
    found = list(dict.fromkeys(words(query[:MAX_QUERY_CHARS])))[:MAX_QUERY_WORDS]
    return [word for word in found if word not in _STOP_WORDS] or found


def _build(entries: Sequence[Entry], analyzer: TextAnalyzer) -> Index:
    schema = SchemaBuilder()
    for field in _FIELDS:
        schema.add_text_field(field, tokenizer_name="words", index_option="freq")
    schema.add_text_field("id", tokenizer_name="raw", index_option="basic")
    index = Index(schema.build())
    index.register_tokenizer("words", analyzer)
    if not entries:
        return index
    writer = index.writer(_WRITER_BYTES, 1)
    for entry in entries:
        document = Document()
        document.add_text("name", " ".join(words(entry.name)))
        document.add_text("text", " ".join(words(f"{entry.title} {entry.description[:_MAX_TEXT_CHARS]}")))
        document.add_text("parameters", " ".join(words(" ".join(entry.parameters[:_MAX_PARAMETERS]))))
        document.add_text("server", " ".join(dict.fromkeys(words(f"{entry.server} {entry.server_name}"))))
        document.add_text("id", entry.server)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    return index


def _analyzer() -> TextAnalyzer:
    return (
        TextAnalyzerBuilder(Tokenizer.simple())
        .filter(Filter.remove_long(64))
        .filter(Filter.lowercase())
        .filter(Filter.ascii_fold())
        .filter(Filter.stemmer("english"))
        .build()
    )


def _synonyms(analyzer: TextAnalyzer) -> dict[str, tuple[str, ...]]:
    """Stem of a word -> its synonyms."""
    found: dict[str, dict[str, None]] = {}
    for group in _SYNONYMS:
        members = group.split()
        for word in members:
            (stem,) = analyzer.analyze(word)
            found.setdefault(stem, {}).update(dict.fromkeys(other for other in members if other != word))
    return {stem: tuple(others) for stem, others in found.items()}
