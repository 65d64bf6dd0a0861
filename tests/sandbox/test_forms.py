"""The three forms of a program, and where its errors are said to be."""

import pytest

from sandbox import Completed, Deadlock, Failed, GuestException, GuestSyntaxError
from tests.sandbox.programs import Programs


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2", 3),
        ("const a = 1; a + 1", 2),
        ("let x = 1; if (x) { x = 5 } x", 5),
        ("async () => 1 + 2", 3),
        ("() => [1]", [1]),
        ("async function main() { return 4 }\nmain()", 4),
        ("await Promise.resolve(6)", 6),
        ("Promise.resolve(7)", 7),
        ("({ then(done) { done(8) } })", 8),
        ("return 9", 9),
        ("const a = await Promise.resolve(2);\nif (a) return a * 5;\nreturn 0", 10),
        ("return async () => 11", 11),
        ("export default 12", 12),
        ("export default async () => 13", 13),
        (
            "export const unused = 1;\nexport function first() { return 1 }\nexport async function run() { return 14 }",
            14,
        ),
        ("const helper = 3;\nexport default function () { return helper * 5 }", 15),
        ("function main() { return 16 }", 16),
        ("async function main({ a = 1 } = {}) { return 16 + a }", 17),
        ("const main = async () => 18", 18),
        ("const main = async function () { return 19 }", 19),
        ("function helper() { return 20 }\nasync function main() { return helper() }", 20),
        ("#!/usr/bin/env node\n21", 21),
        ("/* nothing but a comment */ 22 // and another", 22),
    ],
)
def test_a_program_is_a_script_a_body_or_a_module(programs: Programs, source: str, value: object) -> None:
    assert programs.value(source) == value


@pytest.mark.parametrize(
    "source", ["", ";", "// nothing", "undefined", "const a = 1", "return", "async () => {}", "class A {}"]
)
def test_a_program_without_a_value_says_so(programs: Programs, source: str) -> None:
    outcome = programs.run(source)
    assert isinstance(outcome, Completed)
    assert (outcome.has_value, outcome.value) == (False, None)


def test_null_is_a_value(programs: Programs) -> None:
    outcome = programs.run("null")
    assert isinstance(outcome, Completed)
    assert (outcome.has_value, outcome.value) == (True, None)


def test_a_forgotten_function_that_takes_arguments_is_not_called_and_the_log_says_so(programs: Programs) -> None:
    outcome = programs.run("function main(query) { return query }")
    assert isinstance(outcome, Completed)
    assert not outcome.has_value
    assert [(line.level, "main" in line.text) for line in outcome.logs] == [("warn", True)]


def test_a_function_that_is_mentioned_again_is_not_called_twice(programs: Programs) -> None:
    assert programs.logs("function main() { console.log('called') }\nmain();") == [("log", "called")]


def test_programs_are_strict(programs: Programs) -> None:
    assert isinstance(programs.failure("undeclared = 1"), GuestException)
    assert programs.value("(function () { return this === undefined })()") is True
    assert isinstance(programs.failure("return undeclared = 1"), GuestException)


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("const a = ;", 1, 11),
        ("const a = 1;\nconst b = ;", 2, 11),
        ("const a = 1;\nreturn a +;\n", 2, 11),
        ("import { a } from 'b';\nconst c = ;", 2, 11),
        ("async () => {\n  const a = 1;\n  a b\n}", 3, 5),
    ],
)
def test_a_syntax_error_has_the_place_of_the_form_that_got_furthest(
    programs: Programs, source: str, line: int, column: int
) -> None:
    error = programs.failure(source)
    assert isinstance(error, GuestSyntaxError)
    assert (error.kind, error.name, error.line, error.column) == ("syntax", "SyntaxError", line, column)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("throw new Error('x')", 1),
        ("\n\nthrow new Error('x')", 3),
        ("const a = 1;\nnull.foo;\nreturn a", 2),
        ("export default () => {\n  null.foo\n}", 2),
        ("async () => {\n  await null;\n  undefined.foo;\n}", 3),
    ],
)
def test_an_exception_has_the_place_where_it_was_thrown(programs: Programs, source: str, line: int) -> None:
    error = programs.failure(source)
    assert isinstance(error, GuestException)
    assert error.line == line


@pytest.mark.parametrize(
    ("source", "message", "line", "column"),
    [
        ("const a = {};\nconst {b} = a.c;\nreturn b", "cannot destructure undefined", 2, 7),
        ("const a = {b: 1};\n\nconst { c: { d } } = a", "cannot destructure undefined", 3, 12),
        ("let a = 1;\n\n[a] = null", "null is not iterable", 3, 1),
        ("const a = [1];\nfor (const [b] of a) {}", "value is not iterable", 2, 12),
        ("const a = {};\nfor (const b of a.c) {}", "undefined is not iterable", 2, 17),
        ("const a = {};\nfor await (const b of a) {}", "value is not iterable", 2, 23),
    ],
)
def test_what_cannot_be_taken_apart_is_named_at_the_pattern(
    programs: Programs, source: str, message: str, line: int, column: int
) -> None:
    error = programs.failure(source)
    assert (error.name, error.message, error.line, error.column) == ("TypeError", message, line, column)


@pytest.mark.parametrize(
    "call",
    [
        "(5).toLocaleString('no_locale')",
        "new Date().toLocaleString('en', {timeZone: 'Mars/Base'})",
        "'a'.localeCompare('b', 'no_locale')",
        "'a'.toLocaleUpperCase('!')",
        "structuredClone([[[[[[[[[[[[() => 1]]]]]]]]]]]])",
    ],
)
def test_an_error_of_the_language_has_the_place_of_its_call_however_deep_it_is(programs: Programs, call: str) -> None:
    error = programs.failure(f"const at = 2;\nconst f = () => {call};\nf()")
    assert error.line == 2
    assert programs.value(f"try {{ {call} }} catch (error) {{ return error.stack.includes('null') }}") is False


def test_the_stack_names_only_the_program(programs: Programs) -> None:
    error = programs.failure("function f() { throw new TypeError('bad') }\nasync () => { [1].map(() => f()) }")
    assert (error.name, error.message) == ("TypeError", "bad")
    lines = error.stack.splitlines()
    assert lines[0] == "    at f (program.js:1:26)"
    assert all("program.js:" in line for line in lines)


@pytest.mark.parametrize(
    ("thrown", "name", "message"),
    [
        ("'text'", None, "text"),
        ("null", None, "the program threw null"),
        ("undefined", None, "the program threw undefined"),
        ("42", None, "the program threw 42"),
        ("{ code: 7 }", None, 'the program threw {"code":7}'),
        ("Symbol('s')", None, "the program threw Symbol(s)"),
        ("new Error()", "Error", "Error without a message"),
        ("Object.assign(new Error('m'), { name: 'Custom' })", "Custom", "m"),
        ("new (class Mine extends Error { get name() { return 'Mine' } })('m')", "Mine", "m"),
    ],
)
def test_whatever_is_thrown_has_a_message(programs: Programs, thrown: str, name: str | None, message: str) -> None:
    error = programs.failure(f"throw {thrown}")
    assert (error.kind, error.name, error.message) == ("exception", name, message)


def test_a_program_cannot_choose_the_kind_of_its_error(programs: Programs) -> None:
    for thrown in (
        "new InternalError('out of memory')",
        "new RangeError('Maximum call stack size exceeded')",
        "Object.assign(new Error('x'), { kind: 'engine' })",
        "{ kind: 'engine', message: 'x' }",
    ):
        assert programs.failure(f"throw {thrown}").kind == "exception"


def test_a_thrown_value_that_resists_being_read_still_is_an_exception(programs: Programs) -> None:
    traps = "get() { throw 1 }, getPrototypeOf() { throw 2 }, getOwnPropertyDescriptor() { throw 3 }"
    hostile = f"new Proxy(new Error('x'), {{ {traps} }})"
    assert isinstance(programs.failure(f"throw {hostile}"), GuestException)
    error = "Object.defineProperty(new Error('x'), 'message', { get() { throw 1 } })"
    assert programs.failure(f"throw {error}").message == "Error without a message"


def test_waiting_for_nothing_is_a_deadlock(programs: Programs) -> None:
    for source in ("await new Promise(() => {})", "new Promise(() => {})", "return new Promise(() => {})"):
        error = programs.failure(source)
        assert isinstance(error, Deadlock)
        assert error.kind == "deadlock"


@pytest.mark.parametrize("source", ["import fs from 'fs';\nfs", "await import('fs')", "async () => await import('fs')"])
def test_importing_says_that_there_is_nothing_to_import(programs: Programs, source: str) -> None:
    error = programs.failure(source)
    assert isinstance(error, GuestException)
    assert 'cannot import "fs"' in error.message


def test_an_unhandled_rejection_is_logged_and_does_not_fail_the_program(programs: Programs) -> None:
    outcome = programs.run("Promise.reject(new Error('lost')); 5")
    assert isinstance(outcome, Completed)
    assert outcome.value == 5
    assert [(line.level, "lost" in line.text) for line in outcome.logs] == [("error", True)]


def test_a_rejection_that_is_handled_later_is_not_logged(programs: Programs) -> None:
    source = "const p = Promise.reject(new Error('x'));\nawait host.wait();\ntry { await p } catch {}\n6"
    assert programs.logs(source) == []


def test_the_rejection_that_fails_the_program_is_not_logged_too(programs: Programs) -> None:
    outcome = programs.run("throw new Error('once')")
    assert isinstance(outcome, Failed)
    assert outcome.logs == ()


def test_eval_and_new_function_work_inside(programs: Programs) -> None:
    assert programs.value("[eval('1 + 1'), new Function('return 3')()]") == [2, 3]


def test_call_sites_do_not_hand_out_functions(programs: Programs) -> None:
    source = """
    Error.prepareStackTrace = (error, sites) => sites;
    const site = new Error('x').stack[0];
    [typeof site.getFunction, typeof site.getThis, site.getLineNumber()]
    """
    assert programs.value(source) == ["undefined", "undefined", 3]
