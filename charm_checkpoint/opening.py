"""Opening a store by its URL and options, as every way to open one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from charm_checkpoint.config import registry
from charm_checkpoint.config.foreign_options import adopt
from charm_checkpoint.config.former_options import present_options
from charm_checkpoint.config.login_hints import login_hint
from charm_checkpoint.config.masking import FromOutside
from charm_checkpoint.config.options import (
    Option,
    above_zero,
    boolean,
    choice,
    expand,
    merge,
    non_negative_int,
    parse_url,
    read_options,
    size,
    time_kept,
)
from charm_checkpoint.config.retention import Retention, at_least_one, longer_than_nothing
from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.config.url import Location, as_url
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.runtime.cache import LIMIT
from charm_checkpoint.store import Store
from charm_checkpoint.values.limits import DEFAULTS, Limits

if TYPE_CHECKING:
    from charm_checkpoint.values.serde import Serializer

OPTIONS = (
    Option(
        "on_conflict",
        choice("allow", "warn", "raise"),
        "warn",
        "what becomes of a checkpoint whose parent is no longer the head: see CharmSaver",
    ),
    Option(
        "classes",
        choice("loaded", "registered"),
        "loaded",
        "which data classes are stored and restored: those that the program has loaded, or only those it registered",
    ),
    Option(
        "on_unknown",
        choice("keep", "raise"),
        "keep",
        "what becomes of a stored object that cannot be restored: an `Unknown`, which is written back as it is, or an "
        "error when it is read",
    ),
    Option(
        "strict",
        boolean,
        False,
        "whether an object cannot be restored of which a field is stored that its class does not have",
    ),
    Option(
        "keep_last",
        at_least_one,
        None,
        "how many checkpoints of each namespace of a thread are kept; all unless it, or keep_for, is given",
    ),
    Option("keep_for", longer_than_nothing, None, "how long checkpoints are kept beyond those, such as 90d"),
    Option(
        "ttl",
        longer_than_nothing,
        None,
        "how long a thread is kept after its last write, such as 30d; for ever unless given",
    ),
    Option("keep_interrupted", boolean, True, "whether what waits for an answer is kept whatever the others say"),
    Option(
        "sweep_every",
        time_kept,
        3600.0,
        "how often all threads are looked at for these, by one of the programs that put checkpoints; 0: only when "
        "sweep() is called",
    ),
    Option("auto_setup", boolean, True, "create or migrate the schema at first use"),
    Option(
        "cache_size", size, LIMIT, "memory for all that is remembered of what was read and written", former=("cache",)
    ),
    Option(
        "max_bytes",
        above_zero(size, "write some bytes, such as 2GiB"),
        DEFAULTS.max_bytes,
        "bytes that the values of one checkpoint may come to, before they are refused",
    ),
    Option(
        "max_elements",
        above_zero(non_negative_int, "write a number, such as 10000000"),
        DEFAULTS.max_elements,
        "elements that they may come to where few bytes stand for many; see docs/security.md",
    ),
)
"""Options that every store has."""
POLICY = ("keep_last", "keep_for", "ttl")
"""Those by which anything goes at all."""


class Opened(NamedTuple):
    """A store that connects to nothing yet, where it is, and a value for each option of it."""

    store: Store
    location: Location
    settings: Mapping[str, Any]


@unseen
def opened(config: Mapping[str, Any], options: Mapping[str, Any], default_url: str = "") -> Opened:
    """Open the store of a config, in which ``${NAME}`` is expanded, and of options, which win over it.

    Raises `ConfigError` for a URL or an option it does not know.
    """
    given, options = expand(config), dict(options)
    template, in_config = config.get("url"), given.pop("url", None)
    url = options.pop("url", None) or in_config or default_url
    location = parse_url(as_url(url))
    kind = registry.resolve(location.scheme)
    schema, whose = _schema(kind), f"{location.scheme} store"
    outside = {name: FromOutside(value) for name, value in location.query.items()}
    given = merge(outside, _marked(given, config), options)
    given = present_options(given, merge(options), schema, whose)
    given = adopt(kind.foreign, given, schema, whose)
    settings = read_options(schema, given, whose)
    _refuse_without_policy(given, settings)
    store = _store_of(kind, kind.open_store(location, settings))
    store.system = location.scheme
    store.login_hint = login_hint(location, template if url is in_config else "")
    store.auto_setup(settings["auto_setup"])
    store.expires_threads = any(option.name == "ttl" for option in kind.options)
    store.budget.limit = settings["cache_size"]
    store.limits = Limits(settings["max_bytes"], settings["max_elements"])
    return Opened(store, location, settings)


def _schema(kind: registry.StoreType) -> tuple[Option, ...]:
    """Return the options of a store; one that every store has may be its own there."""
    own = {option.name for option in kind.options}
    return (*kind.options, *(option for option in OPTIONS if option.name not in own))


def _refuse_without_policy(given: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse options that tell how a policy is kept to where there is none, so that nobody waits for what never goes.

    Not what is so without a policy, too: ``sweep_every=0``, and that what waits is kept.
    """
    if any(settings[name] is not None for name in POLICY):
        return
    for name in ("sweep_every", "keep_interrupted"):
        if given.get(name) is not None and (name == "sweep_every") == bool(settings[name]):
            raise ConfigError(
                f"{name}: without keep_last=, keep_for= or ttl= everything is kept; name one of these, or leave it out"
            )


def policy_of(store: Store, settings: Mapping[str, Any]) -> Retention | None:
    """Return what the options of a store say is kept, None if they have nothing go.

    Where a store has threads expire by itself, it needs nobody for that.
    """
    ttl = None if store.expires_threads else settings["ttl"]
    policy = Retention(settings["keep_last"], settings["keep_for"], ttl, settings["keep_interrupted"])
    return None if policy.is_empty else policy


def as_strict(serde: Serializer, settings: Mapping[str, Any]) -> Serializer:
    """Return a serializer that is as strict as the options of a store say, and no less than the one given."""
    return serde.strictly(settings["classes"], settings["on_unknown"], settings["strict"])


def _marked(given: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a config, of which those that the environment's were put into are not to be shown."""
    return {
        name: FromOutside(value) if isinstance(value, str) and value != config[name] else value
        for name, value in given.items()
    }


def _store_of(kind: registry.StoreType, opened: object) -> Store:
    if isinstance(opened, Store):
        return opened
    opener = registry.path_of(kind.open_store)
    raise ConfigError(f"{opener}, which opens {kind.scheme}://, returned {type(opened).__name__} and no Store")
