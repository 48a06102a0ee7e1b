"""What a Redis or Valkey server says of itself: what it keeps, what it throws out, how many it serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from charm_checkpoint.checking.doctor.report import DoctorReport
from charm_checkpoint.checking.doctor.session import tell_clock, tell_tls
from charm_checkpoint.errors import CharmError
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.stores.redis.rows import Call, Command

FULL = 0.9
"""The part of its memory from which on a server is nearly full."""
FEW = 20
"""Clients that it still takes, below which these may run out."""


class RedisDoctor:
    """Asks a server, and tells what its answers mean."""

    def __init__(self, keys: tuple[bytes, bytes], is_expiring: bool, tls: bool, is_near: bool, kind: str) -> None:
        self._keys = keys
        self._is_expiring = is_expiring
        self._tls = tls
        self._is_near = is_near
        self._kind = kind

    def examine(self, report: DoctorReport) -> Session[None]:
        """Tell what the server's settings promise."""
        began = time.time()
        info, clock, version = yield Step(partial(_asked, Call("doctor", self._keys, (b"",))), bare=True)
        ended = time.time()
        facts = {name: value.strip() for name, _, value in map(_line, info.decode("utf-8", "replace").splitlines())}
        kind = "Valkey" if "valkey_version" in facts else "Redis"
        number = facts.get("valkey_version") or facts.get("redis_version") or "?"
        report.facts.update(server=f"{kind} {number}", schema_version=int(version or 1))
        if not facts:
            report.add("rights", "note", "the user may not ask INFO, so little can be told.", "Allow +info.")
        else:
            report.add("version", "ok", f"{kind} {number}.")
            fsync = yield from self._setting("appendfsync")
            save = yield from self._setting("save")
            _tell_durability(report, facts, fsync, save)
            _tell_memory(report, facts, self._is_expiring)
            _tell_role(report, facts, self._kind)
            _tell_clients(report, facts)
        tell_tls(report, self._tls, self._is_near, "Use rediss://, if the server has TLS.")
        tell_clock(report, float(clock) + 0.5, began, ended)  # whole seconds

    def _setting(self, name: str) -> Session[str | None]:
        """Return a setting, None where it may not be asked for."""
        try:
            reply = yield Step(partial(_asked, Command(("CONFIG", "GET", name))), bare=True)
        except CharmError:
            return None
        pair = list(reply.items())[0] if isinstance(reply, Mapping) and reply else reply
        return pair[1].decode() if len(pair) == 2 and isinstance(pair[1], bytes) else None


def _asked(operation: Call | Command) -> Plan[Any]:
    return (yield operation)


def _line(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _tell_durability(report: DoctorReport, facts: Mapping[str, str], fsync: str | None, save: str | None) -> None:
    report.facts["appendonly"] = facts.get("aof_enabled") == "1"
    report.facts["appendfsync"] = fsync
    if facts.get("aof_last_write_status", "ok") != "ok" or facts.get("rdb_last_bgsave_status", "ok") != "ok":
        report.add("durability", "error", "the server's last write to its disk failed.", "Look into its log.")
    elif facts.get("aof_enabled") == "0" and save == "":
        message = "it keeps no append-only file and makes no snapshots: all is lost when it stops."
        report.add("durability", "warning", message, "Set appendonly yes, or accept that.")
    elif facts.get("aof_enabled") == "0":
        advice = "Set appendonly yes, or accept that."
        message = "it keeps no append-only file: what came since its last snapshot is lost when it stops."
        report.add("durability", "warning", message, advice)
    elif fsync == "always":
        report.add("durability", "ok", "appendonly yes, appendfsync always: a write is on the disk when it returns.")
    else:
        said = f"appendfsync {fsync}" if fsync else "appendfsync cannot be asked for"
        message = f"appendonly yes, {said}: a power loss may undo the last second."
        report.add("durability", "note", message, "Set appendfsync always, or accept that.")


def _tell_memory(report: DoctorReport, facts: Mapping[str, str], is_expiring: bool) -> None:
    most, used = int(facts.get("maxmemory", 0) or 0), int(facts.get("used_memory", 0) or 0)
    policy, evicted = facts.get("maxmemory_policy", "?"), int(facts.get("evicted_keys", 0) or 0)
    report.facts.update(used_memory_bytes=used, maxmemory_bytes=most, maxmemory_policy=policy, evicted_keys=evicted)
    evicts = policy.startswith("allkeys") or (is_expiring and policy.startswith("volatile"))
    if evicts and (most or evicted):
        gone = f"; it has thrown out {evicted:,} keys" if evicted else ""
        message = f"maxmemory-policy is {policy}: it throws out threads when memory runs short{gone}."
        report.add("eviction", "error" if evicted else "warning", message, "Set maxmemory-policy noeviction.")
    elif evicts:
        message = f"maxmemory-policy is {policy}, and there is no maxmemory yet."
        report.add("eviction", "note", message, "Set maxmemory-policy noeviction.")
    else:
        report.add("eviction", "ok", f"maxmemory-policy is {policy}: threads are not thrown out.")
    if most and used > FULL * most:
        advice = "Sweep or prune threads, or give it more."
        report.add("memory", "warning", f"{used:,} of {most:,} bytes of its memory are used.", advice)


def _tell_role(report: DoctorReport, facts: Mapping[str, str], kind: str) -> None:
    role = facts.get("role", "?")
    report.facts["role"] = role
    if role in ("slave", "replica"):
        report.add("rights", "error", "the server is a read-only replica.", "Name the primary, or use sentinels.")
    if facts.get("cluster_enabled") == "1" and kind != "cluster":
        report.add("topology", "error", "the server is a node of a cluster.", "Use redis+cluster://.")


def _tell_clients(report: DoctorReport, facts: Mapping[str, str]) -> None:
    most, used = int(facts.get("maxclients", 0) or 0), int(facts.get("connected_clients", 0) or 0)
    if not most:
        return
    report.facts["connections"] = {"used": used, "most": most}
    grade, advice = (
        ("warning", "Lower max_connections= here or in other programs.") if most - used < FEW else ("ok", "")
    )
    report.add("connections", grade, f"{most - used:,} of {most:,} are left.", advice)  # type: ignore[arg-type]


def pinging(key: bytes) -> Callable[[], Plan[Any]]:
    """Return what makes the plan of a round trip."""
    return partial(_asked, Command(("EXISTS", key)))
