"""What can be told of a Supabase project by way of its API."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import urlsplit

from charm_checkpoint.checking.doctor.network import is_local
from charm_checkpoint.checking.doctor.report import DoctorReport
from charm_checkpoint.checking.doctor.session import tell_tls
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store
from charm_checkpoint.stores.postgres_schema.backend import Version


class SupabaseExaminer:
    """Looks at a project from outside."""

    is_remote = True

    def __init__(self, store: Store) -> None:
        driver: Any = store.driver
        self._project = driver.project

    def ping(self) -> Plan[Any]:
        """Ask for the schema's version."""
        return _version()

    def examine(self, report: DoctorReport) -> Session[None]:
        """Tell what the URL and the key promise, and where the rest can be learnt."""
        report.facts["schema_version"] = yield Step(_version, bare=True)
        address = urlsplit(self._project.url)
        near = is_local([(address.hostname or "", None)])
        tell_tls(report, address.scheme == "https", near, "Write https:// in the URL.")
        role = _role(self._project.key)
        if role is not None:
            report.facts["key"] = role
        if role == "service_role" or role == "secret":
            advice = "Keep it on servers: it may do everything. Programs of users take the public key, and token=."
            report.add("key", "note", "it is the project's secret key.", advice)
        elif self._project.token is None:
            advice = "Give token=, the signed-in user's access token, or the secret key on a server."
            report.add(
                "key", "warning", "it is a public key, and there is no token: nobody's threads are seen.", advice
            )
        advice = "The database's own URL, postgresql://, as the dashboard shows under Connect, tells these."
        report.add("durability", "note", "the API says nothing of the database's settings.", advice)


def _version() -> Plan[Any]:
    return (yield Version())


def _role(key: str) -> str | None:
    """Return whose an API key is, None if it does not tell."""
    if key.startswith("sb_secret_"):
        return "secret"
    if key.startswith("sb_publishable_"):
        return "publishable"
    try:
        body = key.split(".")[1]
        role = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4))).get("role")
    except (IndexError, ValueError, AttributeError):
        return None
    return role if isinstance(role, str) else None
