"""The metadata of a checkpoint, with what its config brings."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import EXCLUDED_METADATA_KEYS, CheckpointMetadata

from charm_checkpoint.errors import DataError
from charm_checkpoint.saver.records import CONFLICT_KEY
from charm_checkpoint.saver.refs import plain_name
from charm_checkpoint.values.json_values import ATOMS, simplified

REQUEST_KEYS = frozenset(
    {"langgraph_request_id", "langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions"}
)
"""Configurable keys that the savers of LangGraph's server do not keep either."""


def merged_metadata(config: RunnableConfig, metadata: CheckpointMetadata) -> dict[str, Any]:
    """Add the config's own metadata and plain configurable values, as LangGraph's savers do.

    The rules are those of ``langgraph.checkpoint.base.get_checkpoint_metadata``, except that
    text is kept whole, where that function drops NULs, that what LangGraph's server says of
    one request, its user among it, is left out, and that everything is plain JSON, which is read
    without any class. Raises `NotSerializable` with a path that starts at the metadata.
    """
    merged: dict[str, Any] = {}
    for key, value in list(metadata.items()):  # another thread may change it
        merged[plain_name(key)] = value if type(value) in ATOMS else _simplified(key, value)
    for source in (config.get("metadata"), config.get("configurable")):
        for key, value in list((source or {}).items()):
            key = plain_name(key)
            if key in merged or key in EXCLUDED_METADATA_KEYS or key in REQUEST_KEYS or key.startswith("__"):
                continue
            if issubclass(type(value), (str, int, float)):  # a proxy is not asked what it stands for
                merged[key] = simplified(value)
    merged.pop(CONFLICT_KEY, None)
    return merged


def _simplified(key: str, value: Any) -> Any:
    try:
        return simplified(value)
    except DataError as error:
        raise error.at("metadata", key) from error.__cause__
