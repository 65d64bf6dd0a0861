"""Words of names and texts, and the stem that all forms of a word share."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import Stemmer

from codemode.text import encodable

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts written without spaces: one character a word
    r"|[^\W\d_]*[^\W\d_\x00-\x7f][^\W\d_]*"
    r"|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
)
_LONGEST = 64  # characters; a longer word is its own stem
# Letters with a mark, and ligatures, that Unicode does not decompose.
_FOLDED = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ŋ": "n", "þ": "th"}
)
_stemmer = Stemmer.Stemmer("english", 0)


def words(text: str) -> list[str]:
    """The words of a name or a text in lower case: `listDNSRecords2` is list, dns, records, 2."""
    return [word.lower() for word in _WORD.findall(encodable(text))]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The stem of a word in lower case, without the marks on its letters: `Cafés` and `café` have one stem.

    English (Snowball). A word in another script is its own stem.
    """
    word = word.lower()
    if len(word) > _LONGEST:
        return word
    if not word.isascii():
        plain = unicodedata.normalize("NFKD", word.translate(_FOLDED))
        # Only if the result is ASCII: in other scripts a mark can distinguish two words.
        folded = "".join(character for character in plain if not unicodedata.combining(character))
        word = folded if folded.isascii() else word
    stemmed: str = _stemmer.stemWord(word)
    return stemmed
