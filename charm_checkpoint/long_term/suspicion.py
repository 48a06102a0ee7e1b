"""What of a memory looks like an attack on the model that will read it; pure.

It is a net for what is plainly written so, not a proof: what gets through is still shown as data only, see
`charm_checkpoint.long_term.prompt_block`. A memory that is held by mistake costs somebody a look at it, so what is
common in honest notes is let pass: rules that say always and never, requests with a key in them, colours of a terminal,
emoji, texts from right to left.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from charm_checkpoint.long_term.plain_text import HIDDEN, one_line

LOOKED_AT: Final = 40_000
"""How many characters of a body are looked through, half of them at its end."""
QUOTED: Final = 60
"""How many characters of what was found a reason quotes."""


HELD: Final = "held: "
"""What the reason begins with of a memory that is held for review because it looks like an attack."""


class Pattern(NamedTuple):
    """What is looked for, and what it says of a memory that has it."""

    reason: str
    found: re.Pattern[str]


def _pattern(reason: str, *alternatives: str) -> Pattern:
    return Pattern(reason, re.compile("|".join(f"(?:{each})" for each in alternatives), re.IGNORECASE | re.MULTILINE))


# All that repeats is bounded, or of one kind of character: a text that was made for it shall not take long.

_PEOPLE = r"(?:user|human|operator|owner|developer)s?\b"
_ORDERS = (
    r"(?:instructions?|prompts?|directives?|guidelines|guardrails|safety\s+(?:rules|policies)|rules|orders|training)"
)
_EARLIER = r"(?:previous|prior|earlier|preceding|above|former|foregoing)"
_SECRETS = (
    r"(?:credentials|passwords|secrets|environment\s+variables|env\s+vars|\.env\b|(?:ssh|private)\s+keys?|"
    r"(?:chat|conversation)\s+(?:history|log)|(?:this|the|whole|entire)\s+conversation|system\s+prompt|"
    r"(?:all|any|every|users?'?s?)\s+(?:of\s+)?(?:the\s+|your\s+|their\s+)?(?:api\s+|access\s+|auth\s+)?"
    r"(?:keys?|tokens?|passwords?|cookies))"
)
_SECRET_FILE = (
    r"(?:\.ssh[/\\](?:id_\w+|\*)|\.aws[/\\]credentials|\.netrc\b|\.npmrc\b|\.pypirc\b|\.git-credentials\b|"
    r"\.kube[/\\]config|\.docker[/\\]config\.json|/etc/shadow\b|(?<!\w)\.env\b)"
)
_SENDS = r"(?:curl|wget|nc|ncat|netcat|Invoke-WebRequest|Invoke-RestMethod|iwr|scp|ftp|telnet)"
_AGENT_FILE = (
    r"(?:AGENTS?\.md|CLAUDE(?:\.local)?\.md|GEMINI\.md|SOUL\.md|IDENTITY\.md|HEARTBEAT\.md|MEMORY\.md|"
    r"copilot-instructions\.md|\.(?:cursor|windsurf|cline)rules|\.(?:claude|cursor|codex|gemini)[/\\][\w./\\-]{1,60})"
)

PATTERNS: Final = (
    _pattern(
        "it tells the model to set aside what it was told",
        rf"\b(?:ignore|disregard|forget|override|bypass|overrule|discard)(?:\s+\w+){{0,3}}?\s+{_EARLIER}\s+"
        rf"(?:\w+\s+){{0,2}}?{_ORDERS}\b",
        rf"\b(?:ignore|disregard|forget|bypass)(?:\s+\w+){{0,2}}?\s+(?:your|system|developer|original|initial|safety)\s+"
        rf"(?:\w+\s+){{0,2}}?{_ORDERS}\b",
        rf"\b(?:ignore|disregard|forget|override|bypass)\s+(?:all|any)\s+(?:of\s+)?(?:the\s+|other\s+)?{_ORDERS}\s+"
        r"(?:above|before|that|you|and|which|given)\b",
        r"\b(?:ignore|disregard|forget)\s+(?:all|everything)\s+(?:that\s+)?(?:you\s+(?:were|have\s+been|know)|"
        r"(?:that\s+)?(?:came|comes|stands)\s+(?:before|above)|(?:written\s+|said\s+)?above)",
        rf"\b(?:do\s+not|don'?t)\s+(?:follow|obey|heed)(?:\s+\w+){{0,2}}?\s+(?:{_EARLIER}|system|safety|original)\s+"
        rf"{_ORDERS}\b",
        r"\bignorier\w*(?:\s+\w+){0,2}?\s+(?:vorherigen|bisherigen|obigen|früheren)\s+(?:Anweisung|Instruktion|Regel)",
        r"\bignore[zr]?\s+(?:toutes\s+)?les\s+(?:instructions|consignes|directives)\s+(?:pré|ant|ci)",
        r"\bignor[ae]n?\s+(?:todas\s+)?(?:las|as)\s+(?:instruc\w+|indicaciones|reglas|regras)\s+(?:anteriores|previas)",
        r"\bигнорируй(?:те)?\s+(?:все\s+)?(?:предыдущие|прежние)\s+(?:инструкции|указания|правила)",
        r"(?:忽略|无视|無視|忘记)[^\n。]{0,8}(?:之前|以前|上面|以上|先前|前面)[^\n。]{0,6}(?:指令|指示|提示|命令|规则)",
        r"(?:以前|これまで|上記)の(?:すべての)?(?:指示|命令|プロンプト)を無視",
    ),
    _pattern(
        "it gives the model another role",
        r"\byou\s+are\s+now\s+(?:DAN\b|jailbroken|unrestricted|uncensored|free\s+(?:from|of)\s|in\s+(?:developer|god|dan|"
        r"jailbreak|unrestricted)\s+mode|an?\s+(?:\w+\s+){0,4}?(?:assistant|AI|model|agent|bot|hacker|persona)\b)",
        r"\byou\s+are\s+no\s+longer\s+(?:bound|restricted|limited|an?\s+(?:\w+\s+){0,2}?(?:assistant|AI|model|agent)\b)",
        r"\b(?:enter|enable|activate|switch\s+(?:in)?to)\s+(?:\w+\s+)?(?:jailbreak|DAN|god|unrestricted|uncensored)\s+mode",
        r"\b(?:new|updated|real|actual|revised)\s+(?:system\s+prompt|(?:system\s+)?instructions?)\s+(?:for|to)\s+"
        r"(?:you|the\s+(?:assistant|model|ai|agent))\b",
        r"^\W{0,4}(?:new|updated|revised)\s+(?:system\s+)?instructions?\s*:",
        r"\b(?:attention|note|message)\s*,?\s+(?:to\s+)?(?:all\s+|any\s+|the\s+)?(?:AI|LLM)s?(?:\s+(?:assistant|agent|"
        r"model)s?)?\s*[:!]",
    ),
    _pattern(
        "it tells the model to hide something from the user",
        rf"\b(?:do\s+not|don['’]?t|never)\s+(?:ever\s+)?(?:tell|inform|alert|notify)\s+(?:the\s+)?{_PEOPLE}"
        r"(?:\s*[.!;,]|\s*$|\s+(?:about|of)\s+(?:this|it|that|these)\b|\s+that\s+you\b)",
        rf"\b(?:do\s+not|don['’]?t|never)\s+(?:ever\s+)?(?:mention|reveal|disclose|show)\s+(?:this|that|it|these|them|"
        rf"any\s+of\s+(?:this|it))\s+to\s+(?:the\s+)?{_PEOPLE}",
        r"(?:^|[.!?;])(?:(?!\b(?:never|not|no|avoid|must|cannot)\b|n['’]t\b)[^.!?;\n]){0,120}?\bwithout\s+"
        rf"(?:telling|informing|notifying|alerting)\s+(?:the\s+)?{_PEOPLE}",
        rf"\b(?:hide|conceal)\s+(?:this|that|it|these|any\s+trace)\s+from\s+(?:the\s+)?{_PEOPLE}",
        r"\b(?:silently|secretly|covertly|quietly)\s+(?:send|post|upload|forward|transmit|e-?mail|exfiltrate)\b",
    ),
    _pattern(
        "it asks for what the model was told",
        r"\b(?:reveal|print|repeat|output|show|leak|dump|recite|disclose)\s+(?:me\s+)?(?:all\s+(?:of\s+)?)?(?:your|the)\s+"
        r"(?:\w+\s+)?(?:system\s+(?:prompt|message)|(?:hidden|initial|original|developer|secret)\s+"
        r"(?:instructions|prompt))",
    ),
    _pattern(
        "it sends secrets, or what was said, to somewhere",
        rf"\b(?:send|post|upload|forward|transmit|e-?mail|exfiltrate|leak|deliver|submit)\b[^.\n]{{0,40}}?\b{_SECRETS}"
        r"[^\n]{0,40}?\s(?:to|at|via|into)\s[^\n]{0,20}?(?:https?://|ftp://|\w@\w|webhook|pastebin|"
        r"\d{1,3}(?:\.\d{1,3}){3})",
        rf"\b{_SENDS}\b[^\n]{{0,120}}?(?:@|<|\$\(|`|cat\s)[^\n]{{0,30}}?{_SECRET_FILE}",
        rf"(?:\b(?:cat|base64|tar|xxd)\b|<)[^\n|]{{0,60}}?{_SECRET_FILE}[^\n]{{0,60}}?\|[^\n]{{0,60}}?\b{_SENDS}\b",
        rf"(?<!\|\s)\b(?:env|printenv|export\s+-p)\s*\|[^\n]{{0,80}}?\b{_SENDS}\b",
        r"https?://[^\s\"'<>)\]]{1,200}=[\"']?(?:\$\{?|%7B|\{\{?|<|\[)\s?(?:\w+[_\s.-])?(?:conversation|chat[_\s-]?history|"
        r"system[_\s-]?prompt|credentials|env)\b",
        r"!\[[^\]\n]{0,100}\]\(\s?https?://[^)\s?]{0,200}\?[^)\s]{0,100}?=(?:\$\{?|\{\{?|<|\[|%7B)\s?[\w.\s-]{0,20}?"
        r"(?:data|secret|key|token|message|email|context|content|history|summary|password|conversation|prompt)",
    ),
    _pattern(
        "it changes files that agents are led by",
        rf"(?:>|\btee\b(?:\s+-a)?)\s*[\"']?[\w./~$\\-]{{0,60}}{_AGENT_FILE}",
        rf"\b(?:add|append|write|insert|put|save|copy)\s+(?:\w+\s+)?(?:the\s+following|(?:these|this)\s+(?:lines?|text|"
        rf"instructions?|rules?|note))[^\n]{{0,60}}?{_AGENT_FILE}",
    ),
    _pattern(
        "it runs what is encoded, or opens a machine to others",
        r"\bbase64\s+(?:-d|--decode)\b[^\n]{0,80}?\|\s*(?:sudo\s+)?(?:ba|z|da|k)?sh\b",
        r"\b(?:eval|exec)\b[^\n]{0,40}\bbase64\b",
        r"/dev/tcp/\d{1,3}(?:\.\d{1,3}){3}",
        r"\b(?:nc|ncat)\b[^\n]{0,60}\s-[ec]\s*/bin/",
        r"ssh-(?:rsa|ed25519)\s+AAAA[\w+/=]{20,1000}[^\n]{0,100}?authorized_keys",
        r"\bpowershell\b[^\n]{0,80}\s-e(?:nc(?:odedcommand)?)?\s+[\w+/=]{20}",
    ),
    _pattern(
        "it has the marks of a chat, or of a tool's call",
        r"<\|[\w-]{2,40}\|>|<｜[\w▁-]{2,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>",
        r"</?(?:antml:)?(?:function_calls?|tool_calls?|tool_results?|tool_use|function_results?|invoke\s+name=)[\s>\"]",
        r"</\s?(?:memor(?:y|ies)|system|system[_-](?:reminder|prompt|message)|instructions?|lucid-context|user_query)\s?>",
        r"<\s?system[_-](?:reminder|prompt|message)\s?>|\[/?Memory context\]",
        r"\n\s?\n(?:Human|Assistant)\s?:\s",
        r"^#{2,4}\s?(?:system|instruction|assistant|human)\s?:\s?$",
        r"\"tool_calls\"\s?:\s?\[\s{0,20}\{|\"type\"\s?:\s?\"(?:tool_use|tool_result|function_call)\"",
    ),
    _pattern("it has a private key in it", r"-----BEGIN\s(?:[A-Z0-9]+\s){0,3}PRIVATE\sKEY-----"),
)

_HEAD: Final = _pattern(
    "it begins as a file of a memory does",
    r"\A\s{0,20}---[ \t]?\n(?:\w[^\n]*\n){0,12}?(?:title|kind|source|status)\s?:[^\n]*\n(?:\w[^\n]*\n){0,12}?"
    r"(?:kind|source|status|citations)\s?:",
)


def suspicions(title: str, body: str, tags: Iterable[str] = ()) -> tuple[str, ...]:
    """Return what looks like an attack in a memory, as sentences without a full stop; nothing if nothing does."""
    tags = tuple(tags)
    body = _bounded(body)
    # A title and what follows it may be one sentence.
    reasons = list(_found(PATTERNS, map(_as_read, (f"{title}\n{body}", *tags))))
    reasons += _found([_HEAD], [_as_read(body)])
    reasons += dict.fromkeys(reason for text in (title, body, *tags) for reason in _hidden(text))
    if any(len(text.splitlines()) > 1 for text in (title, *tags)):
        reasons.append("its title, or a tag, is of several lines")
    return tuple(reasons)


def held_for(reasons: Iterable[str]) -> str | None:
    """Return the reason to note of a memory that is held for `suspicions`, None if there are none."""
    return HELD + "; ".join(some) if (some := tuple(reasons)) else None


def _bounded(body: str) -> str:
    half = LOOKED_AT // 2
    return body if len(body) <= LOOKED_AT else f"{body[:half]}\n{body[-half:]}"


def _as_read(text: str) -> str:
    """Return a text as a model reads it: without what hides, letters of full width as others."""
    return HIDDEN.sub("", unicodedata.normalize("NFKC", text))


def _found(patterns: Iterable[Pattern], texts: Iterable[str]) -> Iterator[str]:
    """Yield each reason once, with what was found first."""
    seen = list(texts)
    for pattern in patterns:
        found = next(filter(None, (pattern.found.search(text) for text in seen)), None)
        if found is not None:
            yield f"{pattern.reason}: {one_line(found[0], QUOTED)!r}"


# ------------------------------------------------------------------------------------------------- what is not seen

_UNSEEN: Final = (
    ("it has characters that turn the direction of a text", re.compile("[\u202a-\u202e\u2066-\u2069]")),
    (
        "it has characters that spell words nobody sees",
        re.compile("[\U000e0000-\U000e007f]|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2}"),
    ),
    (
        "it has characters of no width within words",
        re.compile("(?<=[\x21-\x7e])[\u00ad\u200b-\u200d\u2060-\u2064\u3164\uffa0\ufeff](?=[\x21-\x7e])"),
    ),
    (
        "it has characters of control",
        re.compile("[\x00-\x08\x0e-\x1a\x7f-\x84\x86-\x9f]|\x1b(?!\\[[0-9;]*m)|[\ud800-\udfff]"),
    ),
    (
        "it has letters in words that look like those of another script",
        re.compile("(?<=[A-Za-z])[аеорсухіјѕАВСЕНКМОРТХ]{1,20}(?=[A-Za-z])|(?<=[А-я])[aceopxyABCEHKMOPTX]{1,20}(?=[А-я])"),
    ),
)  # fmt: skip


def _hidden(text: str) -> Iterator[str]:
    """Yield what a text hides, or shows otherwise than it is."""
    return (reason for reason, found in _UNSEEN if found.search(text))
