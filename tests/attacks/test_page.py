"""Somebody who gets the user's browser, or a program of this machine, to talk to the page.

Who: another site in the user's browser, by a link, a frame, a form or a script; a site whose name was made to lead to
127.0.0.1 (DNS rebinding); another program that listens at a port of this machine, and gets to see cookies of all;
another user of this machine, who sees what programs are started with. What he wants: to read threads, or to change
them. What he gets: nothing that says more than that a page is here.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_client import HOST, ORIGIN, PORT, Client, page

from charm_checkpoint import open_memory
from charm_checkpoint.ui import assets, peers
from charm_checkpoint.ui.access import KEY_HEADER, Access
from charm_checkpoint.ui.application import CHANGES, READS

SECRET = "thread-of-a-secret"


@pytest.fixture
def stranger() -> Iterator[Client]:
    """Return a browser that did not open the page, of a store with a secret."""
    memory = open_memory("memory://")
    memory.save_messages(SECRET, [{"role": "user", "content": "hello"}])
    with page(memory, write=True, entered=False) as client:
        yield client


@pytest.fixture
def user(stranger: Client) -> Client:
    """Return the browser that opened it."""
    stranger.enter()
    return stranger


def asks(client: Client, **headers: str | None) -> int:
    """Ask for what is secret, as the page does but for some headers."""
    reply = client.get("/api/threads", **headers)
    assert (SECRET in reply.text) == (reply.status_code == 200)
    return reply.status_code


# ---------------------------------------------------------------------------------- who opened it


def test_who_opened_the_page_reads(user: Client) -> None:
    assert asks(user) == 200


@pytest.mark.parametrize(
    "path", ["/", "/static/main.js", "/static/enter.js", "/api/session", "/api/threads", "/nothing"]
)
def test_who_did_not_gets_nothing(stranger: Client, path: str) -> None:
    reply = stranger.get(path)
    assert reply.status_code == 401
    assert "in the terminal" in reply.text


def test_a_link_opens_the_page_once(stranger: Client) -> None:
    first = stranger.enter()
    assert first.status_code == 200
    stranger.http.cookies.clear()
    again = stranger.enter()
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)
    assert stranger.access.key not in again.text


def test_the_browser_that_has_it_open_may_use_the_link_again(user: Client) -> None:
    again = user.enter()
    assert (again.status_code, again.headers["location"]) == (303, "/")


@pytest.mark.parametrize("ticket", ["", "x", "x" * 10_000, "%00", "%ED%A0%80", "%FF"])
def test_a_wrong_ticket_opens_nothing_and_uses_nothing_up(stranger: Client, ticket: str) -> None:
    wrong = stranger.request("GET", f"{ORIGIN}/?ticket={ticket}", {})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    assert stranger.enter().status_code == 200


def test_what_another_process_gave_out_opens_nothing(stranger: Client) -> None:
    other = Access(PORT)
    assert stranger.request("GET", other.link, {}).status_code == 401
    stranger.http.cookies.set(other.cookie_name, other.cookie)
    stranger.key = other.key
    assert asks(stranger) == 401


def test_the_ticket_is_not_in_what_follows(user: Client) -> None:
    for path in ("/", "/api/session", "/static/main.js"):
        reply = user.get(path)
        assert user.access.ticket not in reply.text + str(reply.headers)


def test_the_cookie_is_for_this_port_and_no_script(stranger: Client) -> None:
    cookie = stranger.enter().headers["set-cookie"]
    assert cookie == f"charm-checkpoint-{PORT}={stranger.access.cookie}; Path=/; HttpOnly; SameSite=Strict"
    assert Access(PORT + 1).cookie_name not in cookie


def test_the_cookie_alone_reads_nothing(user: Client) -> None:
    """Browsers send it to every port of this machine, whoever listens there."""
    assert asks(user, **{KEY_HEADER: None}) == 401
    assert asks(user, **{KEY_HEADER: "x"}) == 401
    for path in ("/", "/api/session", "/static/enter.js", "/static/main.js", f"/?ticket={user.access.ticket}"):
        assert user.access.key not in user.get(path, **{KEY_HEADER: None}).text


def test_the_key_alone_reads_nothing(user: Client) -> None:
    user.http.cookies.clear()
    assert asks(user) == 401


def test_a_program_of_another_user_cannot_take_the_link(stranger: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "is_mine", lambda peer, port: False)
    assert stranger.enter().status_code == 403
    monkeypatch.undo()
    assert stranger.enter().status_code == 200


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:223D 00000000:0000 0A 00000000:00000000 00:00000000 00000000  {mine}        0 1 1 0 100 0 0 10 0
   1: 0100007F:C350 0100007F:223D 01 00000000:00000000 00:00000000 00000000  {mine}        0 2 1 0 100 0 0 10 0
   2: 0100007F:C351 0100007F:223D 01 00000000:00000000 00:00000000 00000000  {other}       0 3 1 0 100 0 0 10 0
   3: 0100007F:C352 0100007F:223D 01 00000000:00000000 00:00000000 00000000     0          0 4 1 0 100 0 0 10 0
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or sys.byteorder != "little", reason="the table is of another machine")
@pytest.mark.parametrize(("port", "mine"), [(50000, True), (50001, False), (50002, True), (50003, True)])
def test_the_kernel_tells_whose_a_connection_is(tmp_path: Path, port: int, mine: bool) -> None:
    table = tmp_path / "tcp"
    table.write_text(TABLE.format(mine=os.getuid(), other=os.getuid() + 1))
    assert peers.is_mine(("127.0.0.1", port), PORT, table) is mine


@pytest.mark.skipif(not peers.TABLE.exists(), reason="only Linux tells whose a connection is")
def test_whose_a_real_connection_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(30)
        code = (
            "import os, socket, sys; os.getuid() == 0 and sys.argv[2] == 'other' and os.setuid(65534);"
            "held = socket.socket(); held.connect((b'127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"
        )
        for who, mine in (("me", True), ("other", os.getuid() != 0)):
            command = [sys.executable, "-c", code, str(port), who]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as program:
                connection, peer = server.accept()
                with connection:
                    assert peers.is_mine(peer, port) is mine
                program.communicate()


# ---------------------------------------------------------------------------------- from where


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.evil.example:{PORT}",
        f"0.0.0.0:{PORT}", f"[::1]:{PORT}", f"localhost.:{PORT}", f"user@{HOST}", f"{HOST}, {HOST}", "",
    ],
)  # fmt: skip
def test_no_other_name_leads_to_the_page(user: Client, host: str) -> None:
    assert asks(user, host=host) == 403
    assert user.get("/", host=host).status_code == 403
    assert user.request("GET", user.access.link, {"host": host}).status_code == 403


def test_both_names_of_this_machine_do(user: Client) -> None:
    assert asks(user, host=HOST) == 200
    assert asks(user, host=f"LOCALHOST:{PORT}") == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", f"https://{HOST}", "file://", ""],
)
def test_no_other_origin_asks(user: Client, origin: str) -> None:
    assert asks(user, origin=origin) == 403
    assert user.post("/api/delete", {"thread": SECRET}, origin=origin).status_code == 403
    assert asks(user) == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "x"])
def test_no_other_site_asks(user: Client, site: str) -> None:
    """``same-site`` is another port of this machine."""
    assert asks(user, sec_fetch_site=site) == 403
    assert user.post("/api/delete", {"thread": SECRET}, sec_fetch_site=site).status_code == 403


def test_the_page_is_opened_by_typing_but_not_from_another_site(user: Client) -> None:
    assert user.get("/", sec_fetch_site="none", sec_fetch_mode="navigate").status_code == 200
    assert user.get("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status_code == 403
    assert user.get("/static/main.js", sec_fetch_site="cross-site").status_code == 403


@pytest.mark.parametrize("dest", ["iframe", "frame", "image", "script", "empty", "object"])
def test_a_link_is_not_used_up_by_what_is_no_window(stranger: Client, dest: str) -> None:
    assert stranger.enter(**{"sec-fetch-dest": dest, "sec-fetch-site": "cross-site"}).status_code == 403
    assert stranger.enter().status_code == 200


def test_a_link_may_be_in_another_site(stranger: Client) -> None:
    """A terminal in the browser is one."""
    assert stranger.enter(**{"sec-fetch-site": "cross-site"}).status_code == 200


def test_nobody_else_is_let_in_by_a_header(user: Client) -> None:
    preflight = user.request(
        "OPTIONS",
        f"{ORIGIN}/api/threads",
        {
            "origin": "http://evil.example",
            "access-control-request-method": "GET",
            "access-control-request-headers": KEY_HEADER,
        },
    )
    assert preflight.status_code == 405
    for reply in (
        preflight,
        user.get("/api/threads"),
        user.get("/"),
        user.get("/api/threads", origin="http://evil.example"),
    ):
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_every_answer_has_the_headers(user: Client) -> None:
    replies = [
        user.get("/"), user.get("/static/main.js"), user.get("/api/threads"), user.get("/api/state", {"thread": "no"}),
        user.get("/nothing"), user.get("/", host="evil.example"), user.post("/api/delete", {}),
        user.get("/api/threads", **{KEY_HEADER: None}),
    ]  # fmt: skip
    assert [reply.status_code for reply in replies] == [200, 200, 200, 404, 404, 403, 400, 401]
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"


# ---------------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize(
    "path",
    [
        "/static/../__init__.py", "/static/..%2f__init__.py", "/static/%2e%2e/__init__.py", "/static/....//x",
        "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/main.js%00.html", "/static/main.js/", "/static/",
        "/static/..%5c__init__.py", "/static/C:%5cwindows", "/static/MAIN.JS", "/static", "/api/", "/api/../static",
    ],
)  # fmt: skip
def test_only_files_of_the_page_are_served(user: Client, path: str) -> None:
    reply = user.request("GET", f"{ORIGIN}{path}", {"sec-fetch-site": "same-origin", KEY_HEADER: user.key})
    assert reply.status_code == 404
    assert "passwd" not in reply.text.replace("/etc/passwd", "")


def test_the_files_are_all_there_are() -> None:
    folder = Path(assets.__file__).parent / "static"
    assert sorted(each.name for each in folder.iterdir()) == sorted(assets.NAMES)


NO_READ = [
    "thread", "thread=", "thread=a&thread=b", "x", "=", "&", "thread=%FF", "thread=%C3", "thread=" + "x" * 40_001,
    "&".join(f"p{number}=1" for number in range(70)), "thread=a&limit=-1", "thread=a&limit=0", "thread=a&limit=1e3",
    "thread=a&limit=9999999999999999999", "thread=a&limit=٣", "thread=a&path=[]", "thread=a&path=" + "[" * 30_000,
    "namespace=1&thread=nobody", "thread=nobody&order=sideways", "thread=nobody&status=x", "offset=x&thread=nobody",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NO_READ)))
def test_what_makes_no_sense_is_told_and_no_more(user: Client, number: int) -> None:
    for name in READS:
        url = f"{ORIGIN}/api/{name}?{NO_READ[number]}"
        reply = user.request("GET", url, {KEY_HEADER: user.key})
        assert reply.status_code < 500, (name, reply.text)
        assert len(reply.text) < 10_000


def test_an_answer_that_quotes_is_no_page(user: Client) -> None:
    reply = user.get("/api/state", {"thread": "<script>alert(1)</script>"})
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/json"


# ---------------------------------------------------------------------------------- what is changed

BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"[" * 200_000,
    b"\xff",
    b"{}",
    b'{"thread": 1}',
    b'{"thread": null}',
    b"x" * 2_000_000,
]


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_page_that_only_shows_changes_nothing(name: str) -> None:
    memory = open_memory("memory://")
    memory.save_messages(SECRET, [{"role": "user", "content": "hello"}])
    with page(memory) as client:
        sent = {"thread": SECRET, "checkpoint": "x", "id": "x", "answer": 1, "target": "u"}
        reply = client.post(f"/api/{name}", sent)
        assert (reply.status_code, reply.json()["error"]) == (403, "Refused")
        assert asks(client) == 200


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_is_no_link_and_no_form(user: Client, name: str) -> None:
    path, sent = f"/api/{name}", {"thread": SECRET}
    assert user.get(path, sent).status_code == 405
    assert user.post(path, sent, **{KEY_HEADER: None}).status_code == 401
    assert user.post(path, sent, origin=None, sec_fetch_site=None).status_code == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert user.post(path, json.dumps(sent).encode(), content_type=kind).status_code == 400
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        headers = {"origin": ORIGIN, KEY_HEADER: user.key}
        assert user.request(method, f"{ORIGIN}{path}", headers, sent).status_code == 405
    assert asks(user) == 200


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_a_body_that_makes_no_sense_changes_nothing(user: Client, number: int) -> None:
    for name in CHANGES:
        reply = user.post(f"/api/{name}", BODIES[number], content_type="application/json")
        assert 400 <= reply.status_code < 500
        assert len(reply.text) < 1000
    assert asks(user) == 200
