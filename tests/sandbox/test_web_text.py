"""TextEncoder and TextDecoder against Python's codecs, which follow the same rules for invalid bytes."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deep import examples

from .web_program import thrown, value

# Each maximal subpart of an ill-formed sequence is one U+FFFD (Unicode 3.9, table 3-8; WHATWG Encoding, UTF-8 decoder).
INVALID = [
    ("80", 1),
    ("c0 80", 2),
    ("c1 bf", 2),
    ("c2", 1),
    ("c2 41", 1),
    ("c2 c2 80", 1),
    ("e0 80 80", 3),
    ("e0 9f bf", 3),
    ("e0 a0", 1),
    ("e1 80 e2 f0 91 92 f1 bf 41", 4),
    ("ed a0 80", 3),
    ("ed bf bf", 3),
    ("ed 9f bf", 0),
    ("ef bf", 1),
    ("f0 80 80 80", 4),
    ("f0 8f bf bf", 4),
    ("f0 90 80", 1),
    ("f0 9f 98 41", 1),
    ("f4 90 80 80", 4),
    ("f4 8f bf bf", 0),
    ("f5 80 80 80", 4),
    ("f8 88 80 80 80", 5),
    ("fe", 1),
    ("ff ff", 2),
]

utf8_like = st.lists(
    st.one_of(
        st.binary(max_size=4),
        st.characters(codec="utf-8").map(lambda c: c.encode()),
        st.characters(codec="utf-8").map(lambda c: c.encode()[:-1]),
        st.sampled_from([bytes.fromhex(text) for text, _ in INVALID] + [codecs.BOM_UTF8]),
    ),
    max_size=8,
).map(b"".join)

DECODE = "new TextDecoder(given.label, {ignoreBOM: true}).decode(new Uint8Array(given.bytes))"


def decode(data: bytes, label: str = "utf-8") -> str:
    found = value(DECODE, {"label": label, "bytes": list(data)})
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(("text", "replacements"), INVALID)
def test_each_invalid_sequence_becomes_its_number_of_replacement_characters(text: str, replacements: int) -> None:
    data = bytes.fromhex(text)
    assert decode(data).count("\ufffd") == replacements
    assert decode(data) == data.decode(errors="replace")


@examples(400)
@given(utf8_like)
def test_utf8_decodes_as_python_replaces(data: bytes) -> None:
    assert decode(data) == data.decode(errors="replace")


@examples(200)
@given(utf8_like)
def test_fatal_refuses_exactly_what_python_refuses(data: bytes) -> None:
    source = """
    let text;
    try { text = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(new Uint8Array(given)); }
    catch (e) { text = e.name; }
    text
    """
    try:
        expected = data.decode()
    except UnicodeDecodeError:
        expected = "TypeError"
    assert value(source, list(data)) == expected


@examples(200)
@given(
    utf8_like,
    st.lists(st.integers(0, 40), max_size=5),
    st.sampled_from(["utf-8", "utf-16le", "utf-16be", "windows-1252"]),
    st.booleans(),
)
def test_a_stream_in_pieces_decodes_as_one_piece(data: bytes, cuts: list[int], label: str, ignore_bom: bool) -> None:
    source = """
    const options = {ignoreBOM: given.ignoreBOM}, decoder = new TextDecoder(given.label, options);
    let text = "";
    for (const piece of given.pieces) text += decoder.decode(new Uint8Array(piece), {stream: true});
    text += decoder.decode();
    const again = decoder.decode(new Uint8Array(given.pieces.flat()));
    [text, new TextDecoder(given.label, options).decode(new Uint8Array(given.pieces.flat())), again]
    """
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [list(data[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    streamed, whole, again = value(source, {"pieces": pieces, "label": label, "ignoreBOM": ignore_bom})
    assert streamed == whole == again


units = st.sampled_from(["\ud83d", "\ude00", "a", "\ufeff"]).map(lambda c: c.encode("utf-16-le", "surrogatepass"))
utf16_like = st.lists(st.one_of(st.binary(max_size=3), units), max_size=6).map(b"".join)


@examples(300)
@given(utf16_like)
def test_utf16_decodes_as_python_replaces(data: bytes) -> None:
    assert decode(data, "utf-16le") == data.decode("utf-16-le", errors="replace")
    assert decode(data, "utf-16be") == data.decode("utf-16-be", errors="replace")


def test_windows_1252_knows_every_byte() -> None:
    expected = "".join(bytes([b]).decode("cp1252", errors="ignore") or chr(b) for b in range(256))
    for label in ("windows-1252", "latin1", "ascii", "iso-8859-1"):
        assert decode(bytes(range(256)), label) == expected


def test_labels_are_names_of_encodings() -> None:
    source = "given.map((label) => new TextDecoder(label).encoding)"
    labels = ["UTF-8", " utf8\n", "unicode", "utf-16", "utf-16be", "Latin1", "us-ascii"]
    assert value(source, labels) == [
        "utf-8",
        "utf-8",
        "utf-16le",
        "utf-16le",
        "utf-16be",
        "windows-1252",
        "windows-1252",
    ]


@pytest.mark.parametrize("label", ["", "utf-7", "shift_jis", "utf\u20118", "__proto__", "constructor", "\u00a0utf-8"])
def test_an_encoding_we_do_not_have_is_a_range_error_that_lists_those_we_have(label: str) -> None:
    name, message, _ = thrown("new TextDecoder(given)", label)
    assert name == "RangeError"
    assert "windows-1252" in message


def test_a_byte_order_mark_is_dropped_once_unless_asked_for() -> None:
    source = """
    const mark = [0xef, 0xbb, 0xbf], both = new Uint8Array([...mark, ...mark, 65]);
    const streaming = new TextDecoder();
    let text = streaming.decode(new Uint8Array([0xef, 0xbb]), {stream: true});
    text += streaming.decode(new Uint8Array([0xbf, 66]));
    [new TextDecoder().decode(both), new TextDecoder("utf-8", {ignoreBOM: true}).decode(both), text,
     new TextDecoder("utf-16le").decode(new Uint8Array([0xff, 0xfe, 65, 0]))]
    """
    assert value(source) == ["\ufeffA", "\ufeff\ufeffA", "B", "A"]


def test_every_kind_of_buffer_can_be_decoded() -> None:
    source = """
    const buffer = new Uint8Array([65, 66, 67, 68]).buffer, d = new TextDecoder();
    [d.decode(buffer), d.decode(new Uint8Array(buffer, 1, 2)), d.decode(new DataView(buffer, 2)),
     d.decode(new Uint16Array(buffer)), d.decode(new Uint8Array(0)), d.decode(), d.decode(new Float64Array(1)).length]
    """
    assert value(source) == ["ABCD", "BC", "CD", "ABCD", "", "", 8]


@pytest.mark.parametrize("argument", ["'text'", "null", "1", "{}", "[65]", "{byteLength: 1, buffer: 1}", "new Map()"])
def test_what_is_no_buffer_is_a_type_error(argument: str) -> None:
    assert thrown(f"new TextDecoder().decode({argument})")[0] == "TypeError"


def test_a_failed_decoder_starts_afresh() -> None:
    source = """
    const d = new TextDecoder("utf-8", {fatal: true});
    d.decode(new Uint8Array([0xe2, 0x82]), {stream: true});
    try { d.decode(new Uint8Array([0x41])); } catch {}
    [d.decode(new Uint8Array([0x42])), d.fatal, d.ignoreBOM, d.encoding]
    """
    assert value(source) == ["B", True, False, "utf-8"]


def well_formed(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", errors="replace")


@examples(300)
@given(st.text(st.characters()))
def test_encoding_writes_utf8_and_replaces_lone_surrogates(text: str) -> None:
    assert bytes(value("Array.from(new TextEncoder().encode(given))", text)) == well_formed(text).encode()


@examples(300)
@given(st.text(st.characters(), max_size=12), st.integers(0, 20))
def test_encode_into_stops_before_a_code_point_that_does_not_fit(text: str, room: int) -> None:
    source = """
    const b = new Uint8Array(given.room);
    [new TextEncoder().encodeInto(given.text, b), Array.from(b)]
    """
    found, data = value(source, {"text": text, "room": room})
    expected, read = b"", 0
    for character in well_formed(text):
        if len(expected) + len(character.encode()) > room:
            break
        expected += character.encode()
        read += 1 + (ord(character) > 0xFFFF)
    assert found == {"read": read, "written": len(expected)}
    assert bytes(data) == expected.ljust(room, b"\0")


def test_encode_without_an_argument_is_empty_and_without_new_an_error() -> None:
    assert value(
        "[new TextEncoder().encode().length, new TextEncoder().encode(undefined).length, new TextEncoder().encoding]"
    ) == [0, 0, "utf-8"]
    assert thrown("TextEncoder()")[0] == "TypeError"
    assert thrown("new TextEncoder().encodeInto('a', [1])")[0] == "TypeError"
