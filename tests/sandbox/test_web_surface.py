"""How the web globals look to a program that looks: properties, lengths, names, tags, as Web IDL has them."""

from __future__ import annotations

import pytest

from .web_program import thrown, value

INTERFACES = {
    "AbortController": 0,
    "AbortSignal": None,
    "Crypto": None,
    "CustomEvent": 1,
    "DOMException": 0,
    "Event": 1,
    "EventTarget": 0,
    "TextDecoder": 0,
    "TextEncoder": 0,
    "URL": 1,
    "URLSearchParams": 0,
}


@pytest.mark.parametrize("name", INTERFACES)
def test_an_interface_is_a_hidden_replaceable_global_with_visible_members(name: str) -> None:
    source = """
    const {value: Interface, ...flags} = Object.getOwnPropertyDescriptor(globalThis, given);
    const members = Object.entries(Object.getOwnPropertyDescriptors(Interface.prototype));
    const hidden = members.filter(([name, d]) => !d.enumerable).map(([name]) => name);
    const tag = Object.getOwnPropertyDescriptor(Interface.prototype, Symbol.toStringTag);
    [flags, Interface.name, hidden, tag]
    """
    flags, own_name, hidden, tag = value(source, name)
    assert flags == {"writable": True, "enumerable": False, "configurable": True}
    assert own_name == name
    assert hidden == ["constructor"]
    assert tag == {"value": name, "writable": False, "enumerable": False, "configurable": True}


@pytest.mark.parametrize("name", [name for name, length in INTERFACES.items() if length is not None])
def test_an_interface_needs_new_and_has_its_length(name: str) -> None:
    assert value("globalThis[given].length", name) == INTERFACES[name]
    assert thrown(f"{name}('x', {{}})")[0] == "TypeError"


def test_operations_have_their_lengths() -> None:
    source = """
    const U = URLSearchParams.prototype, T = EventTarget.prototype;
    const E = TextEncoder.prototype, D = TextDecoder.prototype;
    [URL.parse, URL.canParse, U.append, U.delete, U.get, U.getAll, U.has, U.set, U.sort, U.forEach, U.keys,
     E.encode, E.encodeInto, D.decode, crypto.getRandomValues, crypto.randomUUID,
     T.addEventListener, T.removeEventListener, T.dispatchEvent, AbortSignal.any, AbortSignal.timeout,
     AbortSignal.abort, AbortController.prototype.abort, structuredClone, atob, btoa, fetch].map((f) => f.length)
    """
    assert value(source) == [1, 1, 2, 1, 1, 1, 1, 2, 0, 1, 0, 0, 2, 0, 1, 0, 2, 2, 1, 1, 1, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("name", ["atob", "btoa", "structuredClone", "fetch"])
def test_global_functions_are_visible_and_named(name: str) -> None:
    source = "const {value: f, ...flags} = Object.getOwnPropertyDescriptor(globalThis, given); [f.name, flags]"
    assert value(source, name) == [name, {"writable": True, "enumerable": True, "configurable": True}]


def test_methods_refuse_another_kind_of_object() -> None:
    for call in (
        "URL.prototype.toString.call({})",
        "URLSearchParams.prototype.get.call(new URL('http://h'), 'a')",
        "Object.getOwnPropertyDescriptor(URL.prototype, 'href').get.call({})",
        "TextDecoder.prototype.decode.call({})",
        "TextEncoder.prototype.encode.call(new TextDecoder())",
        "EventTarget.prototype.dispatchEvent.call({}, new Event('x'))",
    ):
        assert thrown(call)[0] == "TypeError"


def test_a_program_may_replace_a_global() -> None:
    assert value("globalThis.URL = 1; console = {log: () => 2}; fetch = () => 3; [URL, console.log(), fetch()]") == [
        1,
        2,
        3,
    ]


def test_nothing_of_ours_leaks_into_the_global_object() -> None:
    source = """
    const ours = /native|web|intrinsic|dispatch|urlParse/i;
    [Object.getOwnPropertyNames(globalThis).filter((name) => ours.test(name)), typeof native]
    """
    assert value(source) == [["WebSocket"], "undefined"]
