"""What is indexed of an item, and how a query is asked: a store's ``index`` settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langgraph.store.base import get_text_at_path, tokenize_path

from charm_checkpoint.config.options import suggest
from charm_checkpoint.errors import ConfigError, DataError
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.ranking.entries import write_entry
from charm_checkpoint.items.ranking.models import Model
from charm_checkpoint.items.ranking.questions import How, Question
from charm_checkpoint.items.values import Index

if TYPE_CHECKING:
    from charm_checkpoint.items.embedding.embedding import Embedding

WHOLE: Final = "$"
"""The path of a value as a whole."""

_KNOWN = ("embed", "dims", "fields", "search")


class Texts(NamedTuple):
    """The texts of an item: those whose words are found, and those that vectors are made of."""

    words: Sequence[str]
    embedded: Sequence[str]


class IndexEntry(NamedTuple):
    """What is stored of an item to find it by. ``waiting``: no vectors could be made of its texts."""

    entry: bytes
    vectors: bytes
    waiting: bool = False


class Indexing:
    """What is made of the texts of items. Without an ``embedding`` only their words are found.

    ``config`` is what was given as a store's ``index``, for who asks it.
    """

    def __init__(
        self, fields: Sequence[str] | None = None, how: How = "words", embedding: Embedding | None = None
    ) -> None:
        self.fields = [WHOLE] if fields is None else _checked_paths(fields, "index: fields")
        self.how = how
        self.config: dict[str, Any] | None = None
        self.embedding = embedding

    def texts(self, value: Mapping[str, Any], index: Index) -> Texts:
        """Return the texts of a value that a put wants indexed."""
        if index is False:
            return Texts((), ())
        words: list[str] = []
        embedded: list[str] = []
        for path in self.fields if index is None else index:
            if path in ("", WHOLE):
                words += _leaves(value)
                found = _texts_at(value, WHOLE) if self.embedding else ()
            else:
                found = _texts_at(value, path)
                words += found
            embedded += found
        return Texts(words, list(dict.fromkeys(embedded)) if self.embedding else ())

    def entries(self, texts: Sequence[Texts]) -> Flow[list[IndexEntry]]:
        """Return the entry and the vectors of each item, those of all embedded together."""
        embedding = self.embedding
        wanted = list(dict.fromkeys(text for each in texts for text in each.embedded))
        if embedding is None or not wanted:
            return [IndexEntry(*write_entry(each.words)) for each in texts]
        made = dict(zip(wanted, (yield from embedding.documents(wanted)), strict=True))
        model = yield from self._model(embedding)
        entries = []
        for each in texts:
            vectors = [made[text] for text in each.embedded]
            whole = [vector for vector in vectors if vector is not None]
            waiting = len(whole) < len(vectors)
            entries.append(IndexEntry(*write_entry(each.words, [] if waiting else whole, model, waiting), waiting))
        return entries

    def question(self, query: str) -> Flow[Question]:
        """Return what is asked of the index; of words only, if no vector could be made of the query."""
        embedding = self.embedding
        if embedding is None or self.how == "words":
            return Question(query, None, None, "words")
        vector = yield from embedding.query(query)
        if vector is None:
            return Question(query, None, None, "words")
        return Question(query, vector, (yield from self._model(embedding)), self.how)

    def _model(self, embedding: Embedding) -> Flow[Model]:
        """Return the model; as one that was not measured, if it could not be."""
        measured = yield from embedding.model()
        return measured or Model((yield from embedding.known()))


def _leaves(value: Any) -> Iterator[str]:
    """Yield what is text in a value, and its numbers as text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _written(value)


def _written(number: float) -> Iterator[str]:
    try:
        yield str(number)
    except ValueError:  # an integer of more digits than Python writes, by which nobody searches
        return


def _texts_at(value: Any, path: str) -> list[str]:
    try:
        texts: list[str] = get_text_at_path(value, path)
    except ValueError:  # as above
        return []
    return [text for text in texts if text]


def checked_index(index: Any) -> Index:
    """Return what a put says of the index; raises `DataError` if it is nothing that it may say."""
    if index is None or index is False:
        return index
    if isinstance(index, (str, bytes)) or not isinstance(index, Sequence):
        raise DataError(f"it is False, None or a list of paths, not {index!r}", path=("index",))
    return _checked_paths(index, "index")


def _checked_paths(paths: Any, where: str) -> list[str]:
    if isinstance(paths, str):
        raise ConfigError(f"{where} is a list of paths, such as [{paths!r}]")
    for path in paths:
        if not isinstance(path, str):
            raise ConfigError(f"{where} is a list of paths, which are text, not {path!r}")
        tokenize_path(path)
    return list(paths)


class IndexSettings(NamedTuple):
    """A store's ``index``, read."""

    embed: Any
    dims: int | None
    fields: Sequence[str] | None
    how: How


def index_settings(index: Mapping[str, Any] | None) -> IndexSettings:
    """Read a store's ``index``, which is LangGraph's with ``search`` in addition; raises `ConfigError`."""
    if index is not None and not isinstance(index, Mapping):
        raise ConfigError(
            f'index is a mapping, such as {{"embed": ..., "dims": 384, "fields": ["text"]}}, or False, not {index!r}'
        )
    given = dict(index or {})
    if given.pop("distance_type", "cosine") != "cosine":
        raise ConfigError("index: distance_type: scores are cosines here; leave it out")
    if given.pop("ann_index_config", None):
        raise ConfigError("index: ann_index_config: searches need no index of the database's here; leave it out")
    for name in given:
        if not str(name).startswith("__") and name not in _KNOWN:
            raise ConfigError(f"index: unknown key {name!r}; {suggest(str(name), _KNOWN)}")
    embed, dims, fields = given.get("embed"), given.get("dims"), given.get("fields")
    how = given.get("search", "words" if embed is None else "vector")
    if how not in ("hybrid", "vector", "words"):
        raise ConfigError(f"index: search is 'hybrid', 'vector' or 'words', not {how!r}")
    if embed is None and how != "words":
        raise ConfigError(f"index: search={how!r} needs vectors, and so a model: give embed")
    if embed is None and dims is not None:
        raise ConfigError("index: dims is the length of a model's vectors: give the model as embed, or leave dims out")
    if dims is not None and (isinstance(dims, bool) or not isinstance(dims, int) or dims < 1):
        raise ConfigError(f"index: dims is how many numbers a vector has, not {dims!r}")
    return IndexSettings(embed, dims, _checked_paths(fields, "index: fields") if fields else None, how)
