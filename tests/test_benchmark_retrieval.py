"""The benchmark of what is found: its figures are right where they are known, and its corpus is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cli, retrieval

TOPICS = ("train", "soup", "cello", "roof")


def embed(texts: list[str]) -> list[list[float]]:
    """Return vectors of which topics a text has; the name of the module and this one's are given to --embed."""
    return [[0.1 + (topic in text.lower()) for topic in TOPICS] for text in texts]


def written(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


DOCUMENTS = [
    {"space": "a", "id": "1", "text": "Prefers window seats on the train"},
    {"space": "a", "id": "2", "text": "Cooks soup with lentils"},
    {"space": "b", "id": "3", "text": "Plays the cello"},
    {"space": "b", "id": "4", "text": "The roof was repaired"},
]


def test_figures_are_what_is_found(tmp_path: Path) -> None:
    file = written(
        tmp_path / "corpus.jsonl",
        *DOCUMENTS,
        {"space": "a", "query": "window seats", "evidence": ["1"]},
        {"space": "a", "query": "the soup?", "evidence": ["2", "1"]},
        {"space": "b", "query": "about bridges", "evidence": ["3"]},
        {"space": "b", "query": "without evidence", "evidence": []},
    )
    corpus = retrieval.read(file)
    assert len(corpus.questions) == 3
    found = retrieval.measure(corpus, retrieval.Searches(corpus, "words", None))
    assert found.recall_first == found.recall_more == 1.0
    # The last question finds nothing, so what was put last comes first.
    assert found.mrr == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found.refused == 1.0 and found.kept == pytest.approx(2 / 3)


def test_the_command_prints_each_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "figures.json"
    name = f"{__name__}:embed"
    assert cli.main(["retrieval", "--embed", name, "--json", str(results)]) == 0
    printed = capsys.readouterr().out
    assert "150 documents in 4 spaces, 115 questions" in printed
    figures = json.loads(results.read_text())
    assert list(figures) == ["words and trigrams", "cosine alone", "all: words, trigrams, vectors"]
    for way, row in figures.items():
        assert way in printed and 0.0 < row["recall_first"] <= row["recall_more"] <= 1.0
    # Not that it is so much, but that nobody makes it less without noticing.
    assert figures["words and trigrams"]["recall_more"] > 0.65 and figures["words and trigrams"]["refused"] > 0.9


def test_one_space_has_no_other_to_ask_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "one.jsonl", *DOCUMENTS[:2], {"space": "a", "query": "soup", "evidence": ["2"]})
    assert cli.main(["retrieval", str(file)]) == 0
    assert "There is one space" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([{"space": "a", "id": "1"}], "line 1 is neither"),
        ([*DOCUMENTS, {"space": "a", "query": "x", "evidence": ["3"]}], "evidence that is not in 'a': '3'"),
        (DOCUMENTS, "no question"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], records: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["retrieval", str(written(tmp_path / "wrong.jsonl", *records))])
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_an_embedder_that_is_none_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["retrieval", "--embed", "no_such_module_at_all"])
    assert "provider:model" in capsys.readouterr().err
