"""What other environments have and an isolate does not: an explanation when used, no surprise when looked for."""

from __future__ import annotations

import pytest

from .web_program import thrown, value


def test_fetch_rejects_and_says_what_to_call_instead() -> None:
    name, message = value("try { await fetch('https://example.com'); } catch (e) { [e.name, e.message] }")
    assert name == "TypeError"
    assert "codemode.<server>.<tool>" in message


def test_fetch_rejects_rather_than_throws() -> None:
    assert value("await fetch('x').catch(() => 'handled')") == "handled"


@pytest.mark.parametrize("name", ["XMLHttpRequest", "WebSocket", "EventSource"])
def test_network_constructors_say_what_to_call_instead(name: str) -> None:
    for call in (f"new {name}('https://example.com')", f"{name}()"):
        error, message, _ = thrown(call)
        assert error == "TypeError"
        assert message.startswith(f"{name} is not available")
        assert "codemode.<server>.<tool>" in message


@pytest.mark.parametrize(
    "name", ["process", "require", "module", "exports", "Deno", "Bun", "Buffer", "window", "document", "global"]
)
def test_names_that_programs_look_for_are_undefined(name: str) -> None:
    assert value(f"[typeof {name}, '{name}' in globalThis]") == ["undefined", False]
    assert thrown(f"{name}.x")[0] == "ReferenceError"
