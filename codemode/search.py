"""Finds tools by what they do: BM25 over names, descriptions and parameters, in memory, one index a catalog.

Names are split at case, underscores and digits before they are indexed. A query is plain words, never query syntax.
A word finds itself in any form; the groups of the thesaurus it belongs to, at a lower weight; and words one or two
letters away when it is nowhere in the index. Of equal matches those come first that do the kind of deed asked for.
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

from codemode.actions import CHANGE, MAKE, READ, deed_of, deeds_asked, is_verb
from codemode.text import encodable
from codemode.thesaurus import Thesaurus

MAX_QUERY_CHARS = 300
MAX_QUERY_WORDS = 32
_MAX_TEXT_CHARS = 2_000
_MAX_PARAMETERS = 100
_FIELDS = {"name": 1.5, "head": 0.8, "text": 0.4, "server": 1.0}
_GROUPS = {"name_groups": 1.3, "head_groups": 0.5}
_TIE = 0.2  # what further fields add to the best one
_VERB = 0.6  # a verb says less than what it is about
_COVERED = 5.0  # for each word that is met at all: many words met in part go before one rare word
_SAID_DEED, _OTHER_SAID_DEED = 9.0, 5.0
_USUAL_DEED, _OTHER_USUAL_DEED = 5.0, 4.0  # when a query names a thing only
_USUAL_DEEDS = (READ, MAKE, CHANGE)
_PADDING = "-"
_MOST_KNOWN = 4_096
_WRITER_BYTES = 15_000_000  # the least tantivy takes; freed once the index is built

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
    """What is searched of one tool. `server` is the configured id; `details` is what its schemas say in words."""

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
    """One thing asked for: a word and what it may be called, or a phrase that is one."""

    stem: str | None
    groups: tuple[int, ...]
    verb: bool = False


def words(text: str) -> list[str]:
    """Lower-case words of a name or a text: `listDNSRecords2` is list, dns, records, 2."""
    return [word.lower() for word in _WORD.findall(encodable(text))]


class SearchIndex:
    """An immutable index over entries; results are positions in the sequence it was made from."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._analyzer = _analyzer()
        self._thesaurus = Thesaurus(self._stem)
        self._known: dict[_Unit, tuple[Query, ...]] = {}
        self._deeds: dict[tuple[str, ...], list[tuple[Occur, Query]]] = {}
        self._index = self._build(entries)
        self._schema: Schema = self._index.schema
        self._searcher: Searcher = self._index.searcher()
        self._servers = frozenset(entry.server for entry in entries)

    def find(self, query: str, *, limit: int, server: str | None = None, read_only: bool | None = None) -> list[int]:
        """Positions of the best matches, best first; equal scores keep the order of the entries.

        `read_only` keeps the tools that say they only read (True), or all others (False).
        """
        asked = [word for word in words(query[:MAX_QUERY_CHARS]) if word not in _ARTICLES][:MAX_QUERY_WORDS]
        if not asked or (server is not None and server not in self._servers):
            return []
        found = self._query(asked)
        kept = [(Occur.Must, Query.const_score_query(part, 0.0)) for part in self._filters(server, read_only)]
        if kept:
            found = Query.boolean_query([(Occur.Must, found), *kept])
        hits = self._searcher.search(found, limit, count=False).hits
        # One segment, written in order: the address of a document is its position.
        return [address.doc for _, address in hits]

    def _filters(self, server: str | None, read_only: bool | None) -> Iterator[Query]:
        if server is not None:
            yield Query.term_query(self._schema, "id", server)
        if read_only is not None:
            yield Query.term_query(self._schema, "reads", "yes" if read_only else "no")

    def _query(self, asked: list[str]) -> Query:
        stems = [self._stem(word) for word in asked]
        telling = [n for n, word in enumerate(asked) if word not in _STOP_WORDS] or range(len(asked))
        groups: dict[int, list[int]] = {n: [] for n in telling}
        units: dict[_Unit, None] = {}
        for start, length, group in self._thesaurus.asked(stems):
            if length == 1 and start in groups:
                groups[start].append(group)
            else:
                units[_Unit(None, (group,))] = None
        for n in telling:
            units[_Unit(stems[n], tuple(groups[n]), is_verb(asked[n]))] = None
        matched = [(Occur.Should, part) for unit in units for part in self._parts(unit)]
        return Query.boolean_query([(Occur.Must, Query.boolean_query(matched)), *self._wanted(deeds_asked(asked))])

    def _parts(self, unit: _Unit) -> tuple[Query, ...]:
        """What a unit adds to a match: by how well it fits, and for that it fits at all."""
        found = self._known.get(unit)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            fields = [(name, unit.stem, boost) for name, boost in _FIELDS.items()] if unit.stem is not None else []
            fields += [(name, f"g{group}", boost) for group in unit.groups for name, boost in _GROUPS.items()]
            present = [
                Query.boost_query(Query.term_query(self._schema, name, term), boost)
                for name, term, boost in fields
                if self._searcher.doc_freq(name, term)
            ]
            terms = dict.fromkeys(term for _, term, _ in fields)
            met = [
                Query.term_query(self._schema, "all", term) for term in terms if self._searcher.doc_freq("all", term)
            ]
            fits = present if met else list(self._near(unit.stem or ""))
            found = ()
            if fits:
                either = Query.disjunction_max_query(fits, _TIE)
                found = (Query.boost_query(either, _VERB) if unit.verb else either,)
            if anywhere := met or list(found):
                found = (*found, Query.const_score_query(Query.disjunction_max_query(anywhere, 0.0), _COVERED))
            self._known[unit] = found
        return found

    def _wanted(self, deeds: tuple[str, ...]) -> list[tuple[Occur, Query]]:
        """What is added for the deeds asked for, most for the first; more for a tool of a shorter name."""
        wanted = self._deeds.get(deeds)
        if wanted is None:
            first, other = (_SAID_DEED, _OTHER_SAID_DEED) if deeds else (_USUAL_DEED, _OTHER_USUAL_DEED)
            wanted = self._deeds[deeds] = [
                (Occur.Should, self._deed(deed, other if place else first))
                for place, deed in enumerate(deeds or _USUAL_DEEDS)
            ]
        return wanted

    def _deed(self, deed: str, score: float) -> Query:
        """`score` for a tool of the deed whose name is as long as most, whether the deed is rare or frequent."""
        having, all_tools = self._searcher.doc_freq("deed", deed), self._searcher.num_docs
        rarity = math.log(1 + (all_tools - having + 0.5) / (having + 0.5))
        return Query.boost_query(Query.term_query(self._schema, "deed", deed), score / rarity)

    def _near(self, term: str) -> Iterable[Query]:
        """Words about as written, for a word that is nowhere in the index."""
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
        for name in (*_FIELDS, *_GROUPS, "deed"):
            schema.add_text_field(name, tokenizer_name="stems", index_option="freq")
        schema.add_text_field("all", tokenizer_name="stems", index_option="basic")
        for name in ("id", "reads"):
            schema.add_text_field(name, tokenizer_name="raw", index_option="basic")
        index = Index(schema.build())
        index.register_tokenizer("stems", TextAnalyzerBuilder(Tokenizer.whitespace()).build())
        if not entries:
            return index
        writer = index.writer(_WRITER_BYTES, 1)
        stemmed = self._remembering()
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
            stems[name_of_field] = [f"g{group}" for group in self._thesaurus.written(stems[source])]
        met = (*stems.values(), stemmed(words(details)))
        stems["all"] = list(dict.fromkeys(stem for found in met for stem in found))
        document = Document()
        for name_of_field, found in stems.items():
            document.add_text(name_of_field, " ".join(found))
        document.add_text("id", entry.server)
        document.add_text("reads", "yes" if entry.annotations.get("readOnlyHint") is True else "no")
        if (deed := deed_of(name, entry.annotations)) is not None:
            # As long as the name: what is met in a shorter field scores higher.
            document.add_text("deed", " ".join((deed, *(_PADDING for _ in name))))
        return document

    def _remembering(self) -> Stemmed:
        """Stems of words, each made once: the same ones come back thousands of times."""
        known: dict[str, str] = {}

        def stemmed(found: Iterable[str]) -> list[str]:
            stems = []
            for word in found:
                stem = known.get(word)
                if stem is None:
                    stem = known[word] = self._stem(word)
                stems.append(stem)
            return stems

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
