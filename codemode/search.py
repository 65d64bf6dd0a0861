"""Finds tools by their words: BM25 over names, descriptions and parameters, in memory, one index for each catalog.

Names are split at case, underscores and digits before they are indexed. A query is plain words, never query syntax.
A word matches itself in any form, the other words of its thesaurus groups at a lower weight, and, when the index does
not have it, words one or two letters away. Of equal matches, tools that perform the action of the query come first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tantivy import (
    Document,
    Filter,
    Index,
    Occur,
    Query,
    Schema,
    SchemaBuilder,
    Searcher,
    TextAnalyzer,
    TextAnalyzerBuilder,
    Tokenizer,
)

from codemode.actions import CHANGE, MAKE, READ, action_of, actions_in, is_verb
from codemode.text import encodable
from codemode.thesaurus import Thesaurus

MAX_QUERY_CHARS = 300
MAX_QUERY_WORDS = 32
_MAX_TEXT_CHARS = 2_000
_MAX_PARAMETERS = 100
_FIELDS = {"name": 1.5, "head": 0.8, "text": 0.4, "server": 1.0}
_GROUPS = {"name_groups": 1.3, "head_groups": 0.5}
_TIE = 0.2  # the share of their scores that further fields add to the best one
_VERB = 0.6  # a verb says less than the thing it is about
_COVERED = 5.0  # for each word that matches at all: many words that match a little go before one rare word
_ACTION, _OTHER_ACTION = 9.0, 5.0
_DEFAULT_ACTION, _OTHER_DEFAULT_ACTION = 5.0, 4.0  # when a query only names a thing
_DEFAULT_ACTIONS = (READ, MAKE, CHANGE)
_PADDING = "-"
_MOST_REMEMBERED = 4_096
_WRITER_BYTES = 15_000_000  # the least that tantivy accepts; freed once the index is built

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts written without spaces: one character a word
    r"|[^\W\d_]*[^\W\d_\x00-\x7f][^\W\d_]*"
    r"|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_ARTICLES = frozenset("a an the my our your this that own".split())
_STOP_WORDS = frozenset(
    "a an own and are at be by can do does did for from how i in into is it its me my of on or our please that the "
    "their this to up want we what which with you your was were has have had will would should could am as if than "
    "then there these those them they he she his her us who whom some something any anything every very just also so "
    "about one when where why let".split()
)


@dataclass(frozen=True, slots=True)
class Entry:
    """The searchable text of one tool. `server` is the configured id; `details` are the words of its schemas."""

    server: str
    name: str
    title: str = ""
    description: str = ""
    parameters: Sequence[str] = ()
    server_name: str = ""
    annotations: Mapping[str, Any] = field(default_factory=dict)
    details: Sequence[str] = ()


Stemmed = Callable[[Iterable[str]], list[str]]


class _Unit(NamedTuple):
    """One thing in a query: the stem of a word with the groups it belongs to, or the group of a phrase."""

    stem: str | None
    groups: tuple[int, ...]
    verb: bool = False


def words(text: str) -> list[str]:
    """The words of a name or a text in lower case: `listDNSRecords2` is list, dns, records, 2."""
    return [word.lower() for word in _WORD.findall(encodable(text))]


class SearchIndex:
    """An immutable index over entries; results are positions in the sequence it was made from."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._analyzer = _analyzer()
        self._thesaurus = Thesaurus(self._stem)
        self._unit_queries: dict[_Unit, tuple[Query, ...]] = {}
        self._action_queries: dict[tuple[str, ...], list[tuple[Occur, Query]]] = {}
        self._index = self._build(entries)
        self._schema: Schema = self._index.schema
        self._searcher: Searcher = self._index.searcher()
        self._servers = frozenset(entry.server for entry in entries)

    def find(self, query: str, *, limit: int, server: str | None = None, read_only: bool | None = None) -> list[int]:
        """Positions of the best matches, best first; equal scores keep the order of the entries.

        `read_only` keeps the tools that declare to only read (True), or all others (False).
        """
        query_words = [word for word in words(query[:MAX_QUERY_CHARS]) if word not in _ARTICLES][:MAX_QUERY_WORDS]
        if not query_words or (server is not None and server not in self._servers):
            return []
        parsed = self._query(query_words)
        filters = [(Occur.Must, Query.const_score_query(part, 0.0)) for part in self._filters(server, read_only)]
        if filters:
            parsed = Query.boolean_query([(Occur.Must, parsed), *filters])
        hits = self._searcher.search(parsed, limit, count=False).hits
        # One segment, written in order: the address of a document is its position.
        return [address.doc for _, address in hits]

    def _filters(self, server: str | None, read_only: bool | None) -> Iterator[Query]:
        if server is not None:
            yield Query.term_query(self._schema, "id", server)
        if read_only is not None:
            yield Query.term_query(self._schema, "reads", "yes" if read_only else "no")

    def _query(self, query_words: list[str]) -> Query:
        stems = [self._stem(word) for word in query_words]
        # A query of stop words alone is searched as it is.
        telling = [n for n, word in enumerate(query_words) if word not in _STOP_WORDS] or range(len(query_words))
        groups: dict[int, list[int]] = {n: [] for n in telling}
        units: dict[_Unit, None] = {}
        for start, length, group in self._thesaurus.in_query(stems):
            if length == 1 and start in groups:
                groups[start].append(group)
            else:
                units[_Unit(None, (group,))] = None
        for n in telling:
            units[_Unit(stems[n], tuple(groups[n]), is_verb(query_words[n]))] = None
        matches = [(Occur.Should, part) for unit in units for part in self._remembered(unit)]
        actions = self._preferred(actions_in(query_words))
        return Query.boolean_query([(Occur.Must, Query.boolean_query(matches)), *actions])

    def _remembered(self, unit: _Unit) -> tuple[Query, ...]:
        """`_parts`, made once for each unit: making them costs more than searching with them."""
        parts = self._unit_queries.get(unit)
        if parts is None:
            if len(self._unit_queries) >= _MOST_REMEMBERED:
                self._unit_queries.clear()
            parts = self._unit_queries[unit] = self._parts(unit)
        return parts

    def _parts(self, unit: _Unit) -> tuple[Query, ...]:
        """The scores of a unit: one by how well it matches, one because it matches at all."""
        fields = [(name, unit.stem, boost) for name, boost in _FIELDS.items()] if unit.stem is not None else []
        fields += [(name, f"g{group}", boost) for group in unit.groups for name, boost in _GROUPS.items()]
        exact = [
            Query.boost_query(Query.term_query(self._schema, name, term), boost)
            for name, term, boost in fields
            if self._searcher.doc_freq(name, term)
        ]
        terms = dict.fromkeys(term for _, term, _ in fields)
        anywhere = [
            Query.term_query(self._schema, "all", term) for term in terms if self._searcher.doc_freq("all", term)
        ]
        matches = exact if anywhere else list(self._near(unit.stem or ""))
        parts: tuple[Query, ...] = ()
        if matches:
            best = Query.disjunction_max_query(matches, _TIE)
            parts = (Query.boost_query(best, _VERB) if unit.verb else best,)
        if covered := anywhere or list(parts):
            parts = (*parts, Query.const_score_query(Query.disjunction_max_query(covered, 0.0), _COVERED))
        return parts

    def _preferred(self, actions: tuple[str, ...]) -> list[tuple[Occur, Query]]:
        """The scores of the actions in a query, the first one's highest. A tool with a shorter name scores higher."""
        queries = self._action_queries.get(actions)
        if queries is None:
            first, other = (_ACTION, _OTHER_ACTION) if actions else (_DEFAULT_ACTION, _OTHER_DEFAULT_ACTION)
            queries = self._action_queries[actions] = [
                (Occur.Should, self._action(action, other if place else first))
                for place, action in enumerate(actions or _DEFAULT_ACTIONS)
            ]
        return queries

    def _action(self, action: str, score: float) -> Query:
        """`score` for a tool with the action and a name of average length, whether the action is rare or frequent."""
        having, all_tools = self._searcher.doc_freq("action", action), self._searcher.num_docs
        rarity = math.log(1 + (all_tools - having + 0.5) / (having + 0.5))  # BM25 multiplies by this
        return Query.boost_query(Query.term_query(self._schema, "action", action), score / rarity)

    def _near(self, term: str) -> Iterable[Query]:
        """Words with a similar spelling, for a word that the index does not have."""
        if len(term) < 4:
            return
        distance = 1 if len(term) < 8 else 2
        for name in ("name", "head", "text"):
            fuzzy = Query.fuzzy_term_query(self._schema, name, term, distance)
            yield Query.boost_query(fuzzy, _FIELDS[name])

    def _stem(self, word: str) -> str:
        return next(iter(self._analyzer.analyze(word)), word)

    def _build(self, entries: Sequence[Entry]) -> Index:
        schema = SchemaBuilder()
        for name in (*_FIELDS, *_GROUPS, "action"):
            schema.add_text_field(name, tokenizer_name="stems", index_option="freq")
        schema.add_text_field("all", tokenizer_name="stems", index_option="basic")
        for name in ("id", "reads"):
            schema.add_text_field(name, tokenizer_name="raw", index_option="basic")
        index = Index(schema.build())
        index.register_tokenizer("stems", TextAnalyzerBuilder(Tokenizer.whitespace()).build())
        if not entries:
            return index
        writer = index.writer(_WRITER_BYTES, 1)
        stemmed = self._remembering_stems()
        for entry in entries:
            writer.add_document(self._document(entry, stemmed))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return index

    def _document(self, entry: Entry, stemmed: Stemmed) -> Document:
        name = words(entry.name)
        head, *rest = _SENTENCE.split(entry.description[:_MAX_TEXT_CHARS].strip(), maxsplit=1)
        details = " ".join((*entry.parameters[:_MAX_PARAMETERS], *entry.details))[:_MAX_TEXT_CHARS]
        stems = {
            "name": stemmed(name),
            "head": stemmed(words(f"{entry.title} {head}")),
            "text": stemmed(words(" ".join(rest))),
            "server": stemmed(dict.fromkeys(words(f"{entry.server} {entry.server_name}"))),
        }
        for name_of_field, source in (("name_groups", "name"), ("head_groups", "head")):
            stems[name_of_field] = [f"g{group}" for group in self._thesaurus.of_tool(stems[source])]
        everything = (*stems.values(), stemmed(words(details)))
        stems["all"] = list(dict.fromkeys(stem for part in everything for stem in part))
        document = Document()
        for name_of_field, terms in stems.items():
            document.add_text(name_of_field, " ".join(terms))
        document.add_text("id", entry.server)
        document.add_text("reads", "yes" if entry.annotations.get("readOnlyHint") is True else "no")
        if (action := action_of(name, entry.annotations)) is not None:
            # Padded to the length of the name: BM25 scores a match in a shorter field higher.
            document.add_text("action", " ".join((action, *(_PADDING for _ in name))))
        return document

    def _remembering_stems(self) -> Stemmed:
        """Stems of words, each made once: the same words come back thousands of times."""
        stems: dict[str, str] = {}

        def stemmed(unstemmed: Iterable[str]) -> list[str]:
            result = []
            for word in unstemmed:
                stem = stems.get(word)
                if stem is None:
                    stem = stems[word] = self._stem(word)
                result.append(stem)
            return result

        return stemmed


def _analyzer() -> TextAnalyzer:
    return (
        TextAnalyzerBuilder(Tokenizer.simple())
        .filter(Filter.remove_long(64))
        .filter(Filter.lowercase())
        .filter(Filter.ascii_fold())
        .filter(Filter.stemmer("english"))
        .build()
    )
