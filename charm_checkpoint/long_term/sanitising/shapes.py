"""Secrets that have a shape of their own: logins in URLs, authorization, webhooks, hashes of passwords."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from charm_checkpoint.long_term.sanitising import values
from charm_checkpoint.long_term.sanitising.spans import Span
from charm_checkpoint.long_term.sanitising.tokens import begins_at


class _Shape(NamedTuple):
    """What a secret looks like; ``secret`` is the group to take out, ``anchors`` what a text with one has in it.

    Each part of a pattern that may be long ends the match, or stops where the next begins.
    """

    kind: str
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] = lambda found: True


def _shape(kind: str, anchors: str, pattern: str, holds: Callable[[str], bool] = lambda found: True) -> _Shape:
    return _Shape(kind, tuple(anchors.split()), re.compile(pattern, re.VERBOSE), holds)


def _is_drawn_value(found: str) -> bool:
    return not values.is_stand_in(found) and not values.is_letters(found.replace(" ", ""))


def _is_of_login(found: str) -> bool:
    return not values.is_stand_in(found) and re.fullmatch(r"\d{1,5}/.*", found) is None


def _authorizes(found: str) -> bool:
    parts = re.split(r"[-_.]", found)
    return any(character.isdigit() or character in "+/=" for character in found) or any(
        len(part) > 15 or re.search("[a-z][A-Z]", part) for part in parts
    )


def _is_login(found: str) -> bool:
    try:
        plain = base64.b64decode(found + "=" * (-len(found) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return b":" in plain and all(byte > 31 for byte in plain)


def _not_stand_in(found: str) -> bool:
    return not values.is_stand_in(found)


def _is_key_of_host(found: str) -> bool:
    return len(found) >= 16 and values.looks_random(found) and "." not in found


_SHAPES = (
    _shape(
        "bearer token",
        "earer EARER",
        r"(?i:\bbearer)[ \t:]{1,8}(?P<secret>[A-Za-z0-9._~+/=-]{16,})",
        _authorizes,
    ),
    _shape(
        "basic authorization",
        "asic ASIC",
        r"(?i:\bbasic)[ \t]{1,8}(?P<secret>[A-Za-z0-9+/]{6,}={0,2})(?!\w)",
        _is_login,
    ),
    _shape(
        "authorization",
        "uthorization UTHORIZATION",
        r"""(?i:authorization)["']?[ \t]{0,4}[:=,][ \t]{0,4}["']?
        (?:(?i:token|bearer|basic|digest|apikey|bot|key|splunk)[ \t]{1,4})?(?P<secret>[A-Za-z0-9._~+/=-]{16,})""",
        _authorizes,
    ),
    _shape(
        "authorization",
        "Authorization: authorization:",
        r"""(?i:\bauthorization:[ ](?:bearer|token)[ ])(?P<secret>[A-Za-z0-9._~+/=-]{6,})(?=["'\s]|\Z)""",
        lambda found: not values.is_word_of_prose(found),
    ),
    _shape("Facebook token", "| %7C", r"(?<!\d)(?P<secret>\d{15,16}(?:\||%7C)[A-Za-z0-9_-]{27,40})(?![A-Za-z0-9_-])"),
    _shape("MaxMind key", "_mmk", r"(?<![A-Za-z0-9])(?P<secret>[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk)(?![A-Za-z0-9])"),
    _shape(
        "key of a host",
        "live_ test_",
        r"(?<![A-Za-z0-9_])(?P<secret>(?:live|test)_[A-Za-z0-9_=-]{32,64})(?![A-Za-z0-9_=-])",
        lambda found: re.search(r"[A-Za-z]*\d[A-Za-z0-9]{15,}", found) is not None and "pub_" not in found,
    ),
    _shape("Mailgun key", "-", r"(?<![A-Za-z0-9])(?P<secret>[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8})(?![A-Za-z0-9-])"),
    _shape(
        "value of a secret",  # <add key="ApiToken" value="…"/>
        "value=",
        r"""(?i:(?:password|passwd|pwd|secret|token|api-?_?key)["'][ \t]{1,4}value[ ]?=[ ]?)
        ["'](?P<secret>[^"'\n]{2,256})["']""",
        _not_stand_in,
    ),
    _shape(
        "cookie",
        "ookie: OOKIE:",
        r"""(?i:\bcookie):[ \t]{0,4}(?P<secret>[^\r\n"']{8,})""",
        lambda found: "=" in found,
    ),
    _shape(
        "login in a URL",
        "://",
        r"""(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/:@"'<>`\[\]{}|\\]{0,128}
        :(?P<secret>[^\s"'<>`/@]{1,256}(?:@[^\s"'<>`/@]{1,64}){0,2}|[^\s"'<>`@]{1,256})@(?=[\w\[.$%{<-])""",
        _is_of_login,
    ),
    _shape(
        "token in a URL",
        "://",
        r"(?<![A-Za-z0-9+.-])https?://(?P<secret>[A-Za-z0-9_%~+=-]{16,128})(?::x-oauth-basic|:)?@",
        _is_key_of_host,
    ),
    _shape(
        "Slack webhook",
        "hooks.slack",
        r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9_+/-]{16,})",
    ),
    _shape("Discord webhook", "/webhooks/", r"/api/(?:v\d{1,2}/)?webhooks/\d{15,21}/(?P<secret>[A-Za-z0-9_-]{40,})"),
    _shape(
        "Teams webhook", "webhook.office", r"webhook\.office(?:365)?\.com/webhookb?2?/(?P<secret>[A-Za-z0-9@/-]{40,})"
    ),
    _shape("Zapier webhook", "hooks.zapier", r"hooks\.zapier\.com/hooks/catch/(?P<secret>[A-Za-z0-9/]{8,})"),
    _shape(
        "Discord token",
        ".",
        r"""(?<![A-Za-z0-9_.-])(?P<secret>[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,45})
        (?![A-Za-z0-9_-])""",
        values.looks_random,
    ),
    _shape("Telegram token", ":A", r"(?<![0-9])(?P<secret>[0-9]{7,12}:A[A-Za-z0-9_-]{33,35})(?![A-Za-z0-9_-])"),
    _shape(
        "Azure client secret",
        "Q~",
        r"(?<![A-Za-z0-9_~.-])(?P<secret>[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})",
    ),
    _shape(
        "Azure key",
        "AzFu AzSe AzCa +ASt +ACDb +AEh +ARm +ACR AIoT APIM",
        r"""(?<![A-Za-z0-9+/_-])(?P<secret>[A-Za-z0-9+/_-]{33,76}
        (?:AzFu|AzSe|AzCa|\+ASt|\+ACDb|\+AEh|\+ARm|\+ACR|AIoT|APIM)[A-Za-z0-9+/_-]{4,10}={0,2})""",
    ),
    _shape(
        "Azure key",
        "AccountKey= SharedAccessKey=",
        r"(?:Account|SharedAccess)Key=(?P<secret>[A-Za-z0-9+/]{20,}={0,2})",
    ),
    _shape(
        "Azure DevOps token",
        "AZDO",
        r"(?<![A-Za-z0-9])(?P<secret>[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4})(?![A-Za-z0-9])",
    ),
    _shape(
        "signature of a URL",
        "sig= ignature=",
        r"(?i:[?&;](?:sig|X-Amz-Signature|X-Goog-Signature|signature)=)(?P<secret>[A-Za-z0-9%+/=_-]{16,})",
    ),
    _shape(
        "Terraform token",
        ".atlasv1.",
        r"(?<![A-Za-z0-9])(?P<secret>[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,})",
    ),
    _shape("Mailchimp key", "-us", r"(?<![A-Za-z0-9])(?P<secret>[0-9a-f]{32}-us[0-9]{1,2})(?![A-Za-z0-9])"),
    _shape(
        "hash of a password",
        "$",
        r"""(?P<secret>\$(?:2[abxy]?|[156y]|apr1|argon2(?:id|i|d)|7|scrypt|pbkdf2[\w-]{0,12})
        \$[A-Za-z0-9./$+=,]{20,})""",
    ),
    _shape("hash of a password", "pbkdf2_sha", r"(?P<secret>pbkdf2_sha\d{1,3}\$\d{1,9}\$[A-Za-z0-9./$+=]{20,})"),
    _shape(
        "password of a command",
        "mysql mariadb",
        r"""\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;]{0,120}?[ ]-p(?P<secret>[^\s"'$<=-][^\s"']{2,64})""",
        _not_stand_in,
    ),
    _shape(
        "password of a command",
        "curl wget http",
        r"""\b(?:curl|wget|https?)\b[^\n|;]{0,160}?[ ](?:-u|--user|-a|--auth)[ =]?["']?
        [^\s:"'$<]{1,64}:(?P<secret>[^\s"'@<>/]{2,128})""",
        _not_stand_in,
    ),
    _shape(
        "password of a command",
        "sshpass",
        r"""\bsshpass[ ]{1,4}-p[ ]{0,4}["']?(?P<secret>[^\s"'$<]{2,128})""",
        _not_stand_in,
    ),
    _shape(
        "password of a command",
        "docker podman redis-cli",
        r"""\b(?:(?:docker|podman)[ ]login|redis-cli)\b[^\n|;]{0,120}?[ ](?:-p|-a)[ ]["']?
        (?P<secret>[^\s"'$<-][^\s"']{3,128})""",
        _not_stand_in,
    ),
    _shape("API key", "wandb", r"\bwandb[ ]login[ ](?:--relogin[ ])?(?P<secret>[A-Za-z0-9]{32,})"),
    _shape(
        "value of a password",
        "DENTIFIED dentified",
        r"""(?i:\bidentified[ ]by[ ](?:password[ ])?)["'](?P<secret>[^"'\n]{1,128})""",
        _not_stand_in,
    ),
    _shape(
        "value of a password",
        "ASSWORD assword",
        r"""(?i:\bpassword[ ])["'](?P<secret>[^"'\n]{2,128})["']""",
        _is_drawn_value,
    ),
    _shape(
        "value of a password",  # .pgpass
        ":",
        r"(?m:^)[\w.*-]{1,64}:(?:\d{4,5}|\*):[\w*-]{1,64}:[\w*.-]{1,64}:(?P<secret>[^\s:]{4,128})(?m:$)",
        _not_stand_in,
    ),
    _shape(
        "login of a registry",
        "auth",
        r"""["']?_?auth["']?[ \t]{0,4}[:=][ \t]{0,4}["']?(?P<secret>[A-Za-z0-9+/]{8,}={0,2})""",
        _is_login,
    ),
    _shape(
        "id of a private key",
        "private_key_id",
        r"""private_key_id\\?["'][ \t]{0,4}:[ \t]{0,4}\\?["'](?P<secret>[a-f0-9]{32,64})""",
    ),
)


def shapes(text: str) -> Iterator[Span]:
    """Yield where secrets of these shapes stand."""
    for shape in _SHAPES:
        if any(anchor in text for anchor in shape.anchors):
            for match in shape.pattern.finditer(text):
                if shape.holds(match["secret"]):
                    # The word Bearer goes, too, as in Cantrip's bundles.
                    start = match.start() if shape.kind == "bearer token" else match.start("secret")
                    yield Span(start, match.end("secret"), shape.kind)


# --------------------------------------------------------------------------------------------- secret keys beside ids

_AWS_ID = re.compile(r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Za-z0-9])")
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/=])")
_NEAR = 300


def keys_beside_ids(text: str) -> Iterator[Span]:
    """Yield where secret keys of AWS stand, which say nothing of what they are, near the id they belong to."""
    done = 0
    for found in _AWS_ID.finditer(text):
        if not begins_at(text, found.start()):
            continue
        start = max(done, found.start() - _NEAR)
        done = found.end() + _NEAR
        for secret in _AWS_SECRET.finditer(text, start, done):
            if all(re.search(kind, secret.group()) for kind in ("[a-z]", "[A-Z]", "[0-9+/]")):
                yield Span(secret.start(), secret.end(), "AWS secret key")
