"""The place of an error that a program makes."""

from __future__ import annotations

import pytest

from codemode.places import within
from codemode.run import Failure
from tests.codemode.bench import Engines, run

MADE = """
class ApiError extends Error {
  constructor(m) {
    super(m);
    this.name = "ApiError";
  }
}
function f() {
  throw new ApiError("HERE");
}
f();
---
class ApiError extends Error {}

throw new ApiError("HERE");
---
class ApiError extends Error {
  name = "ApiError";
}
throw new ApiError("HERE");
---
class A extends Error {}
class B extends A {
  constructor(m) {
    super(m);
  }
}
throw new B("HERE");
---
const A = class extends TypeError {
  constructor(m) {
    super(m);
  }
};
throw new A("HERE");
---
class A extends Error {
  constructor(m, options) {
    super(m, options);
  }
}
async function f() {
  try {
    await codemode.fix.nope;
  } catch (error) {
    throw new A("HERE", { cause: error });
  }
}
await f();
---
class A extends Error {
  constructor(m) {
    super(`a ${m}`);
    Error.captureStackTrace(this, A);
  }
}
throw new A("HERE");
---
class A extends Error {
  constructor(m: string, readonly code = 1) {
    super(m);
  }
}
throw new A("HERE");
---
class A extends Error {
  constructor(m) {
    super(m);
  }
  static of(m) {
    return new A("HERE" + m);
  }
}
throw A.of("x");
---
throw new Error("HERE", {
  cause: new TypeError("inner"),
});
---
throw new Error("HERE", {
  cause: new Error("inner"),
});
---
throw new RangeError("HERE" +
  String(1));
---
const a = 1;
throw new (class extends Error {})("HERE");
---
throw new (class extends Error { // HERE
  constructor(m) {
    super(m);
    this.name = "Foo";
  }
})("x");
---
class Base extends Error {}
throw new (class extends Base { constructor() { super("HERE"); } })();
---
const o = {
  E: class extends Error {
    constructor(m) {
      super(m);
    }
  },
};
throw new o.E("HERE");
---
const o = {};
o.E = class extends Error {
  constructor(m) {
    super(m);
  }
};
throw new o.E("HERE");
---
const make = (name) => class extends Error {
  constructor(m) {
    super(m);
    this.name = name;
  }
};
const E = make("E");
throw new E("HERE");
---
const mixed = (B) => class extends B {
  constructor(...a) {
    super(...a);
  }
};
const E = mixed(Error);
throw new E("HERE");
"""
MADE_BY_OTHERS = """
const E = class extends Error {
  constructor(m) {
    super(m.HERE.b);
  }
};
throw new E({});
---
const o = {
  E: class extends Error {
    constructor(m) {
      super(m);
      m.HERE.b;
    }
  },
};
throw new o.E({});
---
class A extends Error {
  constructor(m) {
    super(m);
    throw new TypeError("HERE");
  }
}
throw new A("x");
---
class A extends Error {
  constructor(m) {
    super(f(m));
  }
}
function f(m) {
  return m.HERE.b;
}
throw new A({});
---
class A extends Error {
  constructor(m) {
    super(m.HERE.b);
  }
}
throw new A({});
---
class A {
  constructor(m) {
    throw new Error("HERE");
  }
}
new A("x");
---
class A extends Error {}
function f(m) {
  return m.HERE.b;
}
throw new A(f({}));
---
throw new Error(
  [1].map((n) => {
    throw new Error("HERE");
  }),
);
"""


@pytest.mark.anyio
@pytest.mark.parametrize("code", MADE.strip().split("\n---\n"))
async def test_an_error_is_placed_where_the_program_makes_it(engines: Engines, code: str) -> None:
    error = (await run(engines, code)).error
    assert "HERE" in code.split("\n")[error["line"] - 1] and "HERE" in error["snippet"]
    assert f"program.js:{error['line']}:" in error["stack"].split("\n")[0]


@pytest.mark.anyio
@pytest.mark.parametrize("body", ["{}", "{ constructor(m) { super(m); } }", "{ name = 'A' }"])
async def test_the_caret_of_an_error_whose_class_has_no_name_is_at_new(engines: Engines, body: str) -> None:
    error = (await run(engines, f"const a = 1;\nthrow new (class extends Error {body})('x');")).error
    assert (error["line"], error["column"]) == (2, 7) and error["message"] == "x"
    error = (await run(engines, f"const E = class extends Error {body};\nthrow new E('x');")).error
    assert (error["line"], error["column"]) == (2, 11)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("throw Object.create(Error.prototype);", "Error", "Error without a message"),
        ("throw Object.create(TypeError.prototype);", "TypeError", "TypeError without a message"),
        ("throw Object.assign(Object.create(Error.prototype), {name: 'Mine', message: 'm'});", "Mine", "m"),
        ("function E(m) { this.message = m }\nE.prototype = Object.create(Error.prototype);\n"
         "E.prototype.name = 'E';\nthrow new E('m');", "E", "m"),
        ("throw Object.create(null);", "Error", "the program threw {}"),
        ("throw new Proxy({}, {getPrototypeOf() { throw 1 }});", "Error", "the program threw [threw]"),
    ],
)  # fmt: skip
async def test_an_object_that_inherits_from_an_error_is_shown_as_one(
    engines: Engines, code: str, name: str, message: str
) -> None:
    error = (await run(engines, code)).error
    assert (error["name"], error["message"]) == (name, message)


@pytest.mark.anyio
@pytest.mark.parametrize("code", MADE_BY_OTHERS.strip().split("\n---\n"))
async def test_another_error_in_the_making_of_one_keeps_its_own_place(engines: Engines, code: str) -> None:
    error = (await run(engines, code)).error
    assert "HERE" in code.split("\n")[error["line"] - 1]


BESIDE_OTHER_SCRIPTS = [
    ("const s = 'éé'; const x = null; x.here", "x.here"),
    ("const s = '日本語'; const x = null; here", "here"),
    ("const s = '日本語😀'; here there", "there"),
    ("f('日本語日本語'); function f(s) { throw new Error(s) }", "Error"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("code", "at"), BESIDE_OTHER_SCRIPTS)
async def test_a_column_counts_characters_of_any_script(engines: Engines, code: str, at: str) -> None:
    assert (await run(engines, code)).error["column"] == code.index(at) + 1


def test_places_behind_the_program_are_left_out() -> None:
    stack = "    at f (program.js:2:3)\n    at <eval> (program.js:9:1)"
    assert within(Failure("exception", "Error", "m", 2, 3, stack), 8).stack == "    at f (program.js:2:3)"
    assert within(Failure("exception", "Error", "m", 9, 1, stack), 8).line is None
