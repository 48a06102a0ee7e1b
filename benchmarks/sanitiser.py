"""What the sanitiser takes out of texts with secrets, and of texts with none that look alike."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.secret_cases import FALSE, TRUE, Case, cases
from charm_checkpoint.long_term.sanitising import sanitise

Clean = Callable[[str], str]
"""Returns a text without its secrets."""

DESCRIPTION = """\
Measure what the sanitiser of memories takes out, on texts with secrets (benchmarks/corpora/
secrets_true.txt) and on texts without any that look alike (secrets_false.txt). The secrets are
made at random when this runs.

removed    texts of which every secret is gone
touched    texts without secrets of which something was taken
precision  of the texts that were changed, the share that have secrets
"""


class Measured(NamedTuple):
    """How a sanitiser did."""

    name: str
    secrets: int
    missed: list[Case]
    harmless: int
    touched: list[Case]
    microseconds: float

    @property
    def recall(self) -> float:
        """Return the share of texts with secrets of which every secret is gone."""
        return 1 - len(self.missed) / self.secrets

    @property
    def precision(self) -> float:
        """Return the share, of the texts of which something was taken rightly or not, that have secrets."""
        right = self.secrets - len(self.missed)
        return right / max(1, right + len(self.touched))


def ours(text: str) -> str:
    """Sanitise a text."""
    return sanitise(text, place="text").text


def detect_secrets() -> Clean:
    """Return what takes out all that detect-secrets finds in a text, as in a file of settings: it finds most there."""
    scan: Any = __import__("detect_secrets.core.scan", fromlist=["scan_file"])
    settings: Any = __import__("detect_secrets.settings", fromlist=["default_settings"])

    def clean(text: str) -> str:
        with tempfile.TemporaryDirectory() as folder, settings.default_settings():
            file = Path(folder) / "text.yaml"
            file.write_text(text, "utf-8")
            found = [secret.secret_value for secret in scan.scan_file(str(file))]
        for value in sorted(filter(None, found), key=len, reverse=True):
            text = text.replace(value, "[REDACTED]")
        return text

    return clean


def measure(name: str, clean: Clean, seeds: Iterable[int]) -> Measured:
    """Measure a sanitiser on all cases, with other secrets for each seed."""
    some = [*seeds]
    true = [case for seed in some for case in cases(TRUE, seed)]
    false = [case for seed in some for case in cases(FALSE, seed)]
    begun = time.perf_counter()
    cleaned = [clean(case.text) for case in [*true, *false]]
    seconds = time.perf_counter() - begun
    missed = [case for case, text in zip(true, cleaned, strict=False) if any(secret in text for secret in case.secrets)]
    touched = [case for case, text in zip(false, cleaned[len(true) :], strict=True) if text != case.text]
    return Measured(name, len(true), missed, len(false), touched, seconds / len(cleaned) * 1e6)


def main(argv: Sequence[str]) -> int:
    """Print the table; return 1 if the sanitiser let a secret through."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks sanitiser",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how often, with other secrets (default: 3)")
    parser.add_argument("--detect-secrets", action="store_true", help="measure detect-secrets, too, if it is installed")
    parser.add_argument("--show", action="store_true", help="name the texts that went wrong")
    options = parser.parse_args(argv)
    rows = [("ours", ours), *([("detect-secrets", detect_secrets())] if options.detect_secrets else [])]
    results = [measure(name, clean, range(options.seeds)) for name, clean in rows]
    sys.stdout.write(report(results))
    if options.show:
        for result in results:
            wrong = {f"missed   {case.name}" for case in result.missed} | {f"touched  {c.name}" for c in result.touched}
            sys.stdout.write(f"\n{result.name}\n" + "".join(f"  {line}\n" for line in sorted(wrong)))
    return 1 if results[0].missed else 0


def report(results: Iterable[Measured]) -> str:
    """Return the results as a table of Markdown."""
    lines = ["| | removed | recall | touched | precision | a text |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.secrets - len(row.missed)} of {row.secrets} | {row.recall:.1%} "
        f"| {len(row.touched)} of {row.harmless} | {row.precision:.1%} | {row.microseconds:.0f} µs |"
        for row in results
    ]
    return "\n".join(lines) + "\n"
