"""The run browser's server: this machine alone, one visitor's token, assets of the packages that are here."""

import asyncio
import secrets
import socket
import sys
import webbrowser
from typing import Any

import panel as pn
from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler

from sdesim.view.pages import page
from sdesim.view.sheets import sheets

LOOPBACK = "127.0.0.1"
COOKIE = "sdesim-view"
ONCE = "The address with its token works once: use the browser that opened it, or start sdesim view again"


class Token(AuthProvider):
    """Lets in who has the address with the token, once, and then the browser that came with it.

    Args:
        hosts: names that the server may be asked by, "127.0.0.1:PORT"; a page of another name that leads here is
            refused, whatever it knows.
    """

    def __init__(self, hosts: set[str]):
        self.first = secrets.token_urlsafe(32)
        self._hosts, self._unused = hosts, True
        self._session = secrets.token_urlsafe(32)
        super().__init__()

    @property
    def get_user(self):
        """Who asks: "you", or nobody."""

        def user(handler: RequestHandler) -> str | None:
            if handler.request.host not in self._hosts:
                raise HTTPError(403)
            if secrets.compare_digest(handler.get_cookie(COOKIE, "") or "", self._session):
                return "you"
            given = handler.get_argument("token", "")
            if self._unused and secrets.compare_digest(given, self.first):
                self._unused = False
                handler.set_cookie(COOKIE, self._session, httponly=True, samesite="Strict")
                return "you"
            return None

        return user

    @property
    def get_user_async(self):
        """Nothing: asking takes no time."""
        return None

    @property
    def login_url(self):
        """Nothing: it is made anew for each."""
        return None

    @property
    def get_login_url(self):
        """There is no login: who is nobody is refused."""

        def refuse(handler: RequestHandler) -> str:
            raise HTTPError(403, reason=ONCE)

        return refuse

    @property
    def login_handler(self):
        """Nothing."""
        return None

    @property
    def logout_url(self):
        """Nothing."""
        return None

    @property
    def logout_handler(self):
        """Nothing."""
        return None


def serve(path: Any, port: int = 0, show: bool = True) -> None:
    """Serve the run browser until Ctrl-C.

    Args:
        path: of a store, a file or a folder.
        port: that it listens at, on this machine alone; a free one by default.
        show: whether to open the browser.

    Raises:
        FileNotFoundError: if there is nothing to look at.
        ValueError: for a file of another kind.
        OSError: if the port is taken.
    """
    found, title = sheets(path), str(path)
    asyncio.set_event_loop(asyncio.new_event_loop())  # of this thread
    pn.config.design = None
    port = port or _free_port()
    host = f"{LOOPBACK}:{port}"
    auth = Token({host})
    server = pn.io.server.get_server(
        lambda: page(title, found),
        port=port,
        address=LOOPBACK,
        websocket_origin=[host],
        title=f"{title} - sdesim",
        auth_provider=auth,
        xsrf_cookies=True,
        location=False,
    )
    address = f"http://{host}/?token={auth.first}"
    print(f"{title}: {address}\nCtrl-C ends it.", flush=True)
    if show and not webbrowser.open(address):
        print("open the address in a browser", file=sys.stderr)
    server.start()
    server.io_loop.start()


def _free_port() -> int:
    """A port that is free now: whom websockets may come from has to be known before the server is there."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]
