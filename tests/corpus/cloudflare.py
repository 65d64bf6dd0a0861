"""2,747 operations of a large real API as tools, read from the source of its Python client, which is never imported.

The `cloudflare` package is among the developer's requirements. Its methods are the tools, their keyword arguments the
properties, in JSON Schema as far as the annotations say: literals, arrays, and typed dictionaries within one another.
"""

from __future__ import annotations

import ast
import fcntl
import functools
import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stubs import Server, Tool

SERVER = "cloudflare"
_DEPTH = 3
_PLAIN = {"str": "string", "bool": "boolean", "float": "number", "int": "integer"}
_LISTS = {"List", "Iterable", "SequenceNotStr", "Sequence", "Set"}
_ABSENT = {"Omit", "NotGiven"}
_OWN = {"extra_headers", "extra_query", "extra_body", "timeout"}
_ARGUMENT = re.compile(r"^ {2}(\w+): ?(.*)$")


@functools.cache
def server() -> Server:
    """All operations as one server."""
    return Server(SERVER, tools=tuple(Tool(t["name"], None, t["description"], t["inputSchema"]) for t in tools()))


@functools.cache
def tools() -> list[dict[str, Any]]:
    """The operations as `tools/list` has them, ordered by name; read from the source once and kept for the user."""
    kept = _kept()
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            read = sorted(_Reader().tools(), key=lambda tool: str(tool["name"]))
            unfinished = kept.with_suffix(".unfinished")
            unfinished.write_bytes(gzip.compress(json.dumps(read).encode(), 1))
            unfinished.replace(kept)
    found: list[dict[str, Any]] = json.loads(gzip.decompress(kept.read_bytes()))
    return found


def _kept() -> Path:
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "codemode-portal" / f"cloudflare-{importlib.metadata.version('cloudflare')}-{made_by}.gz"


class _Reader:
    """Reads the package's files, each at most once."""

    def __init__(self) -> None:
        found = importlib.util.find_spec("cloudflare")
        assert found is not None and found.origin is not None
        self._root = Path(found.origin).parent
        self._modules: dict[Path, dict[str, ast.stmt]] = {}

    def tools(self) -> Iterator[dict[str, Any]]:
        for path in sorted((self._root / "resources").rglob("*.py")):
            if path.name == "__init__.py":
                continue
            folders = [*path.relative_to(self._root / "resources").parent.parts]
            resource = folders if folders and folders[-1] == path.stem else [*folders, path.stem]
            for name, statement in self._statements(path).items():
                if isinstance(statement, ast.ClassDef) and name.endswith("Resource"):
                    yield from self._methods(statement, resource, path)

    def _methods(self, resource: ast.ClassDef, name: list[str], path: Path) -> Iterator[dict[str, Any]]:
        seen = set()
        for method in resource.body:
            if not isinstance(method, ast.FunctionDef) or method.name.startswith("_") or method.name in seen:
                continue
            # Of an overloaded method the first spelling comes first.
            if not _decorators(method) & {"cached_property", "property"}:
                seen.add(method.name)
                yield self._tool("_".join([*name, method.name]), method, path)

    def _tool(self, name: str, method: ast.FunctionDef, path: Path) -> dict[str, Any]:
        description, arguments = _documentation(ast.get_docstring(method) or "")
        properties: dict[str, Any] = {}
        required = []
        given = [*method.args.args[1:], *method.args.kwonlyargs]
        defaults = [None] * len(method.args.args[1:]) + list(method.args.kw_defaults)
        for argument, default in zip(given, defaults, strict=True):
            if argument.arg in _OWN:
                continue
            schema = self._schema(argument.annotation, path, _DEPTH) if argument.annotation else {}
            if text := arguments.get(argument.arg):
                schema = {**schema, "description": text}
            properties[argument.arg] = schema
            if default is None:
                required.append(argument.arg)
        schema = {"type": "object", "properties": properties, "required": required}
        return {"name": name, "description": description, "inputSchema": schema}

    def _schema(self, annotation: ast.expr, path: Path, depth: int) -> dict[str, Any]:
        match annotation:
            case ast.BinOp(op=ast.BitOr()):
                return self._union(list(_alternatives(annotation)), path, depth)
            case ast.Subscript(value=ast.Name(id="Literal"), slice=members):
                values = members.elts if isinstance(members, ast.Tuple) else [members]
                return {"enum": [value.value for value in values if isinstance(value, ast.Constant)]}
            case ast.Subscript(value=ast.Name(id="Optional" | "Required" | "Annotated" as wrapper), slice=inner):
                first = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
                schema = self._schema(first, path, depth)
                return {"anyOf": [schema, {"type": "null"}]} if wrapper == "Optional" else schema
            case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=members)):
                return self._union(members, path, depth)
            case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _LISTS:
                return {"type": "array", "items": self._schema(inner, path, depth)}
            case ast.Subscript(value=ast.Name(id="Dict" | "Mapping")):
                return {"type": "object"}
            case ast.Constant(value=str(text)):
                return self._schema(ast.parse(text, mode="eval").body, path, depth)
            case ast.Constant(value=None):
                return {"type": "null"}
            case ast.Name(id=name) if name in _PLAIN:
                return {"type": _PLAIN[name]}
            case ast.Name(id=name):
                return self._named(name, path, depth)
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                where = self._imported(module, path)
                return self._named(name, where[0], depth) if where else {}
        return {}

    def _union(self, members: list[ast.expr], path: Path, depth: int) -> dict[str, Any]:
        kept = [one for one in members if not (isinstance(one, ast.Name) and one.id in _ABSENT)]
        schemas = [self._schema(one, path, depth) for one in kept]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _named(self, name: str, path: Path, depth: int) -> dict[str, Any]:
        match self._statements(path).get(name):
            case ast.ClassDef() as found:
                return self._dictionary(found, path, depth)
            case ast.AnnAssign(value=ast.expr() as value) | ast.Assign(value=value):
                return self._schema(value, path, depth)
        if (where := self._imported(name, path)) is not None:
            return self._named(where[1], where[0], depth)
        return {}

    def _dictionary(self, found: ast.ClassDef, path: Path, depth: int) -> dict[str, Any]:
        if depth == 0 or not any("TypedDict" in ast.unparse(base) for base in found.bases):
            return {"type": "object"} if found.bases else {}
        properties: dict[str, Any] = {}
        required = []
        last = ""
        for statement in found.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=last), annotation=annotation):
                    properties[last] = self._schema(annotation, path, depth - 1)
                    if ast.unparse(annotation).startswith("Required["):
                        required.append(last)
                case ast.Expr(value=ast.Constant(value=str(text))) if last in properties:
                    properties[last] = {**properties[last], "description": " ".join(text.split())}
        return {"type": "object", "properties": properties, **({"required": required} if required else {})}

    def _statements(self, path: Path) -> dict[str, ast.stmt]:
        """What a module defines, by name; `import:x` is where it imports x from."""
        if path not in self._modules:
            found: dict[str, ast.stmt] = {}
            # Everything is there again for asyncio, behind the rest.
            source, _, _ = path.read_text(encoding="utf-8").partition("\nclass Async")
            for statement in ast.parse(source).body:
                match statement:
                    case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                        found[name] = statement
                    case ast.Assign(targets=[ast.Name(id=name)]):
                        found[name] = statement
                    case ast.ImportFrom():
                        found.update({f"import:{one.asname or one.name}": statement for one in statement.names})
            self._modules[path] = found
        return self._modules[path]

    def _imported(self, name: str, path: Path) -> tuple[Path, str] | None:
        """The file and the name there of what a module imports within the package."""
        statement = self._statements(path).get(f"import:{name}")
        if not isinstance(statement, ast.ImportFrom) or not statement.level:
            return None
        own = next(one.name for one in statement.names if (one.asname or one.name) == name)
        folder = path.parents[statement.level - 1].joinpath(*(statement.module or "").split("."))
        for candidate in (folder / f"{own}.py", folder.with_suffix(".py"), folder / "__init__.py"):
            if candidate.is_file():
                return candidate, own
        return None


def _decorators(method: ast.FunctionDef) -> set[str]:
    return {decorator.id for decorator in method.decorator_list if isinstance(decorator, ast.Name)}


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        yield from _alternatives(annotation.left)
        annotation = annotation.right
    yield annotation


def _documentation(text: str) -> tuple[str, dict[str, str]]:
    """A method's own words, and those of its arguments."""
    description, _, rest = text.partition("\nArgs:\n")
    if text.startswith("Args:\n"):
        description, rest = "", text.removeprefix("Args:\n")
    arguments: dict[str, list[str]] = {}
    current: list[str] = []
    for line in rest.splitlines():
        if found := _ARGUMENT.match(line):
            current = arguments[found[1]] = [found[2]]
        else:
            current.append(line.strip())
    return description.strip(), {name: " ".join(" ".join(lines).split()) for name, lines in arguments.items()}
