"""URLs, options, environment variables and the hiding of secrets."""

from __future__ import annotations

import math
import pickle
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charm_checkpoint.config.options import (
    Option,
    boolean,
    choice,
    duration,
    expand,
    mask,
    merge,
    non_negative_int,
    parse_url,
    read_options,
    size,
    text,
)
from charm_checkpoint.errors import ConfigError


class TestSqliteUrls:
    @pytest.mark.parametrize(
        ("url", "path"),
        [
            ("sqlite:///relative.db", "relative.db"),
            ("sqlite:///folder/relative.db", "folder/relative.db"),
            ("sqlite:////abs/path.db", "/abs/path.db"),
            ("sqlite:///:memory:", ":memory:"),
            ("sqlite://", ":memory:"),
            ("sqlite:///", ":memory:"),
            ("sqlite:///C:/data/x.db", "C:/data/x.db"),
            ("sqlite:///my%20file.db", "my file.db"),
            ("sqlite:///my file.db", "my file.db"),
            ("sqlite:///50%25%3F.db", "50%?.db"),
            ("sqlite:///a#b@c:d.db", "a#b@c:d.db"),
            ("sqlite:///%C3%A9t%C3%A9.db", "été.db"),
            ("sqlite:///%FF.db", "\udcff.db"),
            ("SQLite:///x.db", "x.db"),
            ("  sqlite:///x.db\n", "x.db"),
        ],
    )
    def test_path(self, url: str, path: str) -> None:
        location = parse_url(url)
        assert (location.scheme, location.path, location.query) == ("sqlite", path, {})

    def test_options(self) -> None:
        location = parse_url("sqlite:///x.db?synchronous=normal&timeout=5s&mode=ro&note=a%26b+c&empty=")
        assert location.path == "x.db"
        assert location.query == {"synchronous": "normal", "timeout": "5s", "mode": "ro", "note": "a&b+c", "empty": ""}

    @pytest.mark.parametrize(
        ("text", "advice"),
        [
            ("agent.db", "sqlite:///agent.db"),
            ("/var/agent.sqlite", "sqlite:////var/agent.sqlite"),
            ("C:\\data\\agent.sqlite3", "sqlite:///C:/data/agent.sqlite3"),
            ("50%.db", "sqlite:///50%25.db"),
            ("sqlite:agent.db", "sqlite:///agent.db"),
            ("sqlite:/agent.db", "sqlite:///agent.db"),
            ("sqlite://agent.db", "sqlite:///agent.db"),
            ("sqlite://folder/agent.db", "sqlite:///folder/agent.db"),
        ],
    )
    def test_near_miss_says_what_to_write(self, text: str, advice: str) -> None:
        with pytest.raises(ConfigError, match="write") as caught:
            parse_url(text)
        assert advice in str(caught.value)


class TestNetworkUrls:
    @pytest.mark.parametrize(
        ("url", "user", "password", "hosts", "path"),
        [
            ("postgresql://user:p%40ss@host:5432/db", "user", "p@ss", (("host", 5432),), "/db"),
            ("postgresql://user:p@ss@host/db", "user", "p@ss", (("host", None),), "/db"),
            ("postgresql://user:a:b#c%2Fd%3F@host/db", "user", "a:b#c/d?", (("host", None),), "/db"),
            ("postgresql://me%40corp@host/db", "me@corp", None, (("host", None),), "/db"),
            ("postgresql://user@h1:5432,h2:5433/db", "user", None, (("h1", 5432), ("h2", 5433)), "/db"),
            ("postgresql://[::1]:5432/db", None, None, (("::1", 5432),), "/db"),
            ("postgresql://u:p@[fe80::1%25eth0],[::2]:6/db", "u", "p", (("fe80::1%eth0", None), ("::2", 6)), "/db"),
            ("postgresql://%2Fvar%2Frun/db", None, None, (("/var/run", None),), "/db"),
            ("postgresql:///db", None, None, (), "/db"),
            ("postgresql://", None, None, (), ""),
            ("redis://:secret@host:6379/0", None, "secret", (("host", 6379),), "/0"),
            ("rediss://user:secret@host:/0", "user", "secret", (("host", None),), "/0"),
            ("unix:///run/redis.sock", None, None, (), "/run/redis.sock"),
            ("unix://user:secret@/run/redis.sock", "user", "secret", (), "/run/redis.sock"),
            ("redis+cluster://h1:7000,h2:7001", None, None, (("h1", 7000), ("h2", 7001)), ""),
            ("redis+sentinel://:s@h1:26379/main/0", None, "s", (("h1", 26379),), "/main/0"),
            ("valkey://host", None, None, (("host", None),), ""),
            ("supabase://token@abc.supabase.co", "token", None, (("abc.supabase.co", None),), ""),
            ("https://abc.supabase.co/rest/v1", None, None, (("abc.supabase.co", None),), "/rest/v1"),
        ],
    )
    def test_parts(
        self, url: str, user: str | None, password: str | None, hosts: tuple[tuple[str, int | None], ...], path: str
    ) -> None:
        location = parse_url(url)
        assert (location.user, location.password, location.hosts, location.path) == (user, password, hosts, path)
        assert (location.raw, location.database) == (url, path.removeprefix("/"))
        assert (location.host, location.port) == (hosts[0] if hosts else (None, None))

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://user:s3cret/word@host/db",
            "postgresql://user:1?s3cret@host/db",
            "postgresql://user:1?a=s3cret@host/db",
            "postgresql://user:a@b/s3cret@host/db",
            "postgresql://user:s3cret",
            "postgresql://::1/s3cret",
            "postgresql://user:p@host:123456/s3cret",
            "postgresql://user:p@host/db?s3cret",
            "postgresql://user:p@host/db?a=1&a=s3cret",
            "postgresql://user:p@host/db\ns3cret",
            "postgresql://user:p@host/%00s3cret",
            "sqlite://user:s3cret@host/x.db",
            "user:s3cret@host/x.db",
            "password=s3cret dbname=x",
            "password=s3cret dbname=x.db",
            "s3cret",
            "",
        ],
    )
    def test_refused_without_quoting_a_secret(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_url(url)
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("value", [None, 3, b"sqlite://"])
    def test_only_text_is_a_url(self, value: Any) -> None:
        with pytest.raises(ConfigError, match=type(value).__name__):
            parse_url(value)


class TestLocation:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("postgresql://user:s3cret@[::1]:5432/db?sslmode=a", "postgresql://user:***@[::1]:5432/db?sslmode=a"),
            ("redis://:s3cret@h1:1,h2:2/0", "redis://:***@h1:1,h2:2/0"),
            ("postgresql://user@host/db", "postgresql://user@host/db"),
            ("supabase://s3cret@host", "supabase://***@host"),
            ("supabase://host?key=s3cret&schema=a", "supabase://host?key=***&schema=a"),
            ("postgresql:///db?password=s3cret", "postgresql:///db?password=***"),
            ("postgresql:///db?pass%77ord=s3cret", "postgresql:///db?pass%77ord=***"),
            ("https://host/?apikey=s3cret", "https://host/?apikey=***"),
            ("sqlite:///x.db?mode=ro", "sqlite:///x.db?mode=ro"),
        ],
    )
    def test_shows_no_secret(self, url: str, shown: str) -> None:
        location = parse_url(url)
        assert str(location) == shown
        assert repr(location) == f"Location({shown!r})"
        assert f"{location}" == shown
        assert location.raw == url

    def test_driver_url_is_encoded_and_lacks_what_was_dropped(self) -> None:
        location = parse_url("valkey://us:p@s%40#s@[::1]:1/0?ttl=30d&ssl=a%26b&keep_last=5")
        expected = "redis://us:p%40s%40%23s@[::1]:1/0?ssl=a%26b"
        assert location.driver_url(scheme="redis", drop=("ttl", "keep_last")) == expected
        assert parse_url(location.driver_url()).password == location.password

    @pytest.mark.parametrize("url", ["sqlite:////a.db", "unix:///r.sock?db=1", "redis://:x@h", "postgresql://"])
    def test_driver_url_of_a_plain_url_is_that_url(self, url: str) -> None:
        assert parse_url(url).driver_url() == url

    def test_is_a_value(self) -> None:
        location = parse_url("redis://:a@h/0?db=1")
        assert location == parse_url("redis://:a@h/0?db=1") != parse_url("redis://:b@h/0?db=1")
        assert {location: 1}[pickle.loads(pickle.dumps(location))] == 1


MARK = "Ω"
SECRETS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=24).map(lambda text: MARK + text + MARK)


def assert_hidden(shown: str) -> None:
    """Check that neither end of a secret shows, as it is or percent-encoded."""
    assert MARK not in shown
    assert quote(MARK) not in shown


class TestSecretsNeverShow:
    @staticmethod
    def shown(url: str) -> str:
        """Return all that a user may see of a URL: the location's text, or the error's."""
        try:
            location = parse_url(url)
        except ConfigError as error:
            return str(error)
        return f"{location} {location!r}"

    @given(SECRETS)
    @example(f"{MARK}a@b/c?d=e#f{MARK}")
    @example(f"1?pw={MARK}/@y")
    @example(f"[::1]:5@{MARK}@")
    def test_raw_password(self, secret: str) -> None:
        url = f"postgresql://user:{secret}@host/db"
        assert_hidden(self.shown(url))
        assert_hidden(mask(f"cannot connect to {url}: timeout"))

    @given(SECRETS)
    def test_encoded_password(self, secret: str) -> None:
        encoded = quote(secret, safe="")
        location = parse_url(f"redis://:{encoded}@host/0?password={encoded}&api_key={encoded}")
        assert location.password == location.query["password"] == secret
        assert_hidden(f"{location} {location!r} {mask(location.raw)}")

    @given(SECRETS)
    def test_option_value(self, secret: str) -> None:
        with pytest.raises(ConfigError) as caught:
            read_options([Option("encryption_key", non_negative_int, 0, "")], {"encryption_key": secret}, "sqlite")
        assert_hidden(str(caught.value))
        assert "encryption_key" in str(caught.value)


class TestMask:
    @pytest.mark.parametrize(
        ("text", "masked"),
        [
            ("see postgresql://u:s3@cr/et@h:1/d now", "see postgresql://u:***@h:1/d now"),
            ("'redis://:s3cret@h' failed", "'redis://:***@h' failed"),
            ("https://s3cret@host/x", "https://***@host/x"),
            ("postgresql://user@host/x", "postgresql://user@host/x"),
            ("user:s3cret@host", "user:***@host"),
            ("host=h password=s3cret user=u", "host=h password=*** user=u"),
            ("password='s3 cret' user=u", "password='***' user=u"),
            ("error: password=s3cret", "error: password=***"),
            ("{'key': 's3cret', 'n': 1}", "{'key': '***', 'n': 1}"),
            ('{"SUPABASE_SERVICE_ROLE_KEY": "s3cret"}', '{"SUPABASE_SERVICE_ROLE_KEY": "***"}'),
            ("apikey: s3cret", "apikey: ***"),
            ("Authorization: Bearer s3cret", "Authorization: *** ***"),
            ("Authorization: s3cret", "Authorization: ***"),
            ("token eyJhbGciOi.J9-x.s3cret ok", "token eyJ*** ok"),
            ("use sb_secret_s3cret_x", "use sb_secret_***"),
            ("redis://s3cret@host/0", "redis://***@host/0"),
            ("valkeys://s3cret@host", "valkeys://***@host"),
            ("password => 's3cret', user => 'u'", "password => '***', user => 'u'"),
            ('"password" => "s3cret"', '"password" => "***"'),
            ("token := s3cret", "token := ***"),
            ("redis://user:s3cret pa/ss@host/0", "redis://user:***@host/0"),
            ("redis://:s3cret s3cret@host", "redis://:***@host"),
            ("redis://h:6379 and me@h", "redis://h:6379 and me@h"),
            ("redis://h:1,g:2/0 for me@h", "redis://h:1,g:2/0 for me@h"),
            ("'redis://[::1]:5' for me@h", "'redis://[::1]:5' for me@h"),
            ("max_tokens=300, {'total_tokens': 12}", "max_tokens=300, {'total_tokens': 12}"),
            ("tokens=s3cret max_tokens=1s3cret", "tokens=*** max_tokens=***"),
            ("token: expired", "token: expired"),
            ("(token: expired)", "(token: expired)"),
            ("token: expireds3cret", "token: ***"),
            ("unknown key: 'name'", "unknown key: 'name'"),
            ("author=me keep_last=5 10:30", "author=me keep_last=5 10:30"),
            ("", ""),
        ],
    )
    def test_hides_secrets_and_nothing_else(self, text: str, masked: str) -> None:
        assert mask(text) == masked
        assert "s3cret" not in masked

    @pytest.mark.parametrize(
        "text",
        [
            "fe_sendauth: no password supplied",
            "connection failed: FATAL:  password authentication failed for user 'x'",
            "option 'password': its value is not valid",
            "token: it is not an access token of a signed-in user",
            "key: it is empty, or holds what no key does, such as a blank",
            "a Supabase store needs its key: give key=, or set $SUPABASE_KEY",
            "check key=, and token= if there is one",
            "password: the function returned None",
            'could not load private key file "client.key": Permission denied',
            "option 'tls_key': /etc/x.pem is no file",
            "sslkey=/etc/x.pem sslmode=require",
            'violates "thread_pkey": it exists',
            "Basic auth failed; the bearer token is missing",
            "authority: localhost, authentication: none",
            "unknown token: use another",
            "WRONGPASS invalid username-password pair or user is disabled.",
        ],
    )
    def test_words_stay(self, text: str) -> None:
        assert mask(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "password: s3cret",
            "password: s3cret is wrong",
            "the password:s3cret was",
            "password = s3cret",
            "password = 's3cret'",
            "password= 's3cret'",
            "{'password': 'no s3cret'}",
            '{"auth": "s3cret"}',
            "x-auth: s3cret",
            "basicAuth=s3cret",
            "auth_token=s3cret",
            "private_key: s3cret",
            "Bearer s3cret",
            "basic s3cret",
        ],
    )
    def test_secrets_beside_words_go(self, text: str) -> None:
        assert "s3cret" not in mask(text)

    @pytest.mark.parametrize(
        "part", ["a", "a.", "a:", "password: no ", "password= ", "a+", "key=", "://", "@", "x:y@", "'"]
    )
    @pytest.mark.timeout(5)
    def test_takes_no_time_on_long_text(self, part: str) -> None:
        assert mask(part * 5_000)


class TestExpand:
    ENV = {"URL": "redis://h", "EMPTY": "", "N": "5", "TRICKY": "${URL}$$"}

    @pytest.mark.parametrize(
        ("value", "expanded"),
        [
            ("${URL}", "redis://h"),
            ("${URL}/${N}", "redis://h/5"),
            ("${EMPTY}", ""),
            ("${MISSING:-x:y}", "x:y"),
            ("${MISSING:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${N:-x}", "5"),
            ("$$", "$"),
            ("$${URL}", "${URL}"),
            ("$URL $ 5$", "$URL $ 5$"),
            ("${TRICKY}", "${URL}$$"),
            ({"a": ["${N}", {"b": ("${N}",)}], "${N}": 1}, {"a": ["5", {"b": ("5",)}], "${N}": 1}),
            (None, None),
            (True, True),
        ],
    )
    def test_value(self, value: Any, expanded: Any) -> None:
        assert expand(value, self.ENV) == expanded

    def test_reads_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CHARM_TEST_URL", "memory://")
        assert expand({"url": "${CHARM_TEST_URL}"}) == {"url": "memory://"}

    def test_missing_variable_is_named_with_its_place(self) -> None:
        with pytest.raises(ConfigError, match=r"^config\.stores\[1\]\.url: .*DATABASE_URL is not set"):
            expand({"stores": [{}, {"url": "${DATABASE_URL}"}]}, {}, ("config",))

    @pytest.mark.parametrize("value", ["${", "${}", "${A", "${A-b}", "${1}", "${A:-${B}}"])
    def test_malformed(self, value: str) -> None:
        with pytest.raises(ConfigError, match="cannot read"):
            expand(value, {"A": "", "B": "b"})


class TestValues:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("30d", 2_592_000),
            ("12h", 43_200),
            ("1h30m", 5_400),
            ("1d 12h", 129_600),
            ("1.5h", 5_400),
            ("250ms", 0.25),
            ("2w", 1_209_600),
            (" 45 s ", 45),
            ("90", 90),
            (90, 90),
            (0.5, 0.5),
            (0, 0),
            (timedelta(minutes=2), 120),
        ],
    )
    def test_duration(self, value: object, seconds: float) -> None:
        assert duration(value) == seconds
        assert isinstance(duration(value), float)

    @pytest.mark.parametrize("value", ["", "d", "30 days", "30D", "1h-3m", "-5s", -1, True, None, math.nan, "inf", []])
    def test_not_a_duration(self, value: object) -> None:
        with pytest.raises(ConfigError, match="not a duration: write 30d, 12h"):
            duration(value)

    @pytest.mark.parametrize(
        ("value", "count"),
        [
            ("64MB", 64_000_000),
            ("64MiB", 67_108_864),
            ("500kB", 500_000),
            ("500KB", 500_000),
            ("1.5 gb", 1_500_000_000),
            ("2TiB", 2_199_023_255_552),
            ("7b", 7),
            ("4096", 4096),
            (4096, 4096),
            (4096.0, 4096),
        ],
    )
    def test_size(self, value: object, count: int) -> None:
        assert size(value) == count
        assert isinstance(size(value), int)

    @pytest.mark.parametrize("value", ["", "64M", "MB", "-1MB", -1, 1.5, True, None, "64 pounds", math.inf])
    def test_not_a_size(self, value: object) -> None:
        with pytest.raises(ConfigError, match="not a size: write 64MB"):
            size(value)

    @pytest.mark.parametrize(
        ("value", "meant"), [("Yes", True), ("off", False), (1, True), (False, False), ("0", False)]
    )
    def test_boolean(self, value: object, meant: bool) -> None:
        assert boolean(value) is meant

    @pytest.mark.parametrize(
        ("parse", "value"),
        [
            (boolean, "maybe"),
            (boolean, 2),
            (non_negative_int, "-1"),
            (non_negative_int, 1.5),
            (non_negative_int, True),
            (text, 3),
        ],
    )
    def test_refused(self, parse: Any, value: object) -> None:
        with pytest.raises(ConfigError, match="write"):
            parse(value)

    def test_choice(self) -> None:
        assert choice("full", "normal")("NORMAL") == "normal"
        with pytest.raises(ConfigError, match="full or normal"):
            choice("full", "normal")("off")


SCHEMA = (
    Option("ttl", duration, None, "how long", env="CHARM_TTL"),
    Option("keep_last", non_negative_int, 10, "how many"),
    Option("token", int, None, "a secret"),
)


class TestOptions:
    def test_given_then_environment_then_default(self) -> None:
        env = {"CHARM_TTL": "1h"}
        assert read_options(SCHEMA, {}, "x", {}) == {"ttl": None, "keep_last": 10, "token": None}
        assert read_options(SCHEMA, {}, "x", env)["ttl"] == 3600
        assert read_options(SCHEMA, {"ttl": "2h", "keep_last": "5"}, "x", env) == {
            "ttl": 7200,
            "keep_last": 5,
            "token": None,
        }

    def test_later_sources_win_and_none_is_not_given(self) -> None:
        url, config, keywords = {"a": "1", "b": "1", "c": "1"}, {"b": 2, "c": 2}, {"c": 3, "a": None}
        assert merge(url, config, None, keywords) == {"a": "1", "b": 2, "c": 3}

    def test_unknown_name(self) -> None:
        with pytest.raises(
            ConfigError, match=r"sqlite: unknown option 'keeplast'; did you mean 'keep_last'\? known: keep_last, token"
        ):
            read_options(SCHEMA, {"keeplast": 1}, "sqlite", {})

    def test_unknown_name_that_is_no_name_is_not_quoted(self) -> None:
        with pytest.raises(ConfigError) as caught:
            read_options(SCHEMA, {"s3cret@host/db": 1}, "sqlite", {})
        assert "s3cret" not in str(caught.value)

    def test_wrong_value_names_option_and_source(self) -> None:
        with pytest.raises(ConfigError, match="sqlite: option 'keep_last': 'many' is not a whole number"):
            read_options(SCHEMA, {"keep_last": "many"}, "sqlite", {})
        unsaid = r"option 'ttl' \(from CHARM_TTL\): what was given \(text\) is not a duration"
        with pytest.raises(ConfigError, match=unsaid):
            read_options(SCHEMA, {}, "sqlite", {"CHARM_TTL": "soon"})

    def test_value_of_a_secret_is_not_quoted_nor_chained(self) -> None:
        with pytest.raises(ConfigError, match="option 'token': its value is not valid") as caught:
            read_options(SCHEMA, {"token": "s3cret"}, "sqlite", {})
        assert caught.value.__context__ is None
