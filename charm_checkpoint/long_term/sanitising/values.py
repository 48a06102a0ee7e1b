"""What is a secret's value, and what only stands in its place: a variable, a type, a word of a sentence."""

from __future__ import annotations

import re

_LONGEST = 4096

# What a value is left to be put into, or taken from.
_STAND_IN = re.compile(
    r"""(?ix)
      <[^<>]*>.* | .*<[\w -]{3,60}>.*             # <your password>
    | .*\$\{.* | \$\(.* | \$[A-Z_]\w*(?::\w+)?\W* | \$[1-9@?*]  # ${PASSWORD} $(pass show x) $PASSWORD
    | %\w+% | %\(\w+(?:\)s)? | %[sdrvq] | .*\{\{.* | .*<%.* | .*\#\{.*
    | f?\{\w*(?:[.!:\[][^{}]*)?\}? | \[[\w .-]*\]?  # {password} [REDACTED]
    | \((?:redacted|hidden|masked|removed|secret|none|empty|unset|not\ set|optional|required)\)
    | ![A-Za-z]\w*.* | [*&][A-Za-z]\w*          # !vault |, and an alias of YAML
    | (?:secrets|vars|inputs|steps|needs|matrix|env|var|local|module|data|self|cls|this)\.[A-Za-z_][\w.\[\]"'-]*
    | (?:op|vault|ref\+\w+|keyring|env|file|aws-?sm|gcp-?sm|ssm|sops|bws|doppler|pass|credstore|secretref)
      :(?://)?[A-Za-z_/][\w./:@\#-]* | secret:[a-z0-9]{20}
    | arn:aws[\w-]*:.* | projects/[^/]+/secrets/.* | https?://[^@]*
    | [*•xX.#_?…=~-]+ | [*•…xX#]{3,}\S* | \S{0,8}(?:\*{3,}|•{3,}|…|\.{3}|x{6,})\S{0,8}
    | (?:none|null|nil|undefined|nan|true|false|yes|no|on|off|todo|tbd|n/?a|unset|empty|blank|placeholder|redacted
      |masked|hidden|removed|optional|required|missing|unknown|inherit|default|auto|random|generated|plain|prompt)
    | (?:your|my|insert|enter|replace|put|add|fill|paste|change|set|use|some)[-_ ]?(?:own[-_ ])?
      [a-z]*(?:[-_ ][a-z]+){1,6}(?:[-_ ]?\d)?
    | your[a-z]+ | [a-z_-]*(?:[-_]here|[-_]goes[-_]here) | example[-_]?[a-z]* | [a-z]+[-_]placeholder
    | ssh-(?:rsa|ed25519|dss)(?:\s.*)? | ecdsa-sha2-.*
    """
)

_CODE = re.compile(
    r"""(?x)
      (?:new\s|await\s|not\s|lambda\b|async\s|typeof\s|yield\s)?\(?&?\*?[A-Za-z_]\w*(?:\.\w+|::\w+|\?\.\w+)*[(\[].*
    | (?:@|\#|\\|//|/\*|&&|\|\||->|=>|==|!=).*
    | &?[A-Za-z_]\w*::\w+.*
    """
)
_ROOTS = frozenset(
    "self cls this os process settings config cfg conf env environ args opts options request req res resp response ctx"
    " context app data params event var local module secrets user account creds credentials form body input state props"
    " client session obj result row item kwargs getpass vault keyring system environment deno import_meta values global"
    " json payload message msg token auth db fields record entry parsed output outputs e r d o x p s".split()
)
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\??\.[A-Za-z_]\w*)+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z_]*")
_STEM = re.compile(r"(?i)pass|pw|tok|secret|key|cred|auth|hash|salt|login|cookie|sess|jwt")
_TYPES = frozenset(
    "str string bytes int integer float bool boolean any object dict list map array char text varchar number void"
    " uuid secretstr optional union literal final readonly nullable type types bytearray symbol never option result"
    " self cls this value values data input output response result res ret line name label field param params arg args"
    " default return print raise pass const let var new await async func function def class struct".split()
)
_PROSE = frozenset(
    "is are was were be been the a an and or not of to in on at by for from with as it its this that these those they"
    " we you he she i our your my their which who what when where why how if then else so but than there here must"
    " should shall can could may might will would has have had do does did see via per only also both each every any"
    " all some none no yes use used uses using set get got put let new old same other another required requires"
    " optional missing invalid expired wrong incorrect unknown denied failed rejected refused empty unset given stored"
    " read written sent kept hidden encrypted hashed rotated generated created expires changed about after before"
    " between case like without within never always please just very too above below ok good bad fine done support"
    " authentication authorization management manager rotation handling storage reset expiry budget count limit"
    " usage store provider based bearer basic oauth protected sensitive needed accepted allowed valid correct"
    " mandatory configurable longer shorter deprecated available unavailable disabled enabled supported".split()
)
_WORDS = re.compile(r"[A-Za-z][a-z']*(?:[ ,;:-]{1,2}[A-Za-z(][a-z']*\)?)+[.!?:…]*")
_MEASURE = re.compile(
    r"\d{1,5}(?:\.\d+)?(?:ms|s|m|h|d|w|%|[kKmMgG]i?[bB]?)?|0x[0-9a-fA-F]{1,4}|[\^~<>=v]{0,2}\d+(?:\.\d+){1,3}"
)
_KNOWN = re.compile(
    r"(?i)(?:sha-?\d+|md5|utf-?\d+|base-?\d+|k8s|oauth-?\d|s3|ec2|http/?\d|ipv[46]|x\.?509|ed25519|rsa-?\d*|aes-?\d+\S{0,8}"
    r"|p-?\d{3}|argon2\w{0,2}|pbkdf2|[hrpe]s\d{3}|python-?\d\S{0,5}|pkcs\d+|v\d+\S{0,6}|h2c?|tls-?v?\d\S{0,3}|i18n|l10n|e2e|mp3|level\d)"
)
_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:|/?[\w.-]*)?(?:[\\/][\w.@$ -]*)+")


def looks_random(text: str) -> bool:
    """Tell whether letters and digits were drawn, rather than being words."""
    if any(character.isdigit() for character in text):
        return True
    runs = re.findall(r"[A-Za-z]+", text[:_LONGEST])
    if any(len(run) >= 24 for run in runs):
        return True
    return any(re.search(r"[a-z][A-Z]", run) is not None for run in runs)


def is_stand_in(value: str) -> bool:
    """Tell whether a value only keeps the place of one: a variable, a reference, a mask."""
    value = value.strip()
    if len(value) > _LONGEST:
        return False
    return not value or _STAND_IN.fullmatch(value) is not None or is_file(value)


def is_file(value: str) -> bool:
    """Tell whether a value is the path of a file, rather than random characters with slashes in them."""
    if not _PATH.fullmatch(value) or not re.search(r"[A-Za-z]{2}", value):
        return False
    if value.startswith(("/", "~/", "./", "../")) or re.match(r"[A-Za-z]:[\\/]", value):
        parts = re.split(r"[\\/]", value)
        return all(len(part) < 40 and not _is_drawn(part) for part in parts)
    return re.search(r"\.(?:pem|key|crt|cer|json|ya?ml|txt|env|toml|ini|p12|pfx|jks|asc|gpg)$", value) is not None


def _is_drawn(part: str) -> bool:
    return len(part) >= 12 and all(re.search(kind, part) for kind in ("[a-z]", "[A-Z]", "[0-9]"))


def is_sentence(value: str) -> bool:
    """Tell whether a quoted value is text for people, such as a form's label or a message."""
    if not _WORDS.fullmatch(value):
        return False
    words = {word.lower().strip("(),.!?:;'") for word in value.split()}
    return value[-1] in ".!?:…" or bool(words & _PROSE) or value[0].isupper()


def is_code(value: str, in_code: bool = False) -> bool:
    """Tell whether an unquoted value is an expression: a call, an index, an attribute."""
    if _CODE.fullmatch(value) or value[0] in "[({*":
        return True
    match = _DOTTED.match(value)
    if match is None or match.end() < len(value.rstrip(";,")):
        return False
    parts = re.split(r"\??\.", match.group())
    if any(_is_drawn(part) for part in parts):
        return False
    if in_code and value.replace(".", "").replace("_", "").isalpha():
        return True
    return parts[0].lower() in _ROOTS or any(_STEM.search(part) for part in parts)


def is_measure(value: str) -> bool:
    """Tell whether a value counts something: a number, a duration, a version."""
    return _MEASURE.fullmatch(value) is not None


def is_name(value: str) -> bool:
    """Tell whether an unquoted value of letters alone is a variable or a type, as far as it tells by itself."""
    if value.lower() in _TYPES or value.lower() in _PROSE:
        return True
    if not _NAME.fullmatch(value):
        return False
    if len(value) > 11 and len(re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", value)) * 3 > len(value):
        return False  # drawn from both cases, rather than words that are joined by them
    short = len(value) < 5
    return short or "_" in value or _STEM.search(value) is not None or re.search("[a-z][A-Z]", value) is not None


def is_letters(value: str) -> bool:
    """Tell whether a value could be a word: it has nothing but letters, and what words are joined with."""
    return value[:1].isalpha() and value[-1:].isalpha() and re.sub(r"[-_'’]", "", value).isalpha()


def is_word_of_prose(value: str) -> bool:
    """Tell whether a sentence goes on with this, which has digits at most because its name has them."""
    bare = value.strip(".,;:!?()*\"'`“”")
    return is_letters(bare) or bare.lower() in _PROSE or _KNOWN.fullmatch(bare) is not None or is_measure(bare)
