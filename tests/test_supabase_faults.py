"""Supabase out of reach: a gateway that refuses, connections cut anywhere, the wrong key, the wrong address."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from certificates import Certificates
from children.jobs import add_item
from gateway import Answer, Gateway
from stores import have, shared_project, supabase_server, supabase_url

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import NewWrites
from charm_checkpoint.errors import CharmError, ConfigError, StoreError, StoreUnavailable, ThreadExists
from charm_checkpoint.servers.base import free_port
from charm_checkpoint.servers.proxy import FAULTS, Proxy
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode, PlansInMode
from charm_checkpoint.testing.samples import new

QUICK = [fault for fault in FAULTS if fault != "silent"]
BUSY = (408, 425, 429, 500, 502, 503, 504, 520, 524)
MESSAGE = [{"role": "user", "content": "once"}]


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    have(shared_project)
    with Gateway(supabase_server().port) as gateway:
        yield gateway


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    have(shared_project)
    with Proxy(supabase_server().port) as proxy:
        yield proxy


def opened(url: str, **options: Any) -> Memory:
    """Open a new tenant by way of ``url``, set up already."""
    tenant = have(supabase_url).rpartition("=")[2]
    memory = open_memory(url, key=supabase_server().secret_key, tenant=tenant, **{"timeout": "20s", **options})
    memory.setup()
    return memory


# ------------------------------------------------------------------------- what a gateway says


@pytest.mark.parametrize("status", BUSY)
def test_what_passes_is_tried_again(gateway: Gateway, mode: CallMode, status: int) -> None:
    with opened(gateway.url) as memory:
        gateway.answers = [Answer(status), Answer(status, {"Content-Type": "text/html"})]
        InMode(memory, mode).append_messages("t", MESSAGE)
        assert not gateway.answers
        assert InMode(memory, mode).load_messages("t") == MESSAGE
        InMode(memory, mode).close()


def test_a_server_that_asks_for_a_pause_gets_it(gateway: Gateway) -> None:
    with opened(gateway.url) as memory:
        for headers, least in (({"Retry-After": "1"}, 1.0), ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0)):
            gateway.answers = [Answer(429, headers)]
            start = time.monotonic()
            memory.load_messages("t")
            assert least <= time.monotonic() - start < least + 5


@pytest.mark.parametrize("status", [429, 503])
def test_trying_again_ends_in_time(gateway: Gateway, mode: CallMode, status: int) -> None:
    with opened(gateway.url, timeout="2s") as memory:
        InMode(memory, mode).load_messages("t")  # connected, so that what it says is all that can go wrong
        gateway.always, start, before = Answer(status), time.monotonic(), len(gateway.requests)
        with pytest.raises(StoreUnavailable, match=f"{gateway.url} does not answer: HTTP {status}"):
            InMode(memory, mode).load_messages("t")
        assert time.monotonic() - start < 6 and len(gateway.requests) - before > 1
        gateway.always = Answer(status, {"Retry-After": "60"})
        before = len(gateway.requests)
        with pytest.raises(StoreUnavailable):
            InMode(memory, mode).load_messages("t")
        assert len(gateway.requests) == before + 1  # it would have to wait for longer than it may
        InMode(memory, mode).close()


def test_an_append_whose_answer_was_lost_is_not_done_twice(gateway: Gateway, mode: CallMode) -> None:
    with opened(gateway.url) as memory:
        for count in range(1, 4):
            gateway.answers = [Answer(502, lost=True)] * count
            InMode(memory, mode).append_messages("t", MESSAGE)
            assert InMode(memory, mode).load_messages("t") == MESSAGE * count
        InMode(memory, mode).close()


def test_a_conflict_and_writes_whose_answer_was_lost_are_told_and_counted_once(
    gateway: Gateway, mode: CallMode
) -> None:
    with opened(gateway.url) as memory:
        backend = PlansInMode(memory.store, mode)
        backend.put(new("a"))
        gateway.answers = [Answer(502, lost=True)] * 2
        reply = backend.put(new("b", "elsewhere"))
        assert (reply.outcome, reply.conflict, reply.head) == ("stored", True, "a")
        gateway.answers = [Answer(502, lost=True)]
        assert not backend.put(new("c", "b")).conflict
        for count in range(1, 3):
            gateway.answers = [Answer(502, lost=True)]
            backend.put_writes(NewWrites("t", "", "c", b"w%d" % count, None))
            assert backend.usage("t").writes == count
        InMode(memory, mode).close()


def test_a_copy_is_not_tried_again_once_it_was_sent(gateway: Gateway, mode: CallMode) -> None:
    with opened(gateway.url) as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        add_item(memory.get_langgraph_checkpointer(), "t")
        gateway.answers = [Answer(429)]
        saver.copy_thread("t", "first")
        gateway.answers, before = [Answer(504, lost=True)], len(gateway.requests)
        with pytest.raises(StoreUnavailable, match="HTTP 504.*it may have been done or not: look before you try again"):
            saver.copy_thread("t", "second")
        assert len(gateway.requests) == before + 1
        with pytest.raises(ThreadExists):
            saver.copy_thread("t", "second")
        InMode(memory, mode).close()


FOREIGN = [
    (Answer(200, {"Content-Type": "text/html"}), r"HTTP 200 with text/html in it"),
    (Answer(200, {"Content-Type": "application/json"}, b'{"hello": "world"}'), "an answer of another kind"),
    (Answer(200, {"Content-Type": "application/json"}, b"not JSON"), "an answer of another kind"),
    (Answer(200, {"Content-Type": "application/json"}, b'"not JSON"'), "an answer of another kind"),
    (Answer(404, {"Content-Type": "text/html"}), "HTTP 404 with text/html in it"),
    (Answer(405), "HTTP 405 with nothing in it"),
]


@pytest.mark.parametrize(("answer", "said"), FOREIGN)
def test_what_is_not_supabase_is_an_error_at_once(gateway: Gateway, mode: CallMode, answer: Answer, said: str) -> None:
    with open_memory(gateway.url, key="sb_secret_0123456789") as memory:
        gateway.always = answer
        with pytest.raises(StoreError, match=f"At {gateway.url} there is no Supabase API: it gave {said}"):
            InMode(memory, mode).load_messages("t")
        assert len(gateway.requests) == 1
        InMode(memory, mode).close()


def test_a_key_is_not_sent_along_to_where_a_redirect_leads(gateway: Gateway, mode: CallMode) -> None:
    with Gateway(gateway.target) as other, open_memory(gateway.url, key="sb_secret_0123456789") as memory:
        gateway.always = Answer(307, {"Location": other.url})
        with pytest.raises(StoreError, match=f"HTTP 307, which leads to {other.url}"):
            InMode(memory, mode).load_messages("t")
        assert gateway.requests and not other.requests
        InMode(memory, mode).close()


@pytest.mark.parametrize(
    "body",
    [
        b'{"message":"Invalid API key","hint":"Double check your key."}',
        b'{"code":"PGRST301","message":"JWSError"}',
        b"",
    ],
)
def test_a_key_that_is_refused(gateway: Gateway, mode: CallMode, body: bytes) -> None:
    with open_memory(gateway.url, key="sb_secret_0123456789") as memory:
        gateway.always = Answer(401, {"Content-Type": "application/json"} if body else {}, body)
        with pytest.raises(StoreUnavailable, match="refused the key or token.*check key=") as caught:
            InMode(memory, mode).load_messages("t")
        assert "0123456789" not in str(caught.value) and len(gateway.requests) == 1
        InMode(memory, mode).close()


def test_what_the_database_says_is_passed_on(gateway: Gateway) -> None:
    with opened(gateway.url) as memory:
        for code, kind in (("53100", "StoreUnavailable"), ("25006", "ReadOnlyStore"), ("XX000", "StoreError")):
            body = b'{"code":"%s","message":"so it is","details":null,"hint":null}' % code.encode()
            gateway.answers = [Answer(500, {"Content-Type": "application/json; charset=utf-8"}, body)]
            with pytest.raises(CharmError, match="so it is") as caught:
                memory.load_messages("t")
            assert type(caught.value).__name__ == kind and not gateway.answers
        for code in ("40001", "40P01", "PGRST003"):
            body = b'{"code":"%s","message":"try again","details":null,"hint":null}' % code.encode()
            gateway.answers = [Answer(500, {"Content-Type": "application/json"}, body)]
            memory.load_messages("t")


# ------------------------------------------------------------------------------ connections cut


@pytest.mark.parametrize("fault", QUICK)
def test_a_connection_that_is_cut(proxy: Proxy, mode: CallMode, fault: str) -> None:
    with opened(proxy.through(supabase_server().url)) as memory:
        twin = InMode(memory, mode)
        for count in range(1, 3):
            proxy.fail(fault, fault)
            twin.append_messages("t", MESSAGE)
            assert proxy.due == 0
            assert twin.load_messages("t") == MESSAGE * count
        add_item(memory.get_langgraph_checkpointer(), "t")
        proxy.fail(fault)
        add_item(memory.get_langgraph_checkpointer(), "t")
        assert memory.usage("t").checkpoints == 2
        proxy.fail(fault)
        with pytest.raises(StoreUnavailable, match="does not answer.*it may have been done or not"):
            InMode(memory.get_langgraph_checkpointer(), mode).copy_thread("t", "copy")
        assert memory.usage("copy").checkpoints in ((0,) if fault in ("before request", "amid request") else (0, 2))
        twin.close()


def test_a_server_that_is_silent(proxy: Proxy, mode: CallMode) -> None:
    with opened(proxy.through(supabase_server().url), timeout="3s") as memory:
        assert InMode(memory, mode).load_messages("t") == []
        proxy.silent = True
        proxy.silence()
        start = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            InMode(memory, mode).load_messages("t")
        assert 2.8 < time.monotonic() - start < 5
        proxy.silent = False
        assert InMode(memory, mode).load_messages("t") == []
        proxy.silence()
        start = time.monotonic()
        assert InMode(memory, mode).load_messages("t") == []
        assert 0.9 < time.monotonic() - start < 2.5
        InMode(memory, mode).close()


def test_a_server_that_comes_back(mode: CallMode) -> None:
    have(shared_project)
    server, port = supabase_server(), free_port()
    later = Proxy(server.port)
    later.port = port
    with open_memory(f"http://127.0.0.1:{port}", key=server.secret_key, timeout="20s") as memory:
        timer = threading.Timer(0.5, later.__enter__)
        timer.start()
        try:
            assert InMode(memory, mode).load_messages("never heard of") == []
            InMode(memory, mode).close()
        finally:
            timer.join()
            later.__exit__()


# ----------------------------------------------------------------------------- wrong addresses


def error_of(mode: CallMode, url: str, **options: Any) -> CharmError:
    """Return the error of the first call."""
    with open_memory(url, **{"key": "sb_secret_0123456789", **options}) as memory:
        with pytest.raises(CharmError) as caught:
            InMode(memory, mode).load_messages("t")
        InMode(memory, mode).close()
    assert "0123456789" not in str(caught.value)
    return caught.value


def test_wrong_addresses_are_told_soon(mode: CallMode) -> None:
    start = time.monotonic()
    for url, said in (
        (f"http://127.0.0.1:{free_port()}", "does not answer"),
        ("supabase://no-such-project.invalid", "Supabase at https://no-such-project.invalid does not answer"),
    ):
        error = error_of(mode, url, timeout="2s")
        assert isinstance(error, StoreUnavailable) and said in str(error)
    assert time.monotonic() - start < 6


def test_a_certificate_or_name_that_is_wrong_is_not_tried_again(gateway: Gateway, mode: CallMode) -> None:
    error = error_of(mode, gateway.url.replace("http://", "https://"), timeout="1s")
    assert isinstance(error, StoreUnavailable) and "does not answer" in str(error)


def test_a_wrong_key_of_a_real_project(mode: CallMode) -> None:
    have(shared_project)
    error = error_of(mode, supabase_server().url)
    assert isinstance(error, StoreError)


@pytest.mark.parametrize(
    "make",
    [
        lambda: open_memory("http://127.0.0.1:1", key="dQw4 9XcQ"),
        lambda: open_memory("http://127.0.0.1:1", key="dQw4\xf69XcQ"),
        lambda: open_memory("http://127.0.0.1:1", key="dQw4\n9XcQ"),
        lambda: open_memory("http://127.0.0.1:1", key="k", token=lambda: "dQw4\xe49XcQ", tenant="t").usage(),
    ],
)
def test_a_key_or_token_that_cannot_be_sent_is_not_quoted(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match="it is empty, or holds what no (key|token) does") as caught:
        make()
    assert "dQw4" not in str(caught.value)


# ------------------------------------------------------------------------- what no waiting mends


@pytest.fixture
def listening(mode: CallMode) -> Iterator[Callable[[ssl.SSLContext | None], int]]:
    """Yield a function that has somebody answer 404 at a port, over TLS if a context for that is given."""
    servers: list[HTTPServer] = []

    def listen(context: ssl.SSLContext | None) -> int:
        servers.append(server := HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler))
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port

    yield listen
    for server in servers:
        server.shutdown()
        server.server_close()


def told(mode: CallMode, url: str) -> str:
    """Return what is told, at once, of a project that cannot be reached."""
    with open_memory(url, key="secret-1") as memory:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer") as caught:
            InMode(memory, mode).load_messages("t")
        assert time.monotonic() - began < 4
        InMode(memory, mode).close()
    return str(caught.value)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b"])
def test_a_host_that_is_not_known(mode: CallMode, host: str) -> None:
    assert "no such host: check the URL" in told(mode, f"supabase://{host}")


def test_tls_with_a_port_that_has_none(mode: CallMode, listening: Callable[..., int]) -> None:
    assert "does not speak TLS: write http://" in told(mode, f"https://127.0.0.1:{listening(None)}")


def test_a_certificate_that_nobody_vouches_for(mode: CallMode, listening: Callable[..., int], tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.own, certificates.own_key)
    said = told(mode, f"https://127.0.0.1:{listening(context)}")
    assert "self-signed certificate" in said and "SSL_CERT_FILE" in said
