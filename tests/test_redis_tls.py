"""Redis over TLS: what is trusted, redis-py's names of options, and mistakes that are told at once."""

from __future__ import annotations

import itertools
import ssl
import time
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from certificates import Certificates
from stores import have

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.servers import ValkeyServer, valkey
from charm_checkpoint.servers.base import free_port
from charm_checkpoint.servers.proxy import Proxy
from charm_checkpoint.testing.accidents import Closing
from charm_checkpoint.testing.backend_threads import BackendMessages
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

redis = pytest.importorskip("redis")

AT_ONCE = 4.0
"""Seconds in which a mistake is told: one, and what a busy machine adds; what passes is tried for ten."""


class Ports(NamedTuple):
    """The ports of one server, without TLS and with it."""

    plain: int
    tls: int


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def serving(certificates: Certificates, certificate: str, key: str, clients: str = "no") -> tuple[ValkeyServer, Ports]:
    """Start a server with TLS, which needs a Redis that was built with it."""
    port = free_port()
    files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificates.ca)
    options = ("--tls-port", str(port), *files, "--tls-auth-clients", clients)
    server = have(lambda: valkey(*options, program="redis-server", password="", drop_root=False))
    return server, Ports(server.port, port)


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Ports]:
    server, ports = serving(certificates, certificates.server, certificates.server_key)
    with server:
        yield ports


@pytest.fixture(scope="module")
def other(certificates: Certificates) -> Iterator[Ports]:
    """Yield the ports of a server whose certificate is for another name."""
    server, ports = serving(certificates, certificates.other, certificates.other_key)
    with server:
        yield ports


@pytest.fixture(scope="module")
def own(certificates: Certificates) -> Iterator[Ports]:
    """Yield the ports of a server that signed its own certificate."""
    server, ports = serving(certificates, certificates.own, certificates.own_key)
    with server:
        yield ports


@pytest.fixture(scope="module")
def asking(certificates: Certificates) -> Iterator[Ports]:
    """Yield the ports of a server that wants to see its clients' certificates."""
    server, ports = serving(certificates, certificates.server, certificates.server_key, "yes")
    with server:
        yield ports


def works(mode: CallMode, url: str, **options: Any) -> bool:
    """Tell whether a message comes back."""
    with open_memory(url, prefix=mode.name, **options) as memory:
        twin = InMode(memory, mode)
        twin.save_messages("t", [{"n": 1}])
        found = twin.load_messages("t")
        twin.close()
        return bool(found == [{"n": 1}])


def told(mode: CallMode, url: str, **options: Any) -> str:
    """Return what is told, at once, of a store that cannot be reached."""
    with open_memory(url, **options) as memory:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            InMode(memory, mode).load_messages("t")
        assert time.monotonic() - began < AT_ONCE
        InMode(memory, mode).close()
    text = str(caught.value)
    assert "safe to try again" not in text and "is the server up" not in text and len(text) < 500
    return text


# --------------------------------------------------------------------------------- what is trusted


def test_a_server_is_trusted_by_its_authority_or_by_its_own_certificate(
    mode: CallMode, certificates: Certificates, server: Ports, own: Ports
) -> None:
    assert works(mode, f"rediss://127.0.0.1:{server.tls}", tls_ca=certificates.ca)
    assert works(mode, f"valkeys://localhost:{server.tls}?tls_ca={certificates.ca}")
    assert works(mode, f"redis://127.0.0.1:{own.tls}", tls=True, tls_ca=certificates.own)
    assert works(mode, f"rediss://127.0.0.1:{own.tls}?tls_verify=none")


def test_redis_pys_names_of_options(mode: CallMode, certificates: Certificates, own: Ports, other: Ports) -> None:
    assert works(mode, f"rediss://127.0.0.1:{own.tls}?ssl_ca_certs={certificates.own}&ssl_cert_reqs=required")
    for none in ("none", "CERT_NONE", ssl.CERT_NONE):
        assert works(mode, f"rediss://127.0.0.1:{own.tls}", ssl_cert_reqs=none)
    assert works(
        mode, f"redis://127.0.0.1:{other.tls}", ssl=True, ssl_check_hostname=False, ssl_ca_certs=certificates.ca
    )


def test_a_certificate_for_another_name(mode: CallMode, certificates: Certificates, other: Ports) -> None:
    url = f"rediss://127.0.0.1:{other.tls}?tls_ca={certificates.ca}"
    assert "not for the name '127.0.0.1'" in told(mode, url) and "tls_verify=ca" in told(mode, url)
    assert works(mode, url, tls_verify="ca")
    assert "tls_ca" in told(mode, f"rediss://127.0.0.1:{other.tls}?tls_verify=ca")


def test_a_server_that_hangs_up_on_who_shows_no_certificate(
    mode: CallMode, certificates: Certificates, asking: Ports
) -> None:
    with Proxy(asking.tls) as proxy:  # its alert may be lost with the connection
        proxy.fail("", "amid reply")
        assert "tls_cert" in told(mode, f"rediss://127.0.0.1:{proxy.port}?tls_ca={certificates.ca}")


def test_a_server_that_is_slow_at_first_is_waited_for(
    mode: CallMode, certificates: Certificates, asking: Ports
) -> None:
    with Proxy(asking.tls) as proxy:
        proxy.fail("silent")
        url = f"rediss://127.0.0.1:{proxy.port}?tls_ca={certificates.ca}"
        assert works(mode, url, tls_cert=certificates.client, tls_key=certificates.client_key)


def test_a_client_shows_its_certificate(mode: CallMode, certificates: Certificates, asking: Ports) -> None:
    url = f"rediss://127.0.0.1:{asking.tls}?tls_ca={certificates.ca}"
    assert "tls_cert" in told(mode, url)
    assert works(mode, url, tls_cert=certificates.client, tls_key=certificates.client_key)
    assert works(mode, url, ssl_certfile=certificates.client, ssl_keyfile=certificates.client_key)
    if mode.name == "async" and "ssl_password" not in signature(redis.asyncio.SSLConnection).parameters:
        return
    locked = certificates.encrypted(certificates.client_key, "sesame-1")
    assert works(mode, url, tls_cert=certificates.client, tls_key=locked, tls_key_password="sesame-1")
    for password in (None, "wrong-1"):
        said = told(mode, url, tls_cert=certificates.client, tls_key=locked, tls_key_password=password)
        assert "tls_key_password" in said and "wrong-1" not in said


# ---------------------------------------------------------------------------------- told at once

KINDS = (
    "rediss://127.0.0.1:{}",
    "redis+cluster://127.0.0.1:{}?tls=true",
    "redis+sentinel://127.0.0.1:{}/name?tls=true",
)


@pytest.mark.parametrize("url", KINDS)
def test_a_certificate_that_nobody_vouches_for(mode: CallMode, own: Ports, url: str) -> None:
    said = told(mode, url.format(own.tls))
    assert "self-signed certificate" in said and "tls_ca" in said and "tls_verify=none" in said


@pytest.mark.parametrize("url", KINDS)
def test_files_that_are_wrong_are_named(
    mode: CallMode, certificates: Certificates, server: Ports, url: str, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    at = url.format(server.tls)
    pair = {"tls_ca": certificates.ca, "tls_cert": certificates.client}
    assert f"tls_ca: the file '{tmp_path}/gone.pem' cannot be read: No such" in told(
        mode, at, tls_ca=f"{tmp_path}/gone.pem"
    )
    assert "Is a directory" in told(mode, at, tls_ca=str(tmp_path))
    assert f"tls_ca: the file '{empty}' holds no certificate" in told(mode, at, tls_ca=str(empty))
    assert "tls_key: it is not the key" in told(mode, at, **pair, tls_key=certificates.other_key)
    assert "tls_key: the file" in told(mode, at, **pair, tls_key=f"{tmp_path}/gone.pem")
    assert "tls_cert, tls_key" in told(mode, at, **{**pair, "tls_cert": str(empty)}, tls_key=certificates.client_key)


@pytest.mark.parametrize("url", KINDS)
def test_tls_with_a_port_that_has_none(mode: CallMode, server: Ports, url: str) -> None:
    assert "does not speak TLS: write redis://" in told(mode, url.format(server.plain))


@pytest.mark.parametrize("url", KINDS)
@pytest.mark.parametrize("tls", [True, False])
def test_every_call_is_told_at_once_till_one_was_answered(server: Ports, url: str, tls: bool) -> None:
    wrong = url.format(server.plain) if tls else plain(url).format(server.tls)
    call_modes = [CALL_MODES[name]() for name in CALL_MODES]
    with open_memory(wrong) as memory:
        for mode in call_modes * 2:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="speaks? TLS: write redis"):
                InMode(memory, mode).load_messages("t")
            assert time.monotonic() - began < AT_ONCE
        for mode in call_modes:
            InMode(memory, mode).close()
            mode.close()


def plain(url: str) -> str:
    return url.replace("rediss", "redis").replace("?tls=true", "")


@pytest.mark.parametrize("url", KINDS)
def test_no_tls_with_a_port_that_has_it(mode: CallMode, server: Ports, asking: Ports, url: str) -> None:
    for port in (server.tls, asking.tls):
        assert "speaks TLS: write rediss://" in told(mode, plain(url).format(port))
        assert "speaks TLS: write rediss://" in told(mode, plain(url).format(port), user="me", password="secret-1")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://h?tls_ca=/ca.pem", "tls_ca is for TLS, which this URL does not use: write rediss://"),
        ("redis://h?tls_verify=none", "tls_verify is for TLS"),
        ("redis+cluster://h?ssl_cert_reqs=none", "tls=true"),
        ("unix:///s?tls=true", "unix socket has no TLS"),
        ("rediss://h?tls_key=/k.pem", "tls_cert"),
        ("rediss://h?tls_ca=/a.pem&ssl_ca_certs=/b.pem", "are the same: leave one out"),
        ("rediss://h?tls_verify=full&ssl_cert_reqs=none", "are the same: leave one out"),
        ("rediss://h?tls_verify=no", "full or ca or none"),
        ("rediss://h?ssl_cert_reqs=maybe", "none or optional or required"),
    ],
)
def test_options_that_are_wrong(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        open_memory(url)


# ------------------------------------------------------------------------------------- the contract


class TestOverTls(Closing, BackendMessages):
    """What concerns connections is true of those over TLS, too."""

    @pytest.fixture
    def url(self, server: Ports, certificates: Certificates) -> str:
        return f"rediss://127.0.0.1:{server.tls}?tls_ca={certificates.ca}&prefix=p{next(_numbers)}"


_numbers = itertools.count()
