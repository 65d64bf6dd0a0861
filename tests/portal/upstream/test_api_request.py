"""What a call of an operation becomes on the wire: every style, every body, and nothing that a value can break."""

from __future__ import annotations

import base64
import email
import email.policy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.config import OpenApiServer, parse_config
from portal.openapi import Api, ApiBody, ApiOperation, FieldEncoding, Parameter, Result, SecurityScheme
from portal.upstream.transports.api_request import ArgumentRefused, OperationRequest, request_of
from portal.upstream.transports.api_security import scheme_values
from portal.upstream.transports.openapi import address_of

BOUNDARY = "boundary-of-the-tests"
PLAIN_FILE = FieldEncoding(file=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)


def parameter(name: str, location: Any = "query", style: Any = "", **options: Any) -> Parameter:
    style = style or {"path": "simple", "header": "simple"}.get(location, "form")
    explode = options.pop("explode", style == "form")
    return Parameter(name, name, location, options.pop("required", False), style, explode, **options)


def operation(*parameters: Parameter, path: str = "/things", body: ApiBody | None = None) -> ApiOperation:
    return ApiOperation(
        name="call",
        title="",
        description="",
        operation_id="call",
        method="POST",
        path=path,
        base_urls=(),
        parameters=parameters,
        body=body,
        security=(),
        result=Result("application/json", ("json",)),
        input_schema={"type": "object"},
        output_schema=None,
        annotations={},
    )


def made(one: ApiOperation, **arguments: Any) -> OperationRequest:
    return request_of(one, arguments, boundary=BOUNDARY)


def query(value: Any, style: str = "form", *, explode: bool = True, **options: Any) -> str:
    return "&".join(made(operation(parameter("q", "query", style, explode=explode, **options)), q=value).query)


def path(value: Any, style: str = "simple", *, explode: bool = False) -> str:
    one = operation(parameter("id", "path", style, explode=explode), path="/a/{id}/b")
    return made(one, id=value).path


LIST, OBJECT = ["blue", "black", "brown"], {"R": 100, "G": 200, "B": 150}


@pytest.mark.parametrize(
    ("style", "explode", "value", "written"),
    [
        ("form", True, "blue", "q=blue"),
        ("form", True, LIST, "q=blue&q=black&q=brown"),
        ("form", False, LIST, "q=blue,black,brown"),
        ("form", True, OBJECT, "R=100&G=200&B=150"),
        ("form", False, OBJECT, "q=R,100,G,200,B,150"),
        ("spaceDelimited", False, LIST, "q=blue%20black%20brown"),
        ("spaceDelimited", False, OBJECT, "q=R%20100%20G%20200%20B%20150"),
        ("pipeDelimited", False, LIST, "q=blue%7Cblack%7Cbrown"),
        ("pipeDelimited", True, LIST, "q=blue&q=black&q=brown"),
        ("deepObject", True, OBJECT, "q%5BR%5D=100&q%5BG%5D=200&q%5BB%5D=150"),
        ("deepObject", True, {"a": {"b": [1, 2]}}, "q%5Ba%5D%5Bb%5D%5B%5D=1&q%5Ba%5D%5Bb%5D%5B%5D=2"),
        ("deepObject", True, [{"a": 1}, {"a": 2}], "q%5B0%5D%5Ba%5D=1&q%5B1%5D%5Ba%5D=2"),
        ("form", True, True, "q=true"),
        ("form", True, 3.0, "q=3"),
        ("form", True, 0.5, "q=0.5"),
        ("form", True, "", "q="),
        ("form", True, [], ""),
        ("form", False, [], ""),
        ("form", True, [1, None, 2], "q=1&q=2"),
        ("form", True, [{"deep": 1}], "q=%7B%22deep%22%3A1%7D"),
        ("form", True, "a&b=c#d e+f", "q=a%26b%3Dc%23d%20e%2Bf"),
    ],
)
def test_a_query_has_the_style_of_its_parameter(style: str, explode: bool, value: Any, written: str) -> None:
    assert query(value, style, explode=explode) == written


@pytest.mark.parametrize(
    ("style", "explode", "value", "written"),
    [
        ("simple", False, 5, "/a/5/b"),
        ("simple", False, LIST, "/a/blue,black,brown/b"),
        ("simple", True, OBJECT, "/a/R=100,G=200,B=150/b"),
        ("simple", False, OBJECT, "/a/R,100,G,200,B,150/b"),
        ("label", False, "blue", "/a/.blue/b"),
        ("label", True, LIST, "/a/.blue.black.brown/b"),
        ("label", True, OBJECT, "/a/.R=100.G=200.B=150/b"),
        ("matrix", False, "blue", "/a/;id=blue/b"),
        ("matrix", False, LIST, "/a/;id=blue,black,brown/b"),
        ("matrix", True, LIST, "/a/;id=blue;id=black;id=brown/b"),
        ("matrix", False, OBJECT, "/a/;id=R,100,G,200,B,150/b"),
        ("matrix", True, OBJECT, "/a/;R=100;G=200;B=150/b"),
        ("simple", False, "a/b?c#d", "/a/a%2Fb%3Fc%23d/b"),
        ("simple", False, "100%", "/a/100%25/b"),
        ("simple", False, "ümlaut", "/a/%C3%BCmlaut/b"),
        ("simple", False, "v1.2..3", "/a/v1.2..3/b"),
    ],
)
def test_a_path_has_the_style_of_its_parameter(style: str, explode: bool, value: Any, written: str) -> None:
    assert path(value, style, explode=explode) == written


@pytest.mark.parametrize(
    "value", ["..", ".", "../admin", "a/../../admin", "..\\admin", "a/..", "..;/admin", "", [], "./x", {"a": ".."}]
)
def test_a_value_cannot_lead_to_another_path(value: Any) -> None:
    with pytest.raises(ArgumentRefused):
        path(value)


def test_a_label_of_a_dot_is_no_way_up() -> None:
    with pytest.raises(ArgumentRefused):
        path(".", "label")


def test_a_part_of_the_path_that_is_missing_is_named() -> None:
    with pytest.raises(ArgumentRefused, match="`id` is missing"):
        path(None)


def test_reserved_characters_stay_where_the_document_allows_them_and_cannot_add_a_parameter() -> None:
    written = query("http://h/a?b=c&admin=1#x+y%2Fz%zz", allow_reserved=True)
    assert written == "q=http://h/a?b=c%26admin=1%23x%2By%2Fz%25zz"
    assert list(parse_qs(written)) == ["q"]


def test_a_parameter_with_a_media_type_is_one_text() -> None:
    assert query({"a": [1]}, media_type="application/json") == "q=%7B%22a%22%3A%5B1%5D%7D"
    assert query("a b", media_type="text/plain") == "q=a%20b"


def test_what_is_not_given_is_not_sent_and_a_default_is() -> None:
    one = operation(parameter("q"), parameter("version", "header", default="2", required=True))
    assert made(one) == OperationRequest(
        "POST", "/things", (), {"accept": "application/json", "version": "2"}, (), None
    )


@given(TEXTS, TEXTS)
def test_no_value_of_a_query_or_a_path_becomes_anything_else(value: str, key: str) -> None:
    one = operation(parameter("q"), parameter("deep", "query", "deepObject"), parameter("id", "path"), path="/a/{id}/b")
    try:
        request = made(one, q=value, deep={key: value}, id=value)
    except ArgumentRefused:
        return
    url = address_of("https://api.example.com/v1?fixed=1", request.path, request.query)
    assert url.isascii() and url.isprintable() and " " not in url
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example.com", "")
    below = parts.path.removeprefix("/v1").split("/")
    assert below == ["", "a", below[2], "b"] and unquote(below[2]) == value
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    assert pairs == [("fixed", "1"), ("q", value), (f"deep[{key}]", value)]


@given(st.one_of(TEXTS, st.lists(TEXTS), st.dictionaries(TEXTS, TEXTS)), st.booleans())
def test_no_value_of_a_header_or_a_cookie_becomes_another(value: Any, explode: bool) -> None:
    one = operation(parameter("X-One", "header", explode=explode), parameter("crumb", "cookie", explode=explode))
    try:
        request = request_of(one, {"X-One": value, "crumb": value}, boundary=BOUNDARY)
    except ArgumentRefused:
        return
    assert not any(letter in text for text in (*request.headers.values(), *request.cookies) for letter in "\r\n\0")
    assert not any(letter in cookie for cookie in request.cookies for letter in '; ,"\\')


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "Transfer-Encoding", "Authorization", "Cookie", "a b", "Proxy-X"]
)
def test_a_header_that_is_not_a_callers_is_refused(name: str) -> None:
    with pytest.raises(ArgumentRefused, match="cannot be sent"):
        request_of(operation(parameter(name, "header")), {name: "x"}, boundary=BOUNDARY)


def test_a_header_of_the_configuration_is_not_a_callers() -> None:
    one = operation(parameter("X-Tenant", "header"))
    request = request_of(one, {"X-Tenant": "theirs"}, boundary=BOUNDARY, fixed=("x-tenant",))
    assert "x-tenant" not in request.headers


def test_a_document_cannot_end_the_line_of_a_request() -> None:
    one = operation(path="/a b\r\nHost: evil/ü?fixed=1 2#part")
    request = made(one)
    assert request.path == "/a%20b%0D%0AHost:%20evil/%C3%BC" and request.query == ("fixed=1%202",)
    odd = replace(operation(), result=Result("text/plain\r\nx: y", ("text",)))
    assert made(odd).headers["accept"] == "text/plainx: y"
    kind = replace(body("json", "application/json\r\nx: y", rest=True))
    assert "\r" not in made(kind, a=1).headers["content-type"]


def test_an_address_is_sent_as_ascii() -> None:
    assert address_of("https://bücher.example/a b/?x=1", "/ok", ("q=2",)) == (
        "https://xn--bcher-kva.example/a%20b/ok?x=1&q=2"
    )


@pytest.mark.parametrize("name", ["Host", "Content-Length", "X: y\r\nZ", "Transfer-Encoding"])
def test_a_key_is_not_sent_under_the_name_of_a_header_of_the_connection(name: str) -> None:
    scheme = SecurityScheme("apiKey", name=name, location="header")
    one = replace(operation(), security=({"key": ()},))
    api = Api("", "", "", "3.1.0", (), {"key": scheme}, (one,))
    config = parse_config({"mcpServers": {"a": {"openapi": "x", "credentials": {"key": "value"}}}}, env={}).servers["a"]
    assert isinstance(config, OpenApiServer)
    assert scheme_values(one, api, config).missing == ("key",)


# Bodies


def body(kind: Any, media_type: str, **options: Any) -> ApiOperation:
    return operation(body=ApiBody(kind, media_type, options.pop("required", True), **options))


def test_a_json_body_is_the_properties_that_are_no_parameters() -> None:
    one = operation(
        parameter("id", "path"),
        path="/{id}",
        body=ApiBody("json", "application/json", True, fields={"body_id": "id"}, rest=True),
    )
    request = request_of(one, {"id": 1, "body_id": 2, "name": None}, boundary=BOUNDARY)
    assert request.path == "/1" and request.body == b'{"id":2,"name":null}'
    assert request.headers["content-type"] == "application/json"


def test_a_json_body_may_be_one_property_of_any_kind() -> None:
    one = body("json", "application/vnd.api+json", property="body")
    assert made(one, body=[1, "x"]).body == b'[1,"x"]'
    assert made(one, body=None).body == b"null"


def test_a_body_that_is_not_required_is_not_sent_without_a_value() -> None:
    assert made(body("json", "application/json", fields={"a": "a"}, required=False)).body is None
    assert made(body("json", "application/json", fields={"a": "a"})).body == b"{}"


def test_a_form_has_the_encodings_of_its_fields() -> None:
    encodings = {
        "tags": FieldEncoding(explode=False),
        "deep": FieldEncoding(style="deepObject"),
        "meta": FieldEncoding(content_type="application/json"),
    }
    one = body("form", "application/x-www-form-urlencoded", rest=True, encodings=encodings)
    request = made(one, name="a b&c=d", many=[1, 2], tags=["x", "y"], deep={"k": 1}, meta={"a": 1})
    assert request.body == b"name=a+b%26c%3Dd&many=1&many=2&tags=x,y&deep%5Bk%5D=1&meta=%7B%22a%22%3A1%7D"


def parts_of(request: OperationRequest) -> list[Any]:
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + (request.body or b""), policy=email.policy.HTTP)
    assert message.is_multipart() and not message.defects
    return list(message.iter_parts())


def test_a_multipart_body_has_files_and_fields() -> None:
    encodings = {"file": PLAIN_FILE, "more": FieldEncoding(files=True, content_type="image/png, image/jpeg")}
    one = body("multipart", "multipart/form-data", rest=True, encodings=encodings)
    request = made(
        one,
        title="Ünïcode",
        tags=["a", "b"],
        file={
            "base64": base64.b64encode(b"\x00\xff\r\n--x").decode(),
            "filename": 'a"\r\nb.png',
            "mediaType": "image/png",
        },
        more=[{"text": "one"}, {"text": "two", "filename": "2.txt"}],
    )
    title, tags, file, first, second = parts_of(request)
    assert title.get_payload(decode=True).decode() == "Ünïcode"
    assert tags.get_content_type() == "application/json" and tags.get_payload(decode=True) == b'["a","b"]'
    assert file.get_content_type() == "image/png" and b'filename="a%22%0D%0Ab.png"' in (request.body or b"")
    assert b"\r\n\r\n\x00\xff\r\n--x\r\n" in (request.body or b"")
    assert (first.get_filename(), second.get_filename()) == ("file", "2.txt")
    assert first.get_content_type() == "image/png"


@given(st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=4), TEXTS, TEXTS)
def test_no_field_of_a_multipart_body_becomes_another_part(fields: Mapping[str, str], filename: str, text: str) -> None:
    one = body("multipart", "multipart/form-data", rest=True, encodings={"the file": PLAIN_FILE})
    arguments = {**fields, "the file": {"text": text, "filename": filename}}
    request = request_of(one, arguments, boundary=BOUNDARY)
    assert (request.body or b"").count(f"--{BOUNDARY}\r\n".encode()) == len(arguments)
    heads = [part.partition(b"\r\n\r\n")[0] for part in (request.body or b"").split(f"--{BOUNDARY}".encode())[1:-1]]
    assert all(len(head.strip(b"\r\n").split(b"\r\n")) == 2 for head in heads)


def test_a_file_is_either_base64_or_text() -> None:
    one = body("binary", "application/octet-stream", property="body", media_types=("image/*",))
    assert made(one, body={"base64": "AP8="}).body == b"\x00\xff"
    assert made(one, body={"text": "x", "mediaType": "image/gif"}).headers["content-type"] == "image/gif"
    assert made(one, body={"text": "x", "mediaType": "text/html"}).headers["content-type"] == "application/octet-stream"
    for wrong in (
        {},
        {"text": "x", "base64": ""},
        {"base64": "not base64!"},
        {"text": "x", "mediaType": "a/b\r\nx: y"},
        5,
    ):
        with pytest.raises(ArgumentRefused):
            made(one, body=wrong)


def test_a_text_body_says_its_charset() -> None:
    request = made(body("text", "text/csv", property="body"), body="ä,b")
    assert (request.body, request.headers["content-type"]) == ("ä,b".encode(), "text/csv; charset=utf-8")
