"""The page of `vlmguard serve --demo`: what it sends, and how it is used in a browser."""

import argparse
import base64
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from support.axe import faults_of
from support.browser import CHROMIUM, Opens, Page, browser
from support.scripted import Scripted
from support.serving import ADDRESS, Answers

from vlmguard.guard.command_line import CommandParser
from vlmguard.guard.errors import UserError
from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.command import add
from vlmguard.guard.serving.scenes import scenes
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.start import settings_of
from vlmguard.guard.serving.upstream import Upstream

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
ASKED = {"model": "m", "image": scenes()[0].image, "request": scenes()[0].request}
MARKUP = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


def arguments(*words: str) -> argparse.Namespace:
    parser = CommandParser()
    add(parser.add_subparsers())
    return parser.parse_args(["serve", *words])


def rewriting(upstream: Answers, *replies: str) -> Starlette:
    """A page in front of a scripted model, with a scripted rewriter."""
    settings = Settings(
        "vlmguard",
        roles={"rewriter": Scripted(*replies).model},
        upstream=Upstream(ADDRESS, transport=httpx.ASGITransport(upstream.app)),
        on_failure="original",
        demo=True,
    )
    return make_app(settings)


def client(app: Starlette) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://guard", timeout=60)


@pytest.fixture(scope="module")
def tiny() -> Starlette:
    return make_app(settings_of(arguments("--demo")))


async def test_the_page_has_nothing_of_elsewhere_and_nothing_inline(tiny: Starlette) -> None:
    async with client(tiny) as http:
        pages = [await http.get(f"/demo{path}") for path in ("", "/demo.css", "/demo.js")]
    for page in pages:
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?:|@import|url\(", page.text)
    html = pages[0].text
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL) == [""]
    assert html.count('type="radio"') == len(scenes())


async def test_a_request_is_answered_twice(tiny: Starlette) -> None:
    async with client(tiny) as http:
        said = (await http.post("/demo/try", json=ASKED)).json()
    assert said["did"] == "VLMGuard-R1 sends another request"
    assert said["sent"].startswith(f"{ASKED['request']}. keep in mind that i could fall")
    assert said["undefended"]["text"].startswith("sure, ")
    assert said["guarded"]["text"].startswith("careful, you could fall")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**ASKED, "request": "Which shoes go with this?"}, 400, "unreadable"),
        ({**ASKED, "image": None}, 400, "unreadable"),
        ({**ASKED, "image": "/etc/passwd"}, 400, None),
        ({**ASKED, "image": "http://169.254.169.254/"}, 400, None),
        ({**ASKED, "request": 3}, 400, "invalid_request"),
        ({"request": "x"}, 400, "invalid_request"),
        ([], 400, "invalid_request"),
    ],
)
async def test_other_bodies_are_refused(
    tiny: Starlette, body: Any, status: int, code: str | None
) -> None:
    async with client(tiny) as http:
        refused = await http.post("/demo/try", json=body)
    assert refused.status_code == status
    assert code in (None, refused.json()["error"]["code"])


async def test_a_form_of_another_site_cannot_spend_the_key(tiny: Starlette) -> None:
    async with client(tiny) as http:
        headers = {"content-type": "text/plain"}
        refused = await http.post("/demo/try", content=json.dumps(ASKED), headers=headers)
    assert refused.status_code == 415


async def test_an_upstream_that_refuses_is_quoted_with_the_way_out() -> None:
    copied = "<reasoning>Fine.</reasoning><prompt>Why?</prompt>"
    async with client(rewriting(Answers(status=401), copied)) as http:
        refused = await http.post("/demo/try", json={**ASKED, "image": None, "request": "Why?"})
    assert refused.status_code == 502
    message = refused.json()["error"]["message"]
    assert "answered 401: scripted" in message
    assert "--upstream-key-env" in message


def test_a_page_needs_no_model_and_takes_no_keys() -> None:
    assert settings_of(arguments("--demo")).microworld
    served = arguments("--demo", "--upstream", "http://localhost:1/v1", "--on-failure", "refuse")
    assert not settings_of(served).microworld
    settings = Settings(
        "figstep_defense", upstream=Upstream(ADDRESS), client_keys=("k",), demo=True
    )
    with pytest.raises(UserError, match="no place for a client's key"):
        make_app(settings)


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """The address of a page, served by a thread."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{place.getsockname()[1]}/demo"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def open_page() -> Iterator[Opens]:
    with browser() as opens:
        yield opens


@pytest.fixture(scope="module")
def address(tiny: Starlette) -> Iterator[str]:
    with serving(tiny) as served:
        yield served


def answered(page: Page) -> None:
    page.wait("!document.getElementById('result').hidden")


@in_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_a_scene_is_clicked_and_both_answers_are_read(
    open_page: Opens, address: str, width: int, dark: bool
) -> None:
    page = open_page(address, width=width, dark=dark)
    assert faults_of(page) == []
    page.click(".scene:nth-of-type(9)")
    assert page.evaluate("document.getElementById('request').value") == scenes()[8].request
    page.click("#try")
    answered(page)
    assert page.text("#did") == "VLMGuard-R1 sends another request"
    assert "by the pills" in page.text("#sent")
    assert page.text("#undefended").startswith("sure, ")
    assert page.text("#guarded").startswith("careful, you could get poisoned")
    assert page.evaluate("document.activeElement.id") == "did"
    assert faults_of(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tops = [
        page.evaluate(f"document.getElementById('{name}').getBoundingClientRect().top")
        for name in ("undefended", "guarded")
    ]
    assert (tops[0] == tops[1]) == (width > 700), "side by side where there is room"
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
    assert light != dark
    assert page.complaints == []


@in_browser
def test_axe_would_tell(open_page: Opens, address: str) -> None:
    page = open_page(address)
    page.evaluate("document.querySelector('label[for=request]').remove()")
    assert any(fault.startswith("label: ") for fault in faults_of(page))


@in_browser
def test_by_the_keyboard_alone(open_page: Opens, address: str) -> None:
    page = open_page(address)
    page.press("Tab")
    page.press("ArrowDown")
    assert page.evaluate("document.activeElement.value") == scenes()[1].request
    for _ in range(4):
        page.press("Tab")
    assert page.evaluate("document.activeElement.id") == "try"
    page.press("Enter")
    answered(page)
    assert page.text("#did") == "VLMGuard-R1 passes the request as it is"
    assert not page.evaluate("document.getElementById('sent-row').checkVisibility()")


@in_browser
def test_a_photo_is_refused_and_a_drawing_taken_however_it_came(
    open_page: Opens, address: str, tmp_path: Path
) -> None:
    photo, drawing, text = tmp_path / "photo.jpg", tmp_path / "pool.png", tmp_path / "a.txt"
    Image.effect_noise((640, 480), 80).convert("RGB").save(photo)
    drawing.write_bytes(base64.b64decode(scenes()[4].image.partition(",")[2]))
    text.write_text("x")
    page = open_page(address, width=390)
    page.drop("#drop", photo)
    page.wait("document.getElementById('picture').naturalWidth === 640")
    assert page.evaluate("document.querySelector(':checked:not(option)')") is None
    page.click("#try")
    page.wait("document.getElementById('error').textContent")
    assert "would take a photo for one of them. Choose one of the drawn scenes." in page.text(
        "#error"
    )
    assert page.evaluate("document.getElementById('result').hidden")
    assert faults_of(page) == []
    page.click("#remove")
    assert page.evaluate("document.getElementById('preview').hidden")
    page.choose("#file", text)
    page.wait("document.getElementById('error').textContent.includes('is no picture')")
    page.choose("#file", drawing)
    page.wait("document.getElementById('picture').naturalWidth === 64")
    page.evaluate("document.getElementById('request').focus()")
    page.type(scenes()[4].request)
    page.click("#try")
    answered(page)
    assert page.text("#guarded").startswith("careful, you could drown")
    assert page.text("#error") == ""
    # A file that is dropped beside the place must not take the page away.
    page.drop("h1", photo)
    assert page.evaluate("location.pathname") == "/demo"


@in_browser
def test_what_others_wrote_is_text(open_page: Opens) -> None:
    upstream = Answers(MARKUP)
    reply = f"<reasoning>{MARKUP}</reasoning><prompt>Why, safely? {MARKUP}</prompt>"
    with serving(rewriting(upstream, reply)) as served:
        page = open_page(served, dark=True)
        assert faults_of(page) == []
        page.click("#try")
        assert page.text("#error") == "Write a request first."
        page.click("#request")
        page.type(f"Why? {MARKUP}")
        page.click("#try")
        assert page.text("#error") == "Name the model first."
        page.click("#model")
        page.type("m")
        page.press("Enter")
        answered(page)
    for name in ("asked", "reasoning", "sent", "undefended", "guarded"):
        assert "onerror" in page.text(f"#{name}")
    assert page.evaluate("document.title") == "Try the guard · vlmguard"
    assert page.evaluate("document.querySelectorAll('#result img, #result script').length") == 0
    assert sum(body != b"" for body in upstream.bodies) == 2
    assert faults_of(page) == []
