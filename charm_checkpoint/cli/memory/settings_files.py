"""The files that settings are written to, and how programs and commands come to know what is in them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from charm_checkpoint.config.masking import mask
from charm_checkpoint.config.url import parse_url
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.long_term.whole_files import put_file
from charm_checkpoint.runtime.regular_files import read_regular, refuse_other
from charm_checkpoint.runtime.rights import PRIVATE

VARIABLE = "CHARM_CHECKPOINT_URL"
PROJECT_VARIABLE = "CHARM_CHECKPOINT_PROJECT"


def form_of(target: Path) -> str:
    """Return the form of a file by its name; raises `ConfigError` for one that says none."""
    if str(target) == "-" or target.name == ".env" or target.suffix == ".env":
        return "env"
    form = {".yaml": "charm", ".yml": "charm", ".toml": "toml"}.get(target.suffix)
    if form is None:
        raise ConfigError(f"--write {target}: a charm.yaml, a .toml, or .env")
    return form


def env_text(url: str, project: str | None) -> str:
    """Return settings as lines of an environment file."""
    lines = [f"{VARIABLE}={_quoted(url)}"]
    if project:
        lines.append(f"{PROJECT_VARIABLE}={_quoted(project)}")
    return "\n".join(lines) + "\n"


def charm_text(url: str, project: str | None) -> str:
    """Return settings as Charm's agents have them; a secret stays in the environment."""
    return f"runtime:\n  memory:\n    config:\n      url: {json.dumps(_told(url))}\n"


def toml_text(url: str, project: str | None) -> str:
    """Return settings as `charm_checkpoint.long_term_from_toml` reads them; a secret stays in the environment."""
    place = parse_url(url)
    if place.scheme == "none":
        return '[memory]\nbackend = "none"\n'
    if place.scheme == "sqlite" and not place.query:
        path = json.dumps(str(Path(place.path).absolute()))  # one that is relative would be so to the file
        return f'[memory]\nbackend = "sqlite"\n\n[storage.sqlite.default]\npath = {path}\n'
    if place.scheme.split("+")[0] in ("postgres", "postgresql"):
        return f'[memory]\nbackend = "postgres"\n\n[storage.provider.config]\ndb_url = {json.dumps(_told(url))}\n'
    raise ConfigError(
        "a .toml, whose form is ZeroClaw's, names a Postgres database or a SQLite file without options, not "
        f"{mask(url)}; write a charm.yaml, or .env"
    )


def _use(form: str, target: Path, url: str, project: str | None) -> list[str]:
    """Return how the settings in a file come into effect: no command looks for the file."""
    if form == "env":
        source = f"; in a POSIX shell: set -a; . {shlex.quote(_dotted(target))}; set +a"
        return [f"commands and programs take {VARIABLE} from their environment{source}"]
    reader = "Charm's agents read it" if form == "charm" else f"long_term_from_toml({str(target)!r}) reads it"
    said = [f"{reader}; commands take --url {mask(url)}, or {VARIABLE}"]
    if project:
        said.append(f"the project is not in it: --project {project}, or {PROJECT_VARIABLE}, or long_term({project!r})")
    return said


def _dotted(target: Path) -> str:
    """Return a path that a shell's `.` does not look for elsewhere."""
    return str(target) if len(target.parts) > 1 else f"./{target}"


FORMS: dict[str, Callable[[str, str | None], str]] = {"env": env_text, "charm": charm_text, "toml": toml_text}
"""How settings are written, by the form of the file."""


def write_settings(target: Path, form: str, url: str, project: str | None) -> list[str]:
    """Write settings into a file, or return them for ``-``; return what there is to say of it."""
    text = FORMS[form](url, project)
    if str(target) == "-":
        return text.splitlines()
    said = []
    if form == "env":
        _put_lines(target, text)
    else:
        refuse_other(target)
        target.write_text(text, encoding="utf-8")
        if _told(url) != url:
            _put_lines(target.with_name(".env"), env_text(url, None))
            said.append(f"wrote {target.with_name('.env')}, which holds the password: keep it out of git")
    return [f"wrote {target}", *said, *_use(form, target, url, project)]


def _put_lines(target: Path, text: str) -> None:
    """Put settings into an environment file, in place of those of the same names; only its owner may read it."""
    lines: list[str] = []
    with suppress(FileNotFoundError):
        lines = read_regular(target).decode().splitlines()
    names = {line.split("=")[0] for line in text.splitlines()}
    kept = [line for line in lines if line.split("=")[0].strip() not in names]
    put_file(target, "\n".join([*kept, text]).encode(), rights=PRIVATE)


def _told(url: str) -> str:
    """Return what a file that is shown to others says of a URL: with a secret, the variable that holds it."""
    return url if mask(url) == url else f"${{{VARIABLE}}}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if any(char in " \t\"'#$\\" for char in text) else text
