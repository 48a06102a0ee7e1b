"""What people paste from dashboards, and the first mistakes with a store's name."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from stores import have, postgres_server

from charm_checkpoint import StorageManager, open_memory
from charm_checkpoint.config import foreign_options, registry
from charm_checkpoint.config.url import parse_url
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.providers import PostgresMemory, SqliteMemory


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_options, "_told", set())


def conninfo(url: str, **options: Any) -> dict[str, Any]:
    """Return what libpq is given for a URL."""
    with open_memory(url, **options) as memory:
        driver: Any = memory.store.driver
        return conninfo_to_dict(driver._pools.settings.conninfo.plain())


def size(url: str) -> int:
    with open_memory(url) as memory:
        driver: Any = memory.store.driver
        found: int = driver._pools.settings.size
        return found


def redis_settings(url: str) -> dict[str, Any]:
    with open_memory(url) as memory:
        driver: Any = memory.store.driver
        return dict(driver._endpoint.settings)


SUPABASE = "postgresql://postgres.abcdefghijklmnopqrst:pw@aws-0-eu-central-1.pooler.supabase.com"


def test_of_two_foreign_options_for_the_same_the_first_counts() -> None:
    names = [f"theirs{number}" for number in range(20)]
    table = {name: foreign_options.ForeignOption("ours") for name in names}
    for order in (names, names[::-1]):
        given = {name: f"said by {name}" for name in order}
        assert foreign_options.adopt(table, given, (), "here") == {"ours": f"said by {order[0]}"}
        assert foreign_options.adopt(table, {**given, "ours": "own"}, (), "here") == {"ours": "own"}


class TestPostgres:
    @pytest.mark.parametrize(
        "url",
        [
            "postgres://u:p@ep-cool-1.eu-central-1.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
            f"{SUPABASE}:6543/postgres?pgbouncer=true&connection_limit=1&pool_timeout=0",
            f"{SUPABASE}:6543/postgres?sslmode=require&supa=base-pooler.x&workaround=supabase-pooler.vercel",
            f"{SUPABASE}:5432/postgres",
            "postgres://u:p@ec2-1.compute-1.amazonaws.com:5432/d1",
            "postgresql://postgres:p@containers-us-west-1.railway.app:6543/railway",
            "postgresql://u:p@dpg-x-a.frankfurt-postgres.render.com/db",
            "postgresql+psycopg://u:p@h/db?sslmode=require",
            "postgresql+psycopg2://u:p@h/db",
            "postgresql+asyncpg://u:p@h/db?ssl=require&statement_cache_size=0&prepared_statement_cache_size=0",
            "postgres+asyncpg://u:p@h/db",
            "POSTGRESQL+ASYNCPG://u:p@h/db",
            "postgresql://u:p@h/db?prepareThreshold=0&binary_parameters=yes&default_query_exec_mode=exec",
            "'postgresql://u:p@h/db'",
            '"postgresql://u:p@h/db" ',
        ],
    )
    def test_accepted(self, url: str) -> None:
        found = conninfo(url)
        assert found["user"] and found["password"] in ("p", "pw") and found["host"]

    @pytest.mark.parametrize(
        ("given", "mode"),
        [
            ("ssl=true", "require"),
            ("ssl=require", "require"),
            ("ssl=verify-full", "verify-full"),
            ("ssl=no-verify", "require"),
            ("ssl=false", "disable"),
            ("ssl=true&sslmode=verify-ca", "verify-ca"),
            ("sslaccept=accept_invalid_certs", "require"),
        ],
    )
    def test_tls_in_other_words(self, given: str, mode: str) -> None:
        assert conninfo(f"postgresql://h/db?{given}")["sslmode"] == mode
        name, _, value = given.partition("&")[0].partition("=")
        if "&" not in given:
            assert conninfo("postgresql://h/db", **{name: value})["sslmode"] == mode

    def test_a_limit_is_kept(self) -> None:
        assert size("postgresql://h/db?connection_limit=3") == 3
        assert size("postgresql://h/db?connection_limit=3&max_connections=4") == 4

    def test_it_is_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(3):
            conninfo("postgresql://u:s3cret@h/db?pgbouncer=true&ssl=true")
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(said) == 2
        assert all("s3cret" not in text and len(text) < 150 for text in said)
        assert {"pgbouncer", "ssl"} == {text.partition("option ")[2].split()[0] for text in said}

    @pytest.mark.parametrize(
        ("url", "advice"),
        [
            ("postgresql://h/db?sslaccept=strict", "sslmode=verify-full"),
            ("postgresql://h/db?tiemout=3", "did you mean 'timeout'"),
            ("postgresql://h/db?poolsize=3", "did you mean 'max_connections'"),
            ("postgresql://h/db?sslmod=require", "did you mean 'sslmode'"),
            ("postgresql://h/db?zzzz=1", "known: .*max_connections"),
            ("postgresql+nonsense://h/db", "no store for the scheme 'postgresql\\+nonsense'"),
            ("jdbc:postgresql://h:5432/db?user=u&password=s3cret", "write postgresql://"),
            ("psql 'postgresql://u:s3cret@h/db'", "the URL alone"),
            ("DATABASE_URL=postgresql://u:s3cret@h/db", "the URL alone"),
            ("export DATABASE_URL='postgresql://u:s3cret@h/db'", "the URL alone"),
            ("${DATABASE_URL}", "a config"),
            ("$DATABASE_URL", "a config"),
            ("${{Postgres.DATABASE_URL}}", "a config"),
            (f"{SUPABASE.replace(':pw', ':[YOUR-PASSWORD]')}:6543/postgres", "placeholder"),
            (f"{SUPABASE.replace(':pw', ':<password>')}:6543/postgres", "placeholder"),
        ],
    )
    def test_refused_in_a_short_line_with_advice(self, url: str, advice: str) -> None:
        with pytest.raises(ConfigError, match=advice) as caught:
            open_memory(url)
        assert len(str(caught.value)) < 400
        assert "s3cret" not in str(caught.value)

    def test_the_providers_take_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://me@h/db?ssl=require")
        with PostgresMemory() as memory:
            assert (memory.location.scheme, memory.location.user) == ("postgresql", "me")
        monkeypatch.setenv("DATABASE_URL", "postgresql://me@h/db?tiemout=1")
        with pytest.raises(ConfigError, match="timeout.*DATABASE_URL"):
            PostgresMemory()

    def test_a_server_takes_it(self) -> None:
        url = have(postgres_server).url.replace("postgresql://", "postgresql+psycopg://")
        with open_memory(f"{url}?pgbouncer=true&connection_limit=1") as memory:
            assert memory.load_messages("t") == []


class TestRedis:
    @pytest.mark.parametrize(
        "url",
        [
            "rediss://default:p@fly-1.upstash.io:6379",
            "redis://default:p@monorail.proxy.rlwy.net:12345",
            "rediss://:p@ec2-1.compute-1.amazonaws.com:7000",
            "rediss://red-x:p@frankfurt-redis.render.com:6379",
            "redis://:p@h:6379/0?decode_responses=True&health_check_interval=30&socket_timeout=5&protocol=3",
            "rediss://:p@h:6379/0?ssl_cert_reqs=required",
            "rediss://:p@h:6379/0?family=6",
        ],
    )
    def test_accepted(self, url: str) -> None:
        assert redis_settings(url)["password"] == "p"

    def test_tls_in_other_words(self) -> None:
        found = redis_settings("redis://h?ssl=True&ssl_ca_certs=/a.pem&ssl_certfile=/b.pem&ssl_keyfile=/c.pem")
        assert found["ssl"] is True
        assert [found[name] for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")] == [
            "/a.pem",
            "/b.pem",
            "/c.pem",
        ]

    @pytest.mark.parametrize(
        ("url", "advice"),
        [
            ("redis-cli --tls -u redis://default:s3cret@h:6379", "the URL alone"),
            ("REDIS_URL=redis://default:s3cret@h:6379", "the URL alone"),
            ("redis://h?max_conections=3", "did you mean 'max_connections'"),
            ("redis://h?ttl=0", "for ever"),
            ("redis://h?ttl=0s", "for ever"),
            ("redis://h?refresh_on_read=true", "ttl="),
            ("redis://h?max_connections=0", "at least 1"),
            ("redis://h?timeout=0", "some seconds"),
        ],
    )
    def test_refused(self, url: str, advice: str) -> None:
        with pytest.raises(ConfigError, match=advice) as caught:
            open_memory(url)
        assert len(str(caught.value)) < 400
        assert "s3cret" not in str(caught.value)

    def test_what_has_a_meaning_stays(self) -> None:
        for url in ("redis://h?refresh_on_read=false", "redis://h?refresh_on_read=true&ttl=1ms", "redis://h?ttl=30d"):
            open_memory(url).close()


class TestSupabase:
    @pytest.mark.parametrize(
        "url",
        [
            "https://abcdefghijklmnopqrst.supabase.co",
            "https://abcdefghijklmnopqrst.supabase.co/",
            "https://abcdefghijklmnopqrst.supabase.co/rest/v1",
            "https://abcdefghijklmnopqrst.supabase.co/rest/v1/",
            "supabase://abcdefghijklmnopqrst.supabase.co",
        ],
    )
    def test_accepted(self, url: str) -> None:
        with open_memory(url, key="k") as memory:
            driver: Any = memory.store.driver
            assert driver.project.url == "https://abcdefghijklmnopqrst.supabase.co"

    @pytest.mark.parametrize(
        ("url", "advice"),
        [
            ("https://supabase.com/dashboard/project/abcdefghijklmnopqrst", "<project>.supabase.co"),
            ("https://db.abcdefghijklmnopqrst.supabase.co", "postgresql://"),
            ("abcdefghijklmnopqrst.supabase.co", "https://abcdefghijklmnopqrst.supabase.co"),
        ],
    )
    def test_refused(self, url: str, advice: str) -> None:
        with pytest.raises(ConfigError, match=advice):
            open_memory(url, key="k")

    def test_the_environments_own_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NEXT_PUBLIC_SUPABASE_URL", raising=False)
        monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY", raising=False)
        for url in ("postgresql://u:s3cret@h/db", "abc", "https://supabase.com/dashboard"):
            monkeypatch.setenv("SUPABASE_URL", url)
            with pytest.raises(ConfigError, match="SUPABASE_URL") as caught:
                open_memory("supabase", {"key": "k"})
            assert "s3cret" not in str(caught.value)
        monkeypatch.setenv("SUPABASE_URL", "https://abcdefghijklmnopqrst.supabase.co/rest/v1")
        monkeypatch.setenv("SUPABASE_KEY", "s3 cret")
        with pytest.raises(ConfigError, match="SUPABASE_KEY") as caught:
            open_memory("supabase")
        assert "s3 cret" not in str(caught.value)


class TestFiles:
    @pytest.mark.parametrize(
        "url", ["sqlite+aiosqlite:///{}/a.db", "sqlite+pysqlite:///{}/a.db", "{}/a.db", "{}/a%41 b.sqlite3"]
    )
    def test_a_sqlite_file(self, url: str, tmp_path: Path) -> None:
        given = url.format(tmp_path)
        for open_one in (
            open_memory,
            lambda url: open_memory("sqlite", {"url": url}),
            lambda url: SqliteMemory(url=url),
        ):
            with open_one(given) as memory:
                memory.append_messages("t", [{"n": 1}])
        assert [file.name for file in tmp_path.iterdir()] == [given.rpartition("/")[2]]

    @pytest.mark.parametrize(
        "name", ["a.db", "no suffix", "a?b#c%41.db", "é.sqlite", "~x", "sub/a.db", "C:.db", "a@b=c"]
    )
    def test_a_path(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sub").mkdir()
        for path in (Path(name), tmp_path / name):
            for open_one in (open_memory, lambda path: open_memory("sqlite", {"url": path})):
                with open_one(path) as memory:
                    memory.append_messages("t", [{"n": 1}])
        assert (tmp_path / name).is_file()
        with open_memory(PurePosixPath(tmp_path / name)) as memory:
            assert len(memory.load_messages("t")) == 4

    def test_a_plain_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("agent.db", "my agent.SQLITE", "./b.sqlite3"):
            with open_memory(name) as memory:
                memory.append_messages("t", [{"n": 1}])
            assert Path(name).is_file()
        with open_memory(":memory:") as memory:
            memory.append_messages("t", [{"n": 1}])
        assert len(list(tmp_path.iterdir())) == 3

    @pytest.mark.parametrize(
        ("given", "advice"),
        [
            (None, "no store is named"),
            (5, "not by an int"),
            (b"a.db", "not by a bytes"),
            (["sqlite://"], "not by a list"),
            ("", "starts with a scheme"),
            ("agent.txt", "starts with a scheme"),
            ("file:agent.db", "sqlite:///agent.db for a SQLite file, or file:///abs/folder"),
            ("file:agent.db?mode=ro", "sqlite:///agent.db for a SQLite file, or file:///abs/folder"),
            ("file:/tmp/agent.db", "sqlite:////tmp/agent.db for a SQLite file, or file:///abs/folder"),
            ("file://agent.db", "file:///abs/folder.*sqlite:///agent.db"),
            ("file:///tmp/none/agent.db", "sqlite:////tmp/none/agent.db"),
            ("file://./agent.sqlite", "SQLite"),
            ("sqlite:agent.db", "sqlite:///agent.db"),
            ("sqlite://agent.db", "sqlite:///agent.db"),
            ("sqlite:/agent.db", "sqlite:///agent.db"),
            ("u:s3cret@h/x.db", "starts with a scheme"),
            ("password=s3cret dbname=x.db", "."),
        ],
    )
    def test_refused(self, given: Any, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match=advice) as caught:
            open_memory(given)
        assert "s3cret" not in str(caught.value)
        assert not list(tmp_path.iterdir())

    def test_a_folder_or_a_file_of_another_kind(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="is a folder.*file:///"):
            open_memory(tmp_path)
        (tmp_path / "plain").write_text("")
        with pytest.raises(ConfigError, match="names a folder"):
            open_memory(f"file://{tmp_path}/plain")
        (tmp_path / "folder.db").mkdir()
        open_memory(f"file://{tmp_path}/folder.db").close()

    @pytest.mark.parametrize("config", ["sqlite:///a.db", Path("a.db"), 5, [("url", "sqlite://")]])
    def test_a_config_that_is_none(self, config: Any) -> None:
        for open_one in (open_memory, StorageManager.get_provider):
            with pytest.raises(ConfigError, match="config is a mapping"):
                open_one("sqlite", config)
        with pytest.raises(ConfigError, match="config is a mapping"):
            open_memory("sqlite://", config)

    @pytest.mark.parametrize("name", [None, Path("a.db"), 5])
    def test_a_provider_has_a_name(self, name: Any) -> None:
        with pytest.raises(ConfigError, match="a provider has a name"):
            StorageManager.get_provider(name)

    def test_a_keyword_wins_over_the_config(self) -> None:
        with SqliteMemory({"url": "sqlite:///no.db"}, url="sqlite://") as memory:
            assert memory.location.path == ":memory:"


@pytest.mark.parametrize("scheme", sorted(set(registry.BUILT_IN) - {"unix"}))
@pytest.mark.parametrize("name", ["quite_another", "tenat", "ON_CONFLICT", "x" * 300, "s3cret@h"])
def test_an_unknown_option_is_told_in_a_line(scheme: str, name: str) -> None:
    with pytest.raises(ConfigError, match="unknown option") as caught:
        open_memory(f"{scheme}://", **{name: 1})
    assert len(str(caught.value)) < 500  # the names of all options, and not what came
    assert "s3cret" not in str(caught.value)


def test_a_quoted_url_shows_no_secret() -> None:
    assert str(parse_url("'redis://:s3cret@h'")) == "redis://:***@h"
