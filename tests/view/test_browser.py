"""The run browser in Chromium: opened, a slider moved, the picture changed, and nobody else let in."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT

import sdesim
from sdesim.cli import main
from sdesim.results.stores.folder import Store
from sdesim.results.stores.leases import Leases

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        if os.environ.get("SDESIM_BROWSER"):  # as CI has it: what is asked for must be there
            pytest.fail("SDESIM_BROWSER is set, and there is no Chromium")
        pytest.skip("needs Chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "store"
    model = sdesim.Dynamics(lambda x: jnp.sum(x**2) / 2, sdesim.Quorum(1.0), sdesim.noise.Gaussian(1.0), eta=0.05)
    how = dict(agents=4, sims=6, steps=20, init=1.0, observe=[sdesim.observe.Quorum()], every=5)
    sdesim.sweep(model, {"coupling.k": [0.5, 1.0, 2.0], "eta": [0.01, 0.02]}, store=str(path), lanes=6, **how)
    return path


@contextlib.contextmanager
def viewed(path, environment):
    """The address that the command prints, for as long as it is needed."""
    command = [sys.executable, "-u", "-m", "sdesim", "view", str(path), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield re.search(r"http://\S+", process.stdout.readline())[0]
        finally:
            process.terminate()


@pytest.fixture
def view(store, users_environment):
    with viewed(store, users_environment) as address:
        yield address


def picture(page):
    return page.locator("img").first.get_attribute("src")


@pytest.mark.parametrize("size", [(1200, 900), (390, 844)], ids=["desktop", "phone"])
def test_a_picture_changes_with_its_slider_and_variable(view, chromium, size, tmp_path):
    width, height = size
    page = chromium.new_page(viewport={"width": width, "height": height}, is_mobile=width < 500)
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(view)
    page.wait_for_selector("img")
    before = picture(page)
    page.locator("select").first.select_option("quorum_series")
    changed(page, before)
    before = picture(page)
    handle = page.locator(".noUi-handle:visible").last
    handle.focus()
    page.keyboard.press("ArrowRight")
    changed(page, before)
    assert page.evaluate("document.documentElement.scrollWidth") <= width + 1  # nothing is out of sight to the right
    page.screenshot(path=tmp_path / "page.png")
    host = view.split("/")[2]
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {host}
    assert not wrong
    page.close()


def test_a_running_sweep_is_seen_to_go_on(store, chromium, tmp_path, users_environment):
    """Tasks that are done meanwhile, by whomever, move the bar and change the picture, and nobody asks for it."""
    running = Store(shutil.copytree(store, tmp_path / "running"))
    due = sorted(running.done())[2:]
    for number in due:
        running.forget(number)
    leases = Leases(running.path / "leases")
    assert leases.take(due[0])
    with viewed(running.path, users_environment) as address:
        page = chromium.new_page()
        page.goto(address)
        page.wait_for_selector("img")
        page.locator("p", has_text="2 of 6 tasks, 1 in work").wait_for()
        before = picture(page)
        for folder in ("tasks", "cards"):
            shutil.copytree(store / folder, running.path / folder, dirs_exist_ok=True)
        page.locator("p", has_text="6 of 6 tasks").wait_for()
        changed(page, before)
    leases.close()


@pytest.mark.parametrize("kind", ["page", "export"])
def test_on_a_phone_no_claim_is_cut(kind, chromium, tmp_path, users_environment):
    """All that is said of a claim is within the screen, what breaks it too."""
    for suffix in ("claims.json", "breaks.json"):
        shutil.copy(ROOT / "figures" / f"bs-fig1.{suffix}", tmp_path)
    page = chromium.new_page(viewport={"width": 390, "height": 844}, is_mobile=True)
    if kind == "export":
        assert main(["view", str(tmp_path), "--export", str(tmp_path / "page.html")]) == 0
        page.goto((tmp_path / "page.html").as_uri())
        no_claim_is_cut(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 391  # of a title that is one long word, too
    else:
        with viewed(tmp_path, users_environment) as address:
            page.goto(address)
            no_claim_is_cut(page)


def no_claim_is_cut(page):
    page.wait_for_selector("td")
    cells = page.locator("td[data-of='broken by']")
    boxes = [cells.nth(i).bounding_box() for i in range(cells.count())]
    assert len(boxes) > 5 and all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)


def changed(page, before):
    deadline = time.monotonic() + 20
    while picture(page) == before:
        assert time.monotonic() < deadline, "the picture did not change"
        time.sleep(0.1)


def status(address, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
            return answer.status, answer.headers.get("Set-Cookie", "")
    except urllib.error.HTTPError as error:
        return error.code, error.reason


def handshake(front, session, origin):
    """The status that a page of an origin gets when it opens a websocket."""
    host = front.split("/")[2]
    name, port = host.split(":")
    lines = [
        "GET /ws HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Origin: {origin}",
        f"Cookie: {session}",
    ]
    with socket.create_connection((name, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(connection.recv(100).split()[1])


def test_only_who_has_the_token_is_let_in_and_once(view):
    front = view.partition("?")[0]
    assert status(front)[0] == 403
    assert status(front + "?token=guessed")[0] == 403
    assert status(view, Host="evil.example")[0] == 403  # a page elsewhere whose name leads to this machine
    code, cookie = status(view)
    assert code == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    code, why = status(view)  # it was for one visit
    assert code == 403 and "works once: use the browser that opened it, or start sdesim view again" in why
    session = next(c for c in re.findall(r"sdesim-view=[^;]+", cookie))
    assert status(front, Cookie=session)[0] == 200
    assert status(front, Cookie=session, Host="evil.example")[0] == 403
    assert handshake(front, session, front.rstrip("/")) != 403  # refused, if at all, for what is not asked here
    assert handshake(front, session, "http://evil.example") == 403


def test_a_label_is_text(chromium, tmp_path, users_environment):
    """What a stranger's file calls its variable is shown as it is written."""
    import xarray as xr

    from sdesim.results.datasets import write_dataset

    evil = "<img src=x onerror=document.title='gone'>"
    values = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("k", "time"), attrs={"long_name": evil})
    write_dataset(xr.Dataset({evil: values}, attrs={"made_by": evil}), tmp_path / "evil.nc")
    with viewed(tmp_path / "evil.nc", users_environment) as address:
        page = chromium.new_page()
        page.goto(address)
        page.wait_for_selector("img[src^=data]")
        assert page.locator("select option").first.inner_text() == evil
        assert page.title().endswith("sdesim") and not page.locator("img[src=x]").count()
