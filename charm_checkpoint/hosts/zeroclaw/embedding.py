"""The models that ZeroClaw's settings name: OpenAI's, OpenRouter's, and any that is asked as theirs are."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from langchain_core.embeddings import Embeddings

from charm_checkpoint.config.masking import Secret, mask
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.hosts.zeroclaw.settings import MemorySettings

_BASES: Final = {"openai": "https://api.openai.com", "openrouter": "https://openrouter.ai/api/v1"}
_KEYS: Final = {"openai": "OPENAI_API_KEY", "openrouter": "OPENROUTER_API_KEY"}

TIMEOUT: Final = 60.0
"""Seconds after which a call is given up, if nobody has before."""


class OpenAICompatible(Embeddings):
    """A model behind an API as OpenAI's is."""

    def __init__(self, url: str, model: str, key: Secret | None = None) -> None:
        self.model = model
        self._url = url
        self._key = key

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        body = json.dumps({"model": self.model, "input": texts}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.plain()}"
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(2000).decode(errors="replace")
            raise ConnectionError(f"{self._url} answered {error.code}: {mask(said)[:200]}") from None
        return _vectors(found, len(texts), self._url)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text."""
        return self.embed_documents([text])[0]


def _vectors(answer: Any, count: int, url: str) -> list[list[float]]:
    """Return the vectors of an answer, in the order of what was asked."""
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, list) or len(data) != count:
        raise ValueError(f"{url} answered with no list of {count} vectors")
    ordered = sorted(enumerate(data), key=lambda pair: pair[1].get("index", pair[0]))
    return [list(map(float, each["embedding"])) for _, each in ordered]


def model_of(
    settings: MemorySettings, api_key: Secret | None = None, env: Mapping[str, str] = os.environ
) -> OpenAICompatible | None:
    """Return the model that the settings name, None for none; raises `ConfigError` where its key is missing.

    The key is the first there is of ``embedding_api_key``, the provider's variable, ``ZEROCLAW_API_KEY``, and the
    file's own ``api_key``.
    """
    provider = settings.embedding_provider
    if provider == "none":
        return None
    name = _KEYS.get(provider, "")
    said = env.get(name, "") or env.get("ZEROCLAW_API_KEY", "")
    key = settings.embedding_api_key or (Secret(said) if said else api_key)
    if key is None and name:
        raise ConfigError(
            f'[memory] embedding_provider is "{provider}", and there is no key for it: set {name}, or give embed'
        )
    return OpenAICompatible(endpoint(provider), settings.embedding_model, key)


def endpoint(provider: str) -> str:
    """Return the URL that a provider is asked at: one that ends in ``/embeddings`` as it is, others with it added."""
    base = _BASES.get(provider) or provider.partition(":")[2]
    base = base.rstrip("/")
    if base.endswith("/embeddings"):
        return base
    return f"{base}/embeddings" if urlsplit(base).path else f"{base}/v1/embeddings"
