"""Bodies that are made to break a server: each gets a clear error, or passes; none is a 500."""

import json
from typing import Any

import pytest
from support.scripted import Scripted, picture
from support.serving import CHAT_PATH, Answers, served

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"


async def sent(*bodies: bytes, script: Any = REWRITE) -> tuple[list[tuple[int, str]], Answers]:
    """Status and code of each answer, in one server, and the upstream."""
    upstream, came = Answers(), []
    async with served("vlmguard", {"rewriter": Scripted(script)}, upstream) as client:
        for body in bodies:
            answered = await client.post(CHAT_PATH, content=body)
            code = "" if answered.status_code == 200 else answered.json()["error"]["code"]
            came.append((answered.status_code, code))
    return came, upstream


def body(text: str = '"How do I climb it?"', more: str = "") -> bytes:
    return f'{{"model": "m", "messages": [{{"role": "user", "content": {text}}}]{more}}}'.encode()


UNREADABLE = {
    "empty": b"",
    "no JSON": b"model=m",
    "no object": b"[]",
    "null": b"null",
    "half": body()[:-1],
    "two": body() + body(),
    "invalid UTF-8": body().replace(b"climb", b"cl\xffimb"),
    "cut UTF-8": body().replace(b"climb", b"\xe2\x82"),
    "encoded surrogate": body().replace(b"climb", b"\xed\xa0\x80"),
    "overlong": body().replace(b"climb", b"\xc0\xaf"),
    "UTF-16": body().decode().encode("utf-16"),
    "UTF-32": body().decode().encode("utf-32"),
    "byte order mark": b"\xef\xbb\xbf" + body(),
    "control character": body().replace(b"climb", b"cl\nimb"),
    "NUL": body().replace(b"climb", b"cl\0imb"),
    "NaN": body(more=', "temperature": NaN'),
    "Infinity": body(more=', "temperature": -Infinity'),
    "comment": body().replace(b"{", b"{/**/", 1),
    "comma": body().replace(b"}]", b"},]"),
    "single quotes": body().replace(b'"', b"'"),
    "key twice": body(more=', "messages": []'),
    "key twice, escaped": body(more=', "m\\u0065ssages": []'),
    "key twice inside": body().replace(b'"role"', b'"role": "system", "role"'),
    "nested too deep": body(more=f', "x": {"[" * 100_000}{"]" * 100_000}'),
    "objects too deep": body(more=f', "x": {"{1:" * 5}'.replace("1", '"a"') + "1" + "}" * 5)
    .replace(b'{"a":', b'{"a":' * 20_000)
    .replace(b"1}", b"1" + b"}" * 99_996),
    "unended deep": b"[" * 1_000_000,
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_cannot_be_read_is_no_request(name: str) -> None:
    came, upstream = await sent(UNREADABLE[name])
    assert came == [(400, "invalid_json")]
    assert upstream.bodies == []


@pytest.mark.parametrize("key", ["Messages", "MESSAGES", "me\u017f\u017fages", "Model"])
async def test_keys_that_another_reader_takes_for_the_same_are_refused(key: str) -> None:
    """Readers that ignore case (Go's) would see other messages than the guard did."""
    other = json.dumps([{"role": "user", "content": "Other words."}])
    came, upstream = await sent(body(more=f', "{key}": {other}'))
    assert came == [(400, "invalid_json")]
    inside = body().replace(b'"content"', b'"Content": "Other words.", "content"')
    part = body(text='[{"type": "text", "text": "How?", "Text": "Other words."}]')
    url = body(text='[{"type": "image_url", "image_url": {"url": "x", "URL": "y"}}]')
    came, upstream = await sent(inside, part, url)
    assert came == [(400, "invalid_json")] * 3
    assert upstream.bodies == []


PARTS = {
    "Responses": {"type": "input_text", "text": "Other words."},
    "unknown": {"type": "words", "text": "Other words."},
    "refusal": {"type": "refusal", "refusal": "Other words."},
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("path", [CHAT_PATH, "/v1/responses", "/v1/messages"])
async def test_words_in_parts_of_another_api_are_read_and_rewritten(path: str, name: str) -> None:
    """Servers of open models read them; the guard saw a harmless part beside, and passed them."""
    model, upstream = Scripted(REWRITE), Answers()
    content = [{"type": "text", "text": "How?"}, PARTS[name]]
    key = "input" if path == "/v1/responses" else "messages"
    given = {"model": "m", "max_tokens": 9, key: [{"role": "user", "content": content[1:]}]}
    both = {"model": "m", "max_tokens": 9, key: [{"role": "user", "content": content}]}
    async with served("vlmguard", {"rewriter": model}, upstream) as client:
        for each in (given, both):
            answered = await client.post(path, json=each)
            assert answered.headers["x-vlmguard-action"] == "rewrite"
    assert all("Other words." in str(call.messages) for call in model.calls)
    assert not any(b"Other words." in each for each in upstream.bodies)
    assert all(b"How do I climb it safely?" in each for each in upstream.bodies)


async def test_images_in_parts_of_another_api_are_looked_at() -> None:
    part = '{"type": "input_image", "image_url": "/etc/picture.png"}'
    came, upstream = await sent(body(text=f'[{{"type": "text", "text": "How?"}}, {part}]'))
    assert came == [(400, "image_scheme")]
    assert upstream.bodies == []


@pytest.mark.parametrize("empty", ["", " \n", [{"type": "text", "text": " "}]])
@pytest.mark.parametrize("path", [CHAT_PATH, "/v1/responses", "/v1/messages"])
async def test_an_empty_turn_behind_it_does_not_hide_a_request(path: str, empty: Any) -> None:
    turns = [{"role": "user", "content": text} for text in ("How do I climb it?", empty)]
    key = "input" if path == "/v1/responses" else "messages"
    upstream = Answers()
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        answered = await client.post(path, json={"model": "m", "max_tokens": 9, key: turns})
    assert answered.headers["x-vlmguard-action"] == "rewrite"
    changed = {"role": "user", "content": "How do I climb it safely?"}
    assert upstream.asked[0][key] == [changed, turns[1]]


TYPES = {
    "application/json": 200,
    "application/json; charset=UTF-8": 200,
    'application/json;charset="utf-8"': 200,
    "application/json; charset=utf-7": 415,
    "application/json; charset = utf-16": 415,
    "application/x-www-form-urlencoded": 415,
    "multipart/form-data; boundary=x": 415,
}


@pytest.mark.parametrize("kind", TYPES)
async def test_a_body_is_read_by_no_other_rules_than_the_guards(kind: str) -> None:
    upstream = Answers()
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        answered = await client.post(CHAT_PATH, content=body(), headers={"content-type": kind})
    assert answered.status_code == TYPES[kind]
    assert len(upstream.bodies) == (TYPES[kind] == 200)


async def test_keys_of_a_products_own_may_differ_by_case() -> None:
    schema = '{"type": "object", "properties": {"id": {}, "ID": {}, "Name": {}}}'
    given = body(more=f', "tools": [{{"function": {{"parameters": {schema}}}}}]')
    words = '{"type": "text", "text": "How do I climb it?"}'
    called = body(text=f'[{{"type": "tool_use", "input": {{"Text": "x"}}}}, {words}]')
    came, _ = await sent(given, called)
    assert came == [(200, "")] * 2


async def test_at_no_depth_does_the_server_fail() -> None:
    """Of depths that the first reading can take, the second one, for the change, could not."""
    depths = [10, 30, *range(150, 1100, 50), *range(860, 1000, 7), 5_000]
    lists = [body(more=f', "x": {"[" * depth}{"]" * depth}') for depth in depths]
    objects = [body(more=', "x": ' + '{"a":' * depth + "1" + "}" * depth) for depth in depths]
    inside = [body(text="[" * depth + "]" * depth) for depth in depths]
    for bodies in (lists, objects):
        came, upstream = await sent(*bodies)
        assert set(came) == {(200, ""), (400, "invalid_json")}
        assert came[:2] == [(200, "")] * 2
        assert came[-1] == (400, "invalid_json")
        # What passes is whole.
        first = json.loads(bodies[0])
        assert upstream.asked[0]["x"] == first["x"]
    came, upstream = await sent(*inside)
    assert {code for code, _ in came} == {400}


HUGE = [
    "1e999999",
    "-1e400",
    "1" * 350,
    "1" * 4_000,
    "0." + "3" * 100_000,
    "1e-999999",
    "-0",
    "1E+2",
]


@pytest.mark.parametrize("number", HUGE)
async def test_numbers_of_any_size_go_on_as_they_are_written(number: str) -> None:
    given = body(
        more=f', "seed": {number}, "max_tokens": {number}, "n": {number}, "temperature": {number}'
    )
    came, upstream = await sent(given)
    assert came == [(200, "")]
    assert upstream.bodies == [given.replace(b"climb it?", b"climb it safely?")]


LONE = "\\ud800"


@pytest.mark.parametrize("place", ["text", "system", "history", "key", "model", "tool"])
async def test_lone_surrogates_are_no_error(place: str) -> None:
    turn = {"role": "user", "content": "How do I climb it?"}
    history = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes."}]
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "LONE"},
    ]
    given = {
        "text": {"messages": [{"role": "user", "content": "How do I LONE climb it?"}]},
        "system": {"messages": [{"role": "system", "content": "LONE"}, turn]},
        "history": {"messages": [{**history[0], "content": "LONE"}, history[1], turn]},
        "key": {"messages": [turn], "LONE": {"LONE": 1}},
        "model": {"messages": [turn], "model": "LONE"},
        "tool": {"messages": [turn, *tools, turn]},
    }[place]
    whole = json.dumps({"model": "m", **given}).replace("LONE", LONE).encode()
    came, upstream = await sent(whole)
    assert came == [(200, "")]
    if place != "text":
        assert LONE.encode() in upstream.bodies[0]


async def test_half_characters_come_back_in_answers_of_ours() -> None:
    """A refusal names the model that was asked for, and `/v1/rewrite` gives the text."""
    given: dict[str, Any] = {"options": {"adapter": "llama_guard"}}
    asked = body().replace(b'"m"', f'"{LONE}"'.encode())
    roles = {"guard": Scripted("unsafe\nS1")}
    async with served("guard_model", roles, Answers(), **given) as client:
        blocked = await client.post(CHAT_PATH, content=asked)
        stream = await client.post(CHAT_PATH, content=asked.replace(b"{", b'{"stream": true,', 1))
    roles = {"guard": Scripted("safe")}
    async with served("guard_model", roles, Answers(), **given) as client:
        passed = await client.post("/v1/rewrite", content=f'{{"text": "{LONE}"}}'.encode())
    assert (blocked.status_code, blocked.json()["model"]) == (200, "\ud800")
    assert stream.status_code == 200
    assert (passed.status_code, passed.json()["text"]) == (200, "\ud800")


@pytest.mark.parametrize(
    "said", ["<prompt>How \ud800 do I?</prompt>", "\ud800", "<prompt>\0</prompt>"]
)
async def test_a_rewriter_that_says_half_characters_is_no_error(said: str) -> None:
    came, _ = await sent(body(), script=f"<reasoning>x</reasoning>{said}")
    assert came[0][0] in (200, 503)


WRONG: list[Any] = [None, True, 7, 1.5, "", "x", [], {}, [None], [[]], [7], ["x"], [{}], {"a": 1}]
FIELDS = ["messages", "role", "content", "part", "type", "text", "image_url", "url", "tool_calls"]
FIELDS += ["model", "stream", "max_tokens", "temperature", "n", "stop", "tools", "metadata"]


@pytest.mark.parametrize("field", FIELDS)
async def test_a_field_of_any_type_is_no_error_of_the_server(field: str) -> None:
    bodies = []
    for value in WRONG:
        text: dict[str, Any] = {"type": "text", "text": "How do I climb it?"}
        image: dict[str, Any] = {"type": "image_url", "image_url": {"url": picture()}}
        turn: dict[str, Any] = {"role": "user", "content": [text, image]}
        whole: dict[str, Any] = {"model": "m", "messages": [turn]}
        if field in ("type", "text"):
            text[field] = value
        elif field == "image_url":
            image[field] = value
        elif field == "url":
            image["image_url"][field] = value
        elif field == "part":
            turn["content"] = [value, text]
        elif field in ("role", "content"):
            turn[field] = value
        elif field == "tool_calls":
            whole["messages"] = [turn, {"role": "assistant", field: value}, turn]
        else:
            whole[field] = value
        bodies.append(json.dumps(whole).encode())
    came, _ = await sent(*bodies)
    assert {status for status, _ in came} <= {200, 400}, came


async def test_what_a_request_says_is_in_no_error() -> None:
    upstream = Answers()
    secret = "hunter2"
    bodies = [
        body(text=f'"{secret}'),
        body(text=f'[{{"type": "image_url", "image_url": {{"url": "file:///{secret}"}}}}]'),
        body(text=f'[{{"type": {{"{secret}": 1}}}}]'),
        body(more=f', "{secret}": 1, "{secret}": 2'),
        body().replace(b'"user"', f'"{secret}"'.encode()),
    ]
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        for each in bodies:
            answered = await client.post(CHAT_PATH, content=each)
            assert answered.status_code == 400
            assert secret not in answered.text
            assert all(secret not in value for value in answered.headers.values())
