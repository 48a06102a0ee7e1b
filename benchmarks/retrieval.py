"""What is found: questions whose evidence is known, asked by words alone, by vectors alone, and by both."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from charm_checkpoint.contract_items import EntriesReply, Entry, ItemKey, ItemRow, SpaceEntries
from charm_checkpoint.errors import CharmError
from charm_checkpoint.items.embedding.embedders import Embedder, embedder_of
from charm_checkpoint.items.ranking.entries import write_entry
from charm_checkpoint.items.ranking.index import ScopeIndex
from charm_checkpoint.items.ranking.models import PAIRS, Model, calibrate
from charm_checkpoint.items.ranking.questions import How, Question, Ranked

THRESHOLD = 0.5
FIRST, MORE = 5, 10
BATCH, SECONDS = 32, 600.0
MEMORIES = Path(__file__).parent / "corpora" / "memories.jsonl"
_IDENTITY = b"measured"

DESCRIPTION = """\
Measure what searching finds, on documents and questions of a file of JSON lines:

{"space": "ada", "id": "ada-1", "text": "Prefers window seats on trains"}
{"space": "ada", "query": "where does she like to sit?", "evidence": ["ada-1"]}

A question is asked among the documents of its space. recall@5 is the part of its evidence that is
among the first five, on average; MRR the mean of 1/place of the first evidence. For "refused", each
question is asked in the next space, where nothing answers it: the share whose best score is below
0.5. "kept" is the share, of the questions that have evidence among the first ten, where that has at
least 0.5.
"""

EPILOG = f"""\
Without FILE, {MEMORIES.name} of this package is taken: notes about four people, many of whose
questions share no word with what answers them. With --embed, "cosine" is what stores do that go by
vectors alone, such as LangGraph's InMemoryStore and SqliteStore, and "all" is our way with a model.
"""


class Asked(NamedTuple):
    """A question, the space it is asked in, and the documents that answer it."""

    space: str
    query: str
    evidence: frozenset[str]


@dataclass
class Corpus:
    """The documents by space and id, and the questions."""

    documents: dict[str, dict[str, str]] = field(default_factory=dict)
    questions: list[Asked] = field(default_factory=list)


class Figures(NamedTuple):
    """What one way of searching finds; shares from 0 to 1, None where it cannot be told."""

    recall_first: float
    recall_more: float
    mrr: float
    refused: float | None
    kept: float | None


class Wrong(ValueError):
    """A file, or a name of an embedder, is not as it should be."""


def read(path: Path) -> Corpus:
    """Read documents and questions; raises `Wrong`, naming the line."""
    corpus = Corpus()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    _take(json.loads(line), corpus)
                except (KeyError, TypeError, ValueError) as error:
                    raise Wrong(f"{path}, line {number} is neither a document nor a question: {error!r}") from error
    for asked in corpus.questions:
        if missing := asked.evidence - corpus.documents.get(asked.space, {}).keys():
            raise Wrong(f"{path}: {asked.query!r} names evidence that is not in {asked.space!r}: {min(missing)!r}")
    if not corpus.questions:
        raise Wrong(f"{path} has no question with evidence")
    return corpus


def _take(record: Mapping[str, Any], corpus: Corpus) -> None:
    space = str(record["space"])
    if "query" in record:
        evidence = frozenset(map(str, record["evidence"]))
        if evidence:
            corpus.questions.append(Asked(space, str(record["query"]), evidence))
    else:
        corpus.documents.setdefault(space, {})[str(record["id"])] = str(record["text"])


class Vectors:
    """The vectors of a corpus by a model, and what is known of it."""

    def __init__(self, embedder: Embedder, corpus: Corpus, say: Callable[[str], None]) -> None:
        self._embedder = embedder
        self._say = say
        texts = sorted({text for held in corpus.documents.values() for text in held.values()})
        self.documents = dict(zip(texts, self._of(texts, "documents"), strict=True))
        queries = sorted({asked.query for asked in corpus.questions})
        self.queries = {query: list(embedder.embed_query(query, SECONDS)) for query in queries}
        self.model = calibrate(
            _IDENTITY,
            self._of(list(PAIRS.sentences), "sentences to measure the model by"),
            [list(embedder.embed_query(query, SECONDS)) for query in PAIRS.questions],
        )

    def _of(self, texts: list[str], what: str) -> list[list[float]]:
        vectors: list[list[float]] = []
        for start in range(0, len(texts), BATCH):
            vectors += map(list, self._embedder.embed_documents(texts[start : start + BATCH], SECONDS))
            self._say(f"{len(vectors):,} of {len(texts):,} {what} embedded")
        return vectors


class Searches:
    """The documents of each space, ready to be searched in one way."""

    def __init__(self, corpus: Corpus, how: How, vectors: Vectors | None) -> None:
        self._how: How = how
        self._vectors = vectors
        # What goes by cosines alone needs not know what is usual for a model.
        self._model = None if vectors is None else Model(_IDENTITY) if how == "vector" else vectors.model
        self._rows: dict[ItemKey, ItemRow] = {}
        self._indexes = {space: self._index(space, held) for space, held in corpus.documents.items()}

    def _index(self, space: str, documents: Mapping[str, str]) -> ScopeIndex:
        path = space.encode()
        entries = []
        for number, (id, text) in enumerate(documents.items()):
            vectors = [self._vectors.documents[text]] if self._vectors else []
            entry, data = write_entry([text], vectors, self._model or b"")
            entries.append(Entry(id.encode(), number, None, entry))
            self._rows[ItemKey(path, id.encode())] = ItemRow(path, id.encode(), data, 0, number)
        index = ScopeIndex()
        index.apply(EntriesReply([SpaceEntries(path, len(entries), entries, [entry.key for entry in entries])]))
        return index

    def ranked(self, space: str, query: str, size: int) -> Sequence[Ranked]:
        """Return what is found first."""
        index = self._indexes[space]
        vector = self._vectors.queries[query] if self._vectors else None
        question = Question(query, vector, self._model, self._how)
        index.take_vectors({item: self._rows[item] for item in index.wanted_vectors(question, 0)})
        return index.rank(question, 0)[:size]


def measure(corpus: Corpus, searches: Searches) -> Figures:
    """Ask all questions, each in its own space and in another one."""
    spaces = sorted(corpus.documents)
    first = more = mrr = 0.0
    refused: list[bool] = []
    kept: list[bool] = []
    for asked in corpus.questions:
        rows = searches.ranked(asked.space, asked.query, len(corpus.documents[asked.space]))
        found = [row.item.key.decode() for row in rows]
        first += len(asked.evidence & {*found[:FIRST]}) / len(asked.evidence)
        more += len(asked.evidence & {*found[:MORE]}) / len(asked.evidence)
        mrr += 1 / (1 + next(place for place, id in enumerate(found) if id in asked.evidence))
        scores = [row.score or 0.0 for row in rows[:MORE] if row.item.key.decode() in asked.evidence]
        if scores:
            kept.append(max(scores) >= THRESHOLD)
        if len(spaces) > 1:
            other = spaces[(spaces.index(asked.space) + 1) % len(spaces)]
            refused.append((searches.ranked(other, asked.query, 1)[0].score or 0.0) < THRESHOLD)
    count = len(corpus.questions)
    return Figures(first / count, more / count, mrr / count, _share(refused), _share(kept))


def _share(answers: Sequence[bool]) -> float | None:
    return sum(answers) / len(answers) if answers else None


def table(corpus: Corpus, figures: Mapping[str, Figures]) -> str:
    """Return the figures of each way as lines of text."""
    documents = sum(map(len, corpus.documents.values()))
    lines = [
        f"{documents:,} documents in {len(corpus.documents):,} spaces, {len(corpus.questions):,} questions",
        f"{'':32}{'recall@5':>10}{'recall@10':>11}{'MRR':>8}{'refused':>10}{'kept':>8}",
    ]
    for way, row in figures.items():
        lines.append(
            f"{way:32}{row.recall_first:10.3f}{row.recall_more:11.3f}{row.mrr:8.3f}"
            f"{_percent(row.refused):>10}{_percent(row.kept):>8}"
        )
    if len(corpus.documents) == 1:
        lines.append("There is one space: no question could be asked where nothing answers it.")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def embedder_named(name: str) -> Embedder:
    """Return the embedder of ``provider:model``, ``fastembed:PATH``, or ``module:attribute``; raises `Wrong`."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        found = name
    try:
        return embedder_of(found() if isinstance(found, type) else found)
    except CharmError as error:
        raise Wrong(str(error)) from error


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        "python -m benchmarks retrieval",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("file", type=Path, nargs="?", default=MEMORIES, metavar="FILE", help="documents and questions")
    made.add_argument("--embed", metavar="NAME", help="provider:model, fastembed:MODEL or PATH, or module:attribute")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    return made


def main(argv: Sequence[str]) -> int:
    """Measure, print the figures; exit with 2 if the command line or the file is wrong."""
    options = parser().parse_args(argv)
    try:
        corpus = read(options.file)
        embedder = embedder_named(options.embed) if options.embed else None
    except (OSError, Wrong) as error:
        parser().error(str(error))
    figures = {"words and trigrams": measure(corpus, Searches(corpus, "words", None))}
    if embedder is not None:
        vectors = Vectors(embedder, corpus, _progress)
        figures["cosine alone"] = measure(corpus, Searches(corpus, "vector", vectors))
        figures["all: words, trigrams, vectors"] = measure(corpus, Searches(corpus, "hybrid", vectors))
    print(table(corpus, figures))
    if options.json:
        options.json.write_text(json.dumps({way: row._asdict() for way, row in figures.items()}, indent=1))
    return 0


def _progress(line: str) -> None:
    sys.stderr.write(line + "\n")
