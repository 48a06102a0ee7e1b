"""Secrets that were put into the wrong place, and then stand in a log.

Nobody attacks here at first: a person pastes a key where a duration belongs, or a variable holds another one's value.
The attacker comes later, and reads logs, bug reports and traces, which are kept longer and seen by more people than
the environment is.

He wants a password, a key or a token. He gets the name of the option and what belongs there: a value that came from
the environment or from a URL, or that looks like a key, is told by its kind alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from charm_checkpoint import StorageManager, open_memory
from charm_checkpoint.config import registry
from charm_checkpoint.config.masking import FromOutside, looks_secret, show
from charm_checkpoint.config.options import Option, read_options
from charm_checkpoint.errors import CharmError, ConfigError
from charm_checkpoint.hosts.zeroclaw import settings as zeroclaw
from charm_checkpoint.hosts.zeroclaw.environment import with_overrides
from charm_checkpoint.long_term.ages import ages_of_environment
from charm_checkpoint.long_term.lucid.settings import LucidSettings
from charm_checkpoint.opening import OPTIONS

SECRET = "Tr0ub4dor&3"
KEY = "A1b2C3d4E5f6G7h8I9j0"
"""What looks like a key, even where it comes from the program's own text."""

SCHEMES = ("sqlite", "file", "memory", "postgresql", "supabase", "redis", "valkey")


def options() -> Iterator[tuple[str, Option]]:
    for scheme in SCHEMES:
        for option in (*registry.resolve(scheme).options, *OPTIONS):
            yield scheme, option


BY_NAME = {option.name: option for _, option in options()}


def told(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return what an error says of a value that was refused, "" if it was taken."""
    try:
        call(*args, **kwargs)
    except CharmError as error:
        return f"{error} {error!r} {error.__cause__} {error.__context__}"
    return ""


@pytest.mark.parametrize("secret", [SECRET, "30s " + SECRET, f"[{SECRET}]", f"1{SECRET},2"])
def test_no_option_of_any_store_tells_a_value_from_outside(secret: str) -> None:
    refused = 0
    for scheme, option in options():
        said = told(read_options, [option], {option.name: FromOutside(secret)}, scheme, {})
        assert SECRET not in said and SECRET.lower() not in said.lower(), (scheme, option.name)
        refused += bool(said)
    assert refused > 30


@pytest.mark.parametrize("secret", [KEY, f"sk-{KEY}", f"postgresql://me:{SECRET}@host/db"])
def test_what_looks_like_a_secret_is_not_told_wherever_it_is_from(secret: str) -> None:
    refused = 0
    for scheme, option in options():
        said = told(read_options, [option], {option.name: secret}, scheme, {})
        assert KEY not in said and SECRET not in said and KEY.lower() not in said, (scheme, option.name)
        refused += bool(said)
    assert refused > 30


def test_in_a_url() -> None:
    for url in ("sqlite://?timeout={}", "redis://h?timeout={}", "sqlite://?auto_setup={}"):
        with pytest.raises(ConfigError, match=r"what was given \(text\) is not") as caught:
            open_memory(url.format(quote(SECRET)))
        assert SECRET not in str(caught.value)
    assert SECRET not in told(open_memory, f"sqlite://?{quote(SECRET)}=1")
    assert KEY not in told(open_memory, f"sqlite://?{KEY}=1")


def test_in_a_config_whose_value_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME", SECRET)
    for config in ({"timeout": "${SOME}"}, {"timeout": "x${SOME}"}, {"url": "sqlite://?timeout=${SOME}"}):
        said = told(open_memory, "sqlite", config)
        assert "what was given (text)" in said and SECRET not in said
    assert "'soon' is not a duration" in told(open_memory, "sqlite", {"timeout": "soon"})


def test_in_a_variable_that_an_option_reads() -> None:
    option = Option("ttl", BY_NAME["ttl"].parse, None, "", env="CHARM_TTL")
    said = told(read_options, [option], {}, "redis", {"CHARM_TTL": SECRET})
    assert "option 'ttl' (from CHARM_TTL): what was given (text) is not a duration" in said and SECRET not in said


def test_in_variables_of_long_term_memory(caplog: pytest.LogCaptureFixture) -> None:
    ages_of_environment({"CHARM_MEMORY_SOFT_EXPIRY_DAYS": SECRET, "CANTRIP_MEMORY_HARD_EXPIRY_DAYS": SECRET})
    for name in ("ZEROCLAW_LUCID_BUDGET", "ZEROCLAW_LUCID_RECALL_TIMEOUT_MS"):
        said = told(LucidSettings.from_environment, {name: SECRET})
        assert name in said and SECRET not in said
    assert "CHARM_MEMORY_SOFT_EXPIRY_DAYS is no number of days" in caplog.text and SECRET not in caplog.text


def test_in_variables_that_stand_for_a_config() -> None:
    for name in ("auto_save", "vector_weight", "cache_size", "embedding_dimensions", "search_mode"):
        tables, _ = with_overrides({}, {f"ZEROCLAW_memory__{name}": SECRET})
        said = told(zeroclaw.read, tables["memory"])
        assert said and SECRET not in said, name


def test_in_the_name_of_a_provider(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    StorageManager.get_provider(KEY)
    StorageManager.clear()
    assert "no memory provider" in caplog.text and KEY not in caplog.text


@pytest.mark.parametrize(
    "harmless", ["soon", "-5", "30 days", "./agents/no-such-folder-1/agent", "/srv/agents/agent-12345.db"]
)
def test_what_helps_is_told(harmless: str) -> None:
    assert not looks_secret(harmless)
    assert show(harmless) == repr(harmless)
