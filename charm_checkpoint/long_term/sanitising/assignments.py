"""Secrets by the names they are given: in code, YAML, JSON, settings, commands, queries, and sentences.

Looked at are the places where a name of secrets stands. How far is looked from there is bounded, but for a value that
is taken out, after which the search goes on: hostile text takes no longer than other text does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from charm_checkpoint.long_term.sanitising import names, values
from charm_checkpoint.long_term.sanitising.spans import Span

_NAME_BEFORE = re.compile(r"[\w.\-]{0,64}\Z")
_NAME_AFTER = re.compile(r"[\w\-]{0,64}")
_OPERATOR = re.compile(
    r"""(?x)
    (?P<close>(?:\\?["'`\])*_]){0,4})[ \t]{0,16}
    (?:\[\d{0,5}\][ \t]{0,4})?
    (?:
      (?P<typed>:[ \t]{0,4}&?(?:'\w{1,16}[ ])?[A-Za-z][\w.\[\], |?<>]{0,48}?[ \t]{0,4}=(?!=))
    | (?P<op>:=|=>|={1,3}|!={1,2}|\?=|\|\|=|\+=|:|：|%3[Aa]|%3[Dd])
    | (?P<comma>,)(?=[ \t]{0,4}["'])
    | (?P<element>>)
    )
    (?P<gap>[ \t]{0,16}(?:\r?\n[ \t]{1,16}(?=["']))?)
    """
)
_QUOTED = re.compile(
    r"""(?x) (?:\b[rRbBuU]{1,2}|@|\$)?(?:
      (?P<triple>\"{3}|'{3})
    | (?P<escaped>\\["'])
    | (?P<plain>["'`“‘])
    )"""
)
_ESCAPED_END = {f"\\{quote}": re.compile(rf"[^{quote}\\\n]*(?:\\(?!{quote})[^\n][^{quote}\\\n]*)*") for quote in "\"'"}
_PLAIN_END = {
    quote: re.compile(rf"[^{end}\\\n]*(?:\\[^\n][^{end}\\\n]*)*\\?")
    for quote, end in {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}.items()
}
_UNQUOTED = re.compile(r"[^\s\"'`<>&;,)}\]|]{1,256}")
_REST_OF_RUN = re.compile(r"[^\s\"'`<>&;,)}\]|]*")
_TO_END_OF_LINE = re.compile(r"[^\s\"'`<>]{1,256}(?=[ \t]*(?:[#\r\n]|\Z))")
_LINE_START = re.compile(
    r"(?:^|\n)[ \t]{0,64}(?:[-+*>|][ \t]{1,4}){0,2}"
    r"(?:(?:export|set|ENV|ARG|setx|const|let|var)[ \t]{1,4})?[\"'`*]{0,3}\Z"
)

_SHELL_START = re.compile(r"(?:^|[\n;&|(\s])-{0,2}\Z")
_BLOCK = re.compile(r"[|>][-+]?[ \t]*\r?\n([ \t]+)(\S[^\n]*(?:\n\1[^\n]*){0,40})")
_AFTER_WORD = re.compile(r"[ \t]+[A-Za-z(]")


class _Value(NamedTuple):
    start: int
    end: int
    text: str
    quoted: bool


def assigned(text: str) -> Iterator[Span]:
    """Yield where values stand that are given to names of secrets."""
    position = 0
    while (found := names.KEYWORD.search(text, position)) is not None:
        start, end = _name_around(text, found.start(), found.end(), position)
        name, position = text[start:end], max(end, found.end())
        if not names.is_secret(name) and not names.is_vague(name):
            name, end = _spelled_out(text, start, end)
            if not name:
                continue
        operator = _OPERATOR.match(text, end)
        span = _given(text, start, name, operator) if operator else _said(text, start, end, name)
        if span is None:
            continue
        position = max(position, span.end)
        if span.kind:
            yield span


def _name_around(text: str, start: int, end: int, least: int) -> tuple[int, int]:
    before = _NAME_BEFORE.search(text, max(least, start - 64), start)
    after = _NAME_AFTER.match(text, end)
    first = before.start() if before else start
    return first, after.end() if after else end


_APART = re.compile(r"(?i)(?:api|access|secret|secret access|private|auth|signing|encryption|account|master|shared)\Z")
_KEY = re.compile(r"(?i)(?:[ ](?:access[ ])?key|[ ](?:token|phrase|secret))\b")


def _spelled_out(text: str, start: int, end: int) -> tuple[str, int]:
    """Return a name of two words, as in "API key", and where it ends."""
    words = re.compile(r"(?i)[a-z]{2,10} ?\Z").search(text, max(0, start - 11), start)
    if text[start:end].lower() in ("key", "phrase") and words is not None:
        name = f"{words.group().strip()} {text[start:end]}"
        return (name, end) if names.is_secret(name) else ("", end)
    after = _KEY.match(text, end)
    if after is not None and names.is_secret(name := text[start : after.end()]):
        return name, after.end()
    return "", end


# ---------------------------------------------------------------------------------------------------- given to a name


def _given(text: str, start: int, name: str, operator: re.Match[str]) -> Span | None:
    if operator["element"] and text[start - 1 : start] not in ("<", "/"):
        return None
    value = _value_at(text, operator.end(), start, operator)
    if value is None or not value.text.strip():
        return None
    if names.is_vague(name) and not _is_long(value.text, names.has_uuids(name)):
        return None
    if values.is_stand_in(value.text):
        # What stands for a secret may look like another one's name: password: secret:app-password
        return None if value.quoted else Span(value.start, value.end, "")
    if not _is_value(text, start, name, operator, value):
        return None
    return Span(value.start, value.end, f"value of {_kind(name)}")


_UUID = re.compile(r"[\da-fA-F]{8}-[\da-fA-F-]{27}")


def _is_long(found: str, uuids: bool) -> bool:
    """Tell whether a value is random enough to be a secret whatever it is called; of UUIDs only a few hosts' are."""
    if _UUID.fullmatch(found):
        return uuids
    if re.fullmatch(r"[A-Za-z0-9+/=_.~-]{20,}", found) is None:
        return False
    return any(re.search(r"\d", run) or values.looks_random(run) for run in re.findall(r"[A-Za-z0-9]{16,}", found))


def _kind(name: str) -> str:
    return "a password" if names.is_password(name) else "a secret"


def _value_at(text: str, position: int, name_at: int, operator: re.Match[str]) -> _Value | None:
    block = _BLOCK.match(text, position) if operator["op"] == ":" else None
    if block is not None:
        return _Value(block.start(2), block.end(2), block[2], False)
    quote = _QUOTED.match(text, position)
    if quote is not None and not operator["element"]:
        # After a line's end, three quotes begin what a function or a class is about.
        return None if quote["triple"] and "\n" in operator["gap"] else _quoted(text, quote)
    if operator["element"]:
        end = text.find("</", position, position + 512)
        return _Value(position, end, text[position:end], True) if end > position else None
    line = _LINE_START.search(text, max(0, name_at - 80), name_at)
    whole = _TO_END_OF_LINE.match(text, position) if line is not None else None
    match = whole or _UNQUOTED.match(text, position)
    if match is None:
        return None
    found = match.group().rstrip(",;" if whole else ".:!?")
    return _Value(position, position + len(found), found, False) if found else None


def _quoted(text: str, quote: re.Match[str]) -> _Value:
    start = quote.end()
    if quote["triple"]:
        end = text.find(quote["triple"], start)
        end = len(text) if end < 0 else end
    else:
        ends = _ESCAPED_END[quote["escaped"]] if quote["escaped"] else _PLAIN_END[quote["plain"]]
        match = ends.match(text, start)
        end = match.end() if match else start
    return _Value(start, end, text[start:end], True)


def _is_value(text: str, start: int, name: str, operator: re.Match[str], value: _Value) -> bool:
    found = value.text
    if operator["typed"] and "TypeAlias" in operator["typed"]:
        return False
    if names.is_about(name) and values.is_letters(found.replace(" ", "")):
        return False
    if value.quoted:
        if operator["comma"] and not (text[start - 1 : start] in ("'", '"') and operator["close"]):
            return False
        return _is_quoted_value(name, operator, found)
    if operator["comma"]:
        return False
    apart = bool(operator["gap"]) or operator["op"] in (":", "：")
    if (not name.isupper() or apart or "(" in found) and values.is_code(found, apart and "=" in str(operator["op"])):
        return False
    if values.is_measure(found) and not _is_pin(name, found):
        return False
    if found.lower() in ("str", "string") or found.startswith(("=", "!")):
        return False
    if not apart and _is_setting(text, start, name):
        return not values.is_word_of_prose(found) or len(found) > 3
    if operator["typed"] and values.is_letters(found):
        return False
    if values.is_letters(found) or values.is_name(found):
        return _is_bare_word(text, start, name, operator, value)
    bare = found.strip("*_`")
    return bool(bare) and not values.is_word_of_prose(bare)


# The quote was the end of one, and text goes on.
_GOES_ON = re.compile(r"[,;:.)\]}]*(?:\s|\Z)")
_NAME_OF_SECRET = re.compile(r"(?i)[a-z]+(?:[_.:][a-z]+)*[_.:](?:password|passwd|pwd|secret|token|key)")


def _is_quoted_value(name: str, operator: re.Match[str], found: str) -> bool:
    if values.is_sentence(found) or _GOES_ON.match(found) or _NAME_OF_SECRET.fullmatch(found):
        return False
    words = names.words_of(found)
    same = words and (words == names.words_of(name) or found.lower() in ("password", "token", "api key", "apikey"))
    if same and (found[0].isupper() or operator["op"] not in ("=", ":=")):
        return False
    if operator["comma"]:  # define("DB_PASSWORD", "…"), but also a list of names
        return not values.is_letters(found) and " " not in found and not _is_constant(found)
    if names.is_password(name):
        return len(found) > 1
    if len(found) < 6 or values.is_measure(found) or _is_constant(found) and "_" in found:
        return False
    return not (values.is_letters(found) and len(found) < 16 and any(mark in found for mark in "-_"))


def _is_constant(found: str) -> bool:
    return re.fullmatch(r"[A-Z][A-Z_]*[A-Z]", found) is not None


def _is_pin(name: str, found: str) -> bool:
    return names.is_password(name) and found.isdigit() and len(found) > 3


def _is_setting(text: str, start: int, name: str) -> bool:
    """Tell whether ``name=value`` is one of a shell, a file of settings, a URL or a connection string."""
    before = text[start - 1] if start else "\n"
    if before in "?&;-":
        return True
    line = _LINE_START.search(text, max(0, start - 80), start) is not None
    return name.isupper() or line or (before.isspace() and not _in_call(text, start))


def _in_call(text: str, start: int) -> bool:
    line = text[max(0, start - 200) : start]
    line = line[line.rfind("\n") + 1 :]
    return line.count("(") > line.count(")")


_FEW_WORDS = 5


def _is_bare_word(text: str, start: int, name: str, operator: re.Match[str], value: _Value) -> bool:
    """Tell whether a word without quotes is a value: all there is on the line of a setting, and no variable."""
    found = value.text
    if values.is_name(found) and not (operator["op"] == ":" and name.isupper()):
        return False
    if operator["op"] not in ("=", ":", "：") or _AFTER_WORD.match(text, value.end):
        return False
    if found.lower() in ("is", "are") or len(found) < 5:
        return False
    if names.is_password(name):
        end = text[value.end : value.end + 1]
        few = len(text[max(0, text.rfind("\n", 0, start) + 1, start - 200) : start].split()) <= _FEW_WORDS
        return few and end in ("", "\n", "\r", ",", ";", " ", ".") and not _in_call(text, start)
    return len(found) >= 20 and values.looks_random(found)


# ------------------------------------------------------------------------------------------------ said in a sentence

_SAYS = re.compile(
    r"""(?x)
    (?:[ ]?\|[ ]|[*_`"')\]]{0,3}
      (?:[ ](?:for|of|on|to|in|at|from)(?:[ ](?:the|our|my|your|this))?[ ][^\s]{1,40}){0,2}
      (?P<verb>[ ](?:is|was|are|=|becomes?|remains?|equals?)(?:[ ](?:now|still|set[ ]to|currently))?:?)?
      [ ]{1,2}
    )
    (?P<quote>["'`“*]{0,3})(?P<value>[^\s"'`“”<>]{4,256})
    """
)
_NETRC = re.compile(r"(?:(?:login|account)[ \t]+(?!and\b|or\b)\S{1,64}|(?:^|\s)(?:ENV|setx))[ \t]+\Z")


def _said(text: str, start: int, end: int, name: str) -> Span | None:
    match = _SAYS.match(text, end)
    if match is None or names.is_vague(name):
        return None
    found = match["value"].rstrip(".,;:!?)*")
    if len(found) < 4 or values.is_stand_in(found) or values.is_code(found):
        return None
    option = text[max(0, start - 1) : start] == "-" or text[start : start + 1] == "-"
    netrc = _NETRC.search(text, max(0, start - 80), start) is not None
    if (option or netrc) and not match["verb"]:
        good = (
            found[0] != "-"
            and not found.isupper()
            and not (option and values.is_name(found) and not names.is_password(name))
        )
    elif match["verb"] or match["quote"]:
        good = _is_drawn(found)
    else:
        good = names.is_password(name) and _is_drawn(found) and any(mark in found for mark in "!@#$%^&*+=~")
        good = good or (_is_drawn(found) and len(found) >= 20)
    if not good:
        return None
    return Span(match.start("value"), match.start("value") + len(found), f"value of {_kind(name)}")


def _is_drawn(found: str) -> bool:
    """Tell whether a word of a sentence is one that no dictionary has."""
    if len(found) < 6 or values.is_word_of_prose(found) or values.is_file(found) or "://" in found:
        return False
    letters, digits = re.search("[A-Za-z]", found), re.search("[0-9]", found)
    marks = re.search(r"[!@#$%^&*+=~]", found)
    if letters and digits:
        return re.fullmatch(r"[A-Za-z]+_[A-Za-z_]*\d?|[a-z]+\(.*", found) is None
    return bool(letters and marks) and "(" not in found
