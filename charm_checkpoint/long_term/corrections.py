"""Whether a user's message corrects what an agent did; by the form of what is said, in English; pure.

It decides whether a model is asked, and no more: so what might be a correction is taken for one, and what is certainly
none (thanks, questions, pasted logs and code) is not. A message is looked at a line and a sentence at a time; each
pattern has to begin where the sentence or one of its clauses does, and all repetitions in it are bounded, so the time
it takes grows with the length of the message only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import partial
from typing import Final

KINDS: Final = (
    "refusal",  # no, nope, stop, wait, actually
    "prohibition",  # don't do that
    "wrong",  # that's wrong, the wrong file
    "misunderstood",  # not what I asked for; I said X, not Y
    "replacement",  # use X instead, rather than Y
    "rule",  # always, never, from now on
    "reproach",  # you should have, you forgot
    "undo",  # revert that
)
"""What kinds of corrections there are, in the order in which `correction_kinds` returns them."""

LONGEST: Final = 8_000
"""Characters of a message that are looked at: what comes after so many was not typed."""

_AT_THE_BEGIN = 30
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u00b4`\uff07"), "'")
_QUOTED = re.compile(r"""(?:>|\||\$ |# |\+\+\+|--- |@@|at [\w.$<>]+\(|file "|traceback|\[?\d{2,4}[-:/]\d\d)""")
_SENTENCES = re.compile(r"(?<=[.!?;])[\"')\]]? (?=[^\s\d])")
_MARKS = " ,.!:;-\u2013\u2014\u2026("

_VERBS = (
    "do|use|run|call|invoke|create|edit|push|commit|delete|change|modify|add|touch|write|remove|install|put|make|import"
    "|mock|assume|skip|rename|overwrite|merge|deploy|rebase|format|guess|restart|upgrade|hardcode|hard-code|mention"
    "|include|build|start|move|copy|replace|refactor|rewrite|catch|return|print|log|open|read|ask|answer|invent|repeat"
    "|reformat|downgrade|bump|squash|amend|force|pin|generate|try|set|send|rely|forget|ever|just|keep"
)
_DIRECTIVES = (
    "use|do|try|run|make|put|write|call|go with|pick|choose|switch|return|set|take|add|import|install|create|pass|give"
    "|keep|start|read|go|prefer|replace|change|test|build|deploy|store|name|let's|have|move|just|please"
)
_THINGS = (
    "file|function|branch|directory|folder|one|place|version|repo|repository|line|path|table|method|class|approach|way"
    "|order|name|database|environment|test|tests|charm|model|language|format|module|package|server|host|account|port"
    "|command|tool|library|endpoint|variable|key|column|field|url|issue|project|bucket|region|cluster|thing|question"
    "|answer|idea|direction|type|value|default|config|unit|day|date|number(?! of)"
)
_POLITE = "(?:(?:ok|okay|hm+|well|oh|hey|sorry|and|but|so|also|then|just|now|again|please|yes|yeah|right),? ){0,3}"
_MEANT = "(?:i (?:clearly |already |just )?(?:said|meant|wanted|asked|told you|want|need|prefer)|i'd (?:rather|prefer))"

_NO_BUT_CONTENT = re.compile(
    r"no,? (?:thanks|thank|thx|problems?|probs?|worr(?:y|ies)|need|rush|hurry|idea|doubts?|longer|one|matter|issues?"
    r"|errors?|changes|questions?|pressure|big deal|objections?|comments?|clue|luck|news|biggie|sweat|harm|way"
    r"|module|such|space|tests?|match|matches|matching|results?|output|response|offen[cs]e|surprises?|wonder|kidding"
    r"|difference|complaints?|further|other questions|more (?:questions?|errors?|issues?|problems?|comments?)"
    r"|that's (?:fine|ok|okay|great|good|perfect|all|right|correct|it)|it's (?:fine|ok|okay|great|good|perfect)"
    r"|(?:it|that) (?:works|worked|helps|helped|looks)|all good|i'm (?:good|fine|ok)|you're right|go ahead|\d)\b"
    r"|no\. ?\d"
)
_FINE = re.compile(
    r"(?:actually|wait|stop|no|oh)?[,.!]? ?(?:that|it|this|everything|all|you)(?:'s| is|'re| are)?"
    r"(?: (?!not\b)\w+)? (?:worked|works|helped|helps|fine|good|great|perfect|ok|okay|correct|awesome|excellent|right"
    r"|nice)\b"
    r"(?! (?:for|until|in|on|if|when|but|only|enough)\b)(?!,? but\b)"
)
_REFUSAL = re.compile(
    r"(?:no|nope|nah|noo+)(?:$|[ ,.!:;\u2026\u2013\u2014]| ?-(?![a-z]))"
    r"|(?:wrong|incorrect)(?:$|[,.!\u2026])"
    r"|actually(?:$|[ ,.!:\u2026])"
    r"|wait(?:$|[,.!:\u2026]| (?!for\b|until\b|till\b|to see\b|times?\b|\d))"
    r"|stop(?:$|[,.!:\u2026]| (?!the (?:server|container|service|process|app|db|database|cluster|daemon|machine|vm)s?\b"
    r"|words?\b|codon|signs?\b))"
)
_DONT = "(?:don't|dont|do not|must not|mustn't|never ever|no need to)"
_PROHIBITION = re.compile(
    rf"{_POLITE}(?:you (?:must|should|may|can) not|you (?:mustn't|shouldn't|can't)|{_DONT})"
    rf" (?:you )?(?:ever |just |even |again |always |blindly |simply )?(?:{_VERBS})\b"
    rf"|{_POLITE}(?:we|you) (?:don't|do not|dont|never) (?:ever )?(?:use|do|run|push|commit|want|need to (?:use|run))\b"
    rf"|{_POLITE}i (?:don't|do not|dont|didn't|never) (?:want|like|ask|asked|tell|say|said|mean|meant)\b"
    rf"|{_POLITE}(?:please )?avoid \w"
    rf"|{_POLITE}(?:leave|keep) (?:it|that|this|them|those|the [\w. -]{{1,40}}) (?:alone|as (?:it is|is|they are"
    r"|it was))"
)
_DONT_BEFORE = re.compile(rf"(?:[,:;(]|\b(?:please|and|but|so|just|also|then|again|no)) ?(?={_DONT}\b)")
_CONDITION = re.compile(r"(?:if|when|unless|whether|because|since|in case|suppose|once|as long as|let me know if)\b")
_WRONG = re.compile(
    rf"{_POLITE}(?:no,? |i think |i'm afraid |unfortunately,? )?"
    r"(?:that's|that is|thats|this is|it's|it is|these are|those are|that was|which is|you're|you are)"
    r"(?: \w+)? (?:(?:completely |totally |still |just |simply |all |also )?(?:wrong|incorrect|mistaken|backwards)"
    r"|not (?:right|correct|it|true|how|what|the right|the one|the way|quite right))\b(?! with)"
    r"|that (?:isn't|wasn't) (?:right|correct|true|it|what|how|the)\b"
    r"|that'?s not\b(?! (?:bad|a problem|necessary|wrong))"
    rf"|{_POLITE}wrong (?:{_THINGS})\b"
    rf"|{_POLITE}(?:that's|that is|this is|it's|you (?:\w+ ){{1,4}}|these are|it was|that was)"
    rf" ?(?:in |on |to |into )?the wrong (?:{_THINGS})\b"
)
_MISUNDERSTOOD = re.compile(
    rf"{_POLITE}(?:this is |that's |that is |that was |it's |this was )?not (?:what|how|like|where|which|the one"
    r"|the way) (?:i|that|we)\b"
    rf"|{_POLITE}(?:as )?i(?:'ve| have)? (?:clearly |already |just |specifically |explicitly )?(?:said|told you"
    r"|meant)\b(?! (?:thanks|hi|hello|it works))"
    rf"|{_POLITE}i(?:'ve| have)? (?:clearly |specifically |explicitly |only |just )?(?:asked|wanted|requested)"
    r" (?:you |for |to |not |the |a )"
    rf"|{_POLITE}you(?:'ve| have)? (?:misunderstood|misread|got (?:me|it|that) wrong|got (?:this|it) backwards)"
)
_REPLACEMENT = re.compile(
    rf"{_POLITE}instead,? (?:of [^,]{{1,80}}?[, ] ?)?(?:{_DIRECTIVES})\b"
    rf"|{_POLITE}(?:(?:can|could|would|will|should|why don't|you should|you can|we should|let's) ?(?:you|we)? ?)?"
    rf"(?:please )?(?:{_DIRECTIVES})\b.{{0,160}}?\b(?:instead|rather than|in place of|, not)\b"
    rf"|{_POLITE}{_MEANT}\b.{{0,160}}?\b(?:instead|rather than|in place of|, not|not the)\b"
    rf"|{_POLITE}(?:i (?:would )?prefer|i'd (?:prefer|rather)|prefer) \w"
    rf"|{_POLITE}(?:it's|it is|it should be|should be|that's|we use|we're using|this is|we are on|we're on)"
    r" [^,]{1,60},? (?:not|rather than|instead of) (?!only|just|sure|bad|yet|really|too|a problem|broken)\w"
)
_THIS_NOT_THAT = re.compile(
    r"[^,]{1,30}, (?:and )?not (?!only|just|sure|bad|yet|really|too|so|that|much|a problem|broken|quite)"
    r"[^,.]{1,20}[.!]?$"
)
_AT_THE_END = re.compile(r"(?:[\w.'/@+#-]+ ){1,7}instead(?:,? (?:please|thanks|then))?[.!]*$")
_TELLS = re.compile(
    r"\b(?:i|we|they|it|he|she|i'll|we'll|i'm|we're|it's|was|were|is|are|got|could|might|maybe|should)\b"
)
_RULE = re.compile(
    rf"{_POLITE}always (?!good|nice|happy|fun|wondered|been|was|a pleasure|appreciated|the same|thought|so |wanted"
    r"|love)\w"
    rf"|{_POLITE}never (?!mind|heard|seen|had|been|knew|thought|was|were|got|saw|worked|happened|tried|used|said|a "
    r"|the )\w"
    rf"|{_POLITE}(?:please|you (?:should|must|need to)|we|we should|we must) (?:always|never|not|stop|avoid)\b"
    rf"|{_POLITE}next time,? (?!it\b|the\b|i\b|we\b|that\b|this\b|a\b)\w"
    rf"|{_POLITE}(?:in (?:the )?future|going forward|for future reference|as a rule),? "
    rf"(?:please|always|never|don't|do not|you (?:should|must|can)|make sure|{_DIRECTIVES})\b"
    rf"|{_POLITE}(?:please )?(?:remember|keep in mind|bear in mind) (?:that|to|not|this|for)\b"
    rf"|{_POLITE}(?:every|each) time (?:you|we) \w"
)
_RULE_ANYWHERE = re.compile(
    r"\bfrom now on\b|\bfrom here on\b|\bplease,? (?:always|never|stop|don't|dont|do not|avoid)\b"
    r"(?! (?:hesitate|worry|bother|mind)\b)"
)
_REPROACH = re.compile(
    rf"{_POLITE}you (?:should(?:n't| not)?(?:'ve| have)|were (?:not )?supposed to|weren't supposed to|were told|forgot"
    rf"|missed|ignored|overlooked|broke|keep \w+ing|kept \w+ing|did it again|again|still (?:haven't|have not|didn't)"
    rf"|(?:didn't|did not|never|haven't|have not) (?:{_VERBS}|updated?|checked?|tested|listen|followed?|follow)\b"
    rf"|just (?:deleted|broke|overwrote|removed|lost)\b|(?:deleted|overwrote|removed|renamed|changed) (?:my|the wrong))"
    rf"|{_POLITE}why (?:did|are|have|would) you (?:\w+ )?(?:delet|remov|chang|drop|renam|overwr|revert|push|commit"
    r"|ignor|still|not|again|touch)"
    rf"|{_POLITE}how many times\b"
)
_THAT = "(?:that|this|it|these|those|them|your|what you|the (?:last|previous|change|edit|commit|file)|everything|all)"
_UNDO = re.compile(
    rf"{_POLITE}(?:can you |could you |you (?:should|can|need to) )?"
    rf"(?:(?:revert|undo|discard|scrap|drop|back out|roll back|take back) {_THAT}\b"
    r"|(?:put|change|move|switch|set|turn|roll) (?:it|that|this|them|those|everything) back\b|roll(?: it)? back[.!]*$"
    r"|(?:revert|undo)[.!]*$|go back to (?:the|how|what)\b)"
)


def is_correction(message: str) -> bool:
    """Tell whether a message corrects what was done before it."""
    return next(_found(message), None) is not None


def correction_kinds(message: str) -> tuple[str, ...]:
    """Return in which ways a message corrects what was done before it, of `KINDS`; none if it does not."""
    found = set(_found(message))
    return tuple(kind for kind in KINDS if kind in found)


def _found(message: str) -> Iterator[str]:
    for line in _lines(message):
        for number, sentence in enumerate(_SENTENCES.split(line)):
            yield from _kinds_of(sentence.strip(" \"'*_(["), begins_line=number == 0)


def _lines(message: str) -> Iterator[str]:
    """Yield the lines that were typed, folded; not those of code in fences, of quotes, diffs and logs."""
    text = unicodedata.normalize("NFKC", message[:LONGEST]).translate(_APOSTROPHES)
    fence = ""
    for raw in text.splitlines():
        line = " ".join(raw.split()).casefold()
        if fence:
            fence = "" if line.startswith(fence) else fence
        elif line.startswith(("'''", "~~~")):  # a fence of backticks, which count as apostrophes here
            fence = line[:3]
        elif line and not raw.startswith(("    ", "\t")) and not _QUOTED.match(line):
            yield line.lstrip("-*\u2022 ") or line


def _kinds_of(sentence: str, *, begins_line: bool) -> Iterator[str]:
    if not sentence.strip(_MARKS) or _FINE.match(sentence):
        return
    asks, depends = sentence.endswith("?"), bool(_CONDITION.match(sentence))
    if _REFUSAL.match(sentence) and not _NO_BUT_CONTENT.match(sentence) and not (asks and not begins_line):
        yield "refusal"
    if not depends and _forbids(sentence, asks):
        yield "prohibition"
    if not asks and not depends and any(map(_WRONG.match, _clauses(sentence))):
        yield "wrong"
    if not depends and any(map(_MISUNDERSTOOD.match, _clauses(sentence))):
        yield "misunderstood"
    if _replaces(sentence, asks):
        yield "replacement"
    if _RULE_ANYWHERE.search(sentence) or (not asks and any(map(_RULE.match, _clauses(sentence, _AT_THE_BEGIN)))):
        yield "rule"
    if not depends and any(map(_REPROACH.match, _clauses(sentence))):
        yield "reproach"
    if not depends and any(map(_UNDO.match, _clauses(sentence))):
        yield "undo"


def _clauses(sentence: str, within: int = LONGEST) -> Iterator[str]:
    """Yield a sentence, and what is left of it after each of its first commas, colons and dashes ``within`` so much."""
    yield sentence
    breaks = re.finditer(r"(?:[,:(] ?| [\u2013\u2014-]+ )(?=\w)", sentence[:within])
    for match, _ in zip(breaks, range(8), strict=False):
        yield sentence[match.end() :]


def _forbids(sentence: str, asks: bool) -> bool:
    if not asks and any(map(_PROHIBITION.match, _clauses(sentence))):
        return True
    starts = (match.end() for match, _ in zip(_DONT_BEFORE.finditer(sentence), range(8), strict=False))
    return any(map(partial(_PROHIBITION.match, sentence), starts))


def _replaces(sentence: str, asks: bool) -> bool:
    if asks and not re.match(rf"{_POLITE}(?:can|could|would|will|why don't) (?:you|we)\b", sentence):
        return False
    if any(map(_REPLACEMENT.match, _clauses(sentence))):
        return True
    if asks:
        return False
    return bool(_THIS_NOT_THAT.match(sentence) or (_AT_THE_END.match(sentence) and not _TELLS.search(sentence)))
