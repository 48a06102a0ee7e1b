"""Names under which secrets are kept: of variables, settings, fields, options."""

from __future__ import annotations

import re

_HOSTS = frozenset(
    "adafruit airtable algolia asana beamer bitbucket bittrex codecov coinbase confluent contentful datadog discord"
    " drone dropbox etsy facebook fastly finicity finnhub flickr freshbooks gitter heroku hubspot intercom kraken"
    " kucoin launchdarkly linear linkedin looker mailchimp mailgun mapbox mattermost meraki messagebird netlify"
    " okta plaid rapidapi sendbird sentry snyk sonar squarespace sumo"
    " travis twilio twitch twitter zendesk cloudflare".split()
)

KEYWORD = re.compile(
    r"(?i)pass|pwd|pw\b|secret|token|key|cred|auth|jwt|sessionid|sessid|mnemonic|seed[ _-]phrase|wort|contrase|senha"
    rf"|{'|'.join(sorted(_HOSTS))}|newrelic|new_relic|gitlab_session"
    r"|пароль|密码|密碼|口令|パスワード"
)
"""What is in every such name; it says where to look, no more."""

_NOUNS = frozenset(
    "password passwd pwd pw passphrase passcode secret token apikey passwort kennwort contraseña contrasena senha"
    " пароль 密码 密碼 口令 パスワード jwt sessionid phpsessid jsessionid mnemonic authtoken authkey".split()
)
_GLUED = re.compile(
    r"(?:password|passwd|passphrase|passwort|secret|token|apikey|secretkey|accesskey|privatekey|authkey|accountkey|dbpass"
    r"|userpass|rootpass|adminpass|mypass|pgpass|dbpwd|dbpw|sharedkey|signingkey|encryptionkey|masterkey|servicekey)\Z"
)
_KINDS_OF_KEY = frozenset(
    "api access secret secrets private auth signing encryption account master shared service storage admin app client"
    " consumer deploy webhook hmac aes crypt jwt cookie root license functions subscription project integration bot ssh"
    " gpg rsa preshared psk vault unseal recovery backup licence security instrumentation data fernet cipher write"
    " ingest read personal user developer rest".split()
)
_WITH_UUIDS = frozenset("heroku hubspot snyk squarespace sendbird kucoin".split())
_HARMLESS = frozenset(
    "id ids url uri host name user org project region version commit sha digest image hash ref site account team zone"
    " public pub env path file model type channel guild tag build checksum integrity".split()
)
_AFTER = frozenset(
    "value prod production dev development staging stage test testing live old new current previous default base plain"
    " plaintext text raw str string env primary secondary main master local ci digest hash hashed base64 b64 enc"
    " encrypted data key hex".split()
)
# A key of these names opens nothing.
_NOT_SECRET = frozenset("public primary foreign sort partition cache group index row object".split())
# Of what is asked or said about a secret, rather than its value.
_ABOUT = frozenset(
    "forgot forget forgotten reset show hide require requires required no has is use uses need needs invalid missing"
    " change confirm enable disable validate check verify without wrong expired allow skip".split()
)
_OF_PASSWORDS = ("pass", "pw", "kennwort", "contrase", "senha", "пароль", "密", "口令", "パス")
# What may be long and random under these names is a secret; most is not.
_VAGUE = frozenset("auth authentication credential credentials creds".split())
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_RUNS = re.compile(r"[^\W\d_]+")


def words_of(name: str) -> list[str]:
    """Return the words of a name, as ``db``, ``password`` of ``dbPassword`` and ``DB_PASSWORD_2``."""
    runs = _RUNS.findall(name)
    return [word.lower() for run in runs for word in (_WORDS.findall(run) if run.isascii() else [run])]


def is_secret(name: str) -> bool:
    """Tell whether what has this name is a secret."""
    words = words_of(name)
    if len(words) > 12:
        words = words[-12:]
    while len(words) > 1 and not _names_secret(words) and words[-1] in _AFTER:
        words.pop()
    return _names_secret(words)


def is_vague(name: str) -> bool:
    """Tell whether what has this name is a secret only if it looks like one: ``auth``, ``credentials``, ``datadog``."""
    words = words_of(name)
    if not words or words[-1] in _HARMLESS:
        return False
    return words[-1] in _VAGUE or bool(_HOSTS & {*words}) or "newrelic" in "".join(words) or "gitlab_session" in name


def has_uuids(name: str) -> bool:
    """Tell whether this is a host whose keys are UUIDs."""
    return not _WITH_UUIDS.isdisjoint(words_of(name))


def _names_secret(words: list[str]) -> bool:
    if not words:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _NOUNS or _GLUED.search(last):
        return last != "secret" or before not in _NOT_SECRET
    if last == "pass":
        return before != "" and before not in ("by", "no", "first", "second", "one", "two", "single", "multi", "band")
    if last in ("key", "keys"):
        return before in _KINDS_OF_KEY and last == "key"
    if last == "phrase":
        return before in ("pass", "seed")
    return last == "word" and before == "pass"


def is_password(name: str) -> bool:
    """Tell whether what has this name may be short, and a word."""
    return any(word.startswith(_OF_PASSWORDS) or "passw" in word for word in words_of(name))


def is_about(name: str) -> bool:
    """Tell whether a name is of a question or a message about a secret: ``forgot_password``, ``invalidToken``."""
    words = words_of(name)
    return bool(words) and words[0] in _ABOUT
