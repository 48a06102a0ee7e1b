"""Tokens that say by their first letters whose they are.

Each is found by those letters, not by a regular expression from any place of the text on: a run that is none is passed
over as a whole, so hostile text takes no longer than other text does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from charm_checkpoint.long_term.sanitising.spans import Span
from charm_checkpoint.long_term.sanitising.values import looks_random


class Token(NamedTuple):
    """How the tokens of somebody begin, how they go on, and what else must hold of all of one."""

    kind: str
    begins: tuple[str, ...]
    goes_on: re.Pattern[str]
    holds: Callable[[str], bool] | None = None


def _token(kind: str, begins: str, goes_on: str, holds: Callable[[str], bool] | None = None) -> Token:
    return Token(kind, tuple(begins.split()), re.compile(goes_on), holds)


def _jwt(text: str) -> bool:
    parts = text.split(".")
    return len(parts) > 2 or (len(parts) == 2 and parts[1].startswith("eyJ"))


def _all_kinds(text: str) -> bool:
    return all(re.search(kind, text) for kind in ("[a-z]", "[A-Z]", "[0-9]"))


TOKENS = (
    # Hosts of code and packages.
    _token("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"[A-Za-z0-9_]{16,}(?:[.-][A-Za-z0-9_.-]{16,})?"),
    _token(
        "GitLab token",
        "glpat- gloas- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- glsoat- glffct- glwt-",
        r"[A-Za-z0-9_.-]{16,}",
    ),
    _token("GitLab token", "GR1348941", r"[A-Za-z0-9_-]{20,}"),
    _token("Bitbucket token", "ATBB ATCTT3 ATATT3 ATSTT3", r"[A-Za-z0-9_=.-]{24,}"),
    _token("npm token", "npm_", r"[A-Za-z0-9]{30,}"),
    _token("PyPI token", "pypi-", r"[A-Za-z0-9_-]{40,}"),
    _token("RubyGems token", "rubygems_", r"[A-Fa-f0-9]{40,}"),
    _token("crates.io token", "cio", r"[A-Za-z0-9]{32}(?![A-Za-z0-9])", looks_random),
    _token("NuGet key", "oy2", r"[a-z0-9]{43}(?![A-Za-z0-9])", looks_random),
    _token("Clojars token", "CLOJARS_", r"[a-f0-9]{60}"),
    _token("Docker token", "dckr_pat_ dckr_oat_", r"[A-Za-z0-9_-]{20,}"),
    _token("JFrog token", "AKCp cmVmdGtu", r"[A-Za-z0-9]{52,}"),
    _token("JFrog token", "cmVmd", r"[A-Za-z0-9]{59,}(?![A-Za-z0-9])", looks_random),
    _token("Sourcegraph token", "sgp_", r"[A-Za-z0-9_]{32,}"),
    # Clouds.
    _token("AWS access key id", "AKIA ASIA ABIA ACCA A3T", r"[A-Z0-9]{16,17}(?![A-Za-z0-9])"),
    _token("AWS session token", "FwoGZXIvYXdz IQoJb3JpZ2lu", r"[A-Za-z0-9+/=%]{60,}"),
    _token("AWS Bedrock key", "bedrock-api-key-YmVkcm9jay5", r"[A-Za-z0-9+/=]{10,}"),
    _token("AWS Bedrock key", "ABSK bedrock-api-key-", r"[A-Za-z0-9+/=]{80,}"),
    _token("AWS MWS token", "amzn.mws.", r"[0-9a-f-]{36}"),
    _token("Google API key", "AIza", r"[A-Za-z0-9_-]{35}"),
    _token("Google OAuth secret", "GOCSPX-", r"[A-Za-z0-9_-]{20,}"),
    _token("Google OAuth token", "ya29.", r"[A-Za-z0-9_.-]{20,}"),
    _token("Google OAuth token", "1//0", r"[A-Za-z0-9_-]{40,}"),
    _token("Google HMAC key", "GOOG1E", r"[A-Z0-9]{50,}"),
    _token("DigitalOcean token", "dop_v1_ doo_v1_ dor_v1_", r"[a-f0-9]{40,}"),
    _token("Alibaba access key id", "LTAI", r"[A-Za-z0-9]{16,24}(?![A-Za-z0-9])", looks_random),
    _token("Tencent secret id", "AKID", r"[A-Za-z0-9]{32}(?![A-Za-z0-9])", looks_random),
    _token("Yandex key", "AQVN y0_A y0__", r"[A-Za-z0-9_-]{30,}", looks_random),
    _token("Heroku key", "HRKU-", r"[A-Za-z0-9_-]{30,}"),
    _token("Fly.io token", "FlyV1", r"[ _]?fm[12][a-z]?_[A-Za-z0-9+/=,_-]{40,}"),
    _token("Fly.io token", "fo1_ fm1a_ fm1r_ fm2_", r"[A-Za-z0-9+/=_-]{40,}"),
    _token("Netlify token", "nfp_ nfc_ nfo_ nfu_", r"[A-Za-z0-9_]{36,}"),
    _token("Render key", "rnd_", r"[A-Za-z0-9]{20,}", looks_random),
    _token("Vercel token", "vcp_ vci_ vca_ vcr_ vck_", r"[A-Za-z0-9_]{24,}", looks_random),
    _token("Cloudflare token", "cfat_ cfut_ cfk_", r"[A-Za-z0-9_-]{30,}"),
    _token("Cloudflare origin key", "v1.0-", r"[a-f0-9]{24}-[a-f0-9]{100,}"),
    _token("Scaleway key", "SCW", r"[A-Z0-9]{17}(?![A-Za-z0-9])", looks_random),
    _token("OpenShift token", "sha256~", r"[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"),
    _token("Scalingo token", "tk-us-", r"[A-Za-z0-9_-]{48}"),
    _token("Yandex key", "YC", r"[A-Za-z0-9_-]{38}(?![A-Za-z0-9_-])", looks_random),
    # Databases.
    _token("ClickHouse key", "4b1d", r"[A-Za-z0-9]{38}(?![A-Za-z0-9])", looks_random),
    _token("Supabase key", "sbp_ sb_secret_", r"[A-Za-z0-9_-]{20,}"),
    _token("PlanetScale token", "pscale_tkn_ pscale_pw_ pscale_oauth_", r"[A-Za-z0-9_=.-]{30,}"),
    _token("Neon key", "napi_", r"[A-Za-z0-9]{30,}"),
    _token("Databricks token", "dapi", r"[a-f0-9]{32}(?:-\d)?"),
    _token("Pinecone key", "pcsk_", r"[A-Za-z0-9_]{30,}"),
    # Models.
    _token("Anthropic key", "sk-ant-", r"[A-Za-z0-9_-]{16,}"),
    _token("OpenAI key", "sk-proj- sk-svcacct- sk-admin- sk-None-", r"[A-Za-z0-9_-]{16,}"),
    _token("API key", "sk- rk-", r"[A-Za-z0-9_-]{16,}", looks_random),
    _token("Hugging Face token", "hf_ api_org_", r"[A-Za-z0-9]{24,}"),
    _token("Replicate token", "r8_", r"[A-Za-z0-9]{36,}"),
    _token("Groq key", "gsk_", r"[A-Za-z0-9]{24,}"),
    _token("xAI key", "xai-", r"[A-Za-z0-9]{40,}"),
    _token("Perplexity key", "pplx-", r"[A-Za-z0-9]{32,}"),
    _token("NVIDIA key", "nvapi-", r"[A-Za-z0-9_-]{40,}"),
    _token("Cerebras key", "csk-", r"[a-z0-9]{40,}"),
    _token("Together key", "tgp_v1_", r"[A-Za-z0-9_-]{30,}"),
    _token("Fireworks key", "fw_", r"[A-Za-z0-9]{22,}", looks_random),
    _token("Tavily key", "tvly-", r"[A-Za-z0-9_-]{20,}", looks_random),
    _token("Jina key", "jina_", r"[A-Za-z0-9_-]{40,}"),
    _token("Voyage key", "pa-", r"[A-Za-z0-9_-]{40,}", looks_random),
    _token("Firecrawl key", "fc-", r"[a-f0-9]{32}(?![A-Za-z0-9])"),
    _token("E2B key", "e2b_", r"[a-f0-9]{40}"),
    _token("LangSmith key", "lsv2_pt_ lsv2_sk_ ls__", r"[a-f0-9_]{32,}"),
    _token("Weights & Biases key", "wandb_v1_", r"[A-Za-z0-9_-]{40,}"),
    _token("ElevenLabs key", "sk_", r"[a-f0-9]{48}"),
    # Messages and mail.
    _token("Slack token", "xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xoxc- xoxd-", r"[A-Za-z0-9%-]{10,}"),
    _token("Slack token", "xoxe.xoxp- xoxe.xoxb- xapp- xwfp-", r"[A-Za-z0-9-]{10,}"),
    _token("SendGrid key", "SG.", r"[A-Za-z0-9_=-]{16,32}\.[A-Za-z0-9_.=-]{32,}"),
    _token("Twilio key", "SK", r"[0-9A-Fa-f]{32}(?![A-Za-z0-9])"),
    _token("Mailgun key", "key-", r"[0-9a-f]{32}(?![A-Za-z0-9])"),
    _token("Brevo key", "xkeysib- xsmtpsib-", r"[A-Za-z0-9-]{40,}"),
    _token("Resend key", "re_", r"[A-Za-z0-9]{8}_[A-Za-z0-9]{20,}", looks_random),
    _token("Mandrill key", "md-", r"[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])", looks_random),
    _token("Discord token", "mfa.", r"[A-Za-z0-9_-]{80,}"),
    _token("LINE token", "channel_access_token/", r"[A-Za-z0-9+/=]{60,}"),
    # Money and shops.
    _token("Stripe key", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", r"[A-Za-z0-9]{10,}"),
    _token("webhook secret", "whsec_", r"[A-Za-z0-9+/=_-]{20,}"),
    _token("Shopify token", "shpat_ shpca_ shppa_ shpss_ shpua_", r"[A-Fa-f0-9]{32}"),
    _token("Square token", "sq0atp- sq0csp- sq0idp-", r"[A-Za-z0-9_-]{22,}"),
    _token("Square token", "EAAA", r"[A-Za-z0-9_-]{60}(?![A-Za-z0-9_-])", looks_random),
    _token("Braintree token", "access_token$production$ access_token$sandbox$", r"[a-z0-9]{16}\$[a-f0-9]{32}"),
    _token("Plaid token", "access-sandbox- access-development- access-production-", r"[0-9a-f-]{36}"),
    _token("Flutterwave key", "FLWSECK- FLWSECK_TEST-", r"[A-Za-z0-9-]{12,}"),
    _token("EasyPost key", "EZAK EZTK", r"[A-Za-z0-9]{54}"),
    _token("Shippo token", "shippo_live_ shippo_test_", r"[A-Fa-f0-9]{40}"),
    _token("Duffel token", "duffel_live_ duffel_test_", r"[A-Za-z0-9_=-]{40,}"),
    # Running things, and watching them.
    _token("Defined Networking token", "dnkey-", r"[A-Za-z0-9_=-]{40,}", looks_random),
    _token("Harness key", "pat. sat.", r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}"),
    _token("Octopus key", "API-", r"[A-Z0-9]{26}(?![A-Za-z0-9])", looks_random),
    _token("Vault token", "s.", r"[A-Za-z0-9]{24}(?![A-Za-z0-9])", _all_kinds),
    _token("Vault token", "hvs. hvb. hvr.", r"[A-Za-z0-9_-]{20,}"),
    _token(
        "Doppler token", "dp.pt. dp.st. dp.sa. dp.ct. dp.scim. dp.audit.", r"(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}"
    ),
    _token("Pulumi token", "pul-", r"[a-f0-9]{40}"),
    _token("1Password key", "A3-", r"[A-Z0-9]{6}(?:-[A-Z0-9]{5,11}){4,5}"),
    _token("1Password token", "ops_eyJ", r"[A-Za-z0-9+/=_-]{40,}"),
    _token("age key", "AGE-SECRET-KEY-1", r"[A-Z0-9]{50,}"),
    _token("Grafana token", "eyJrIjoi", r"[A-Za-z0-9+/=_-]{50,}"),
    _token("Grafana token", "glsa_ glc_", r"[A-Za-z0-9+/=_]{32,}"),
    _token("Sentry token", "sntrys_ sntryu_", r"[A-Za-z0-9+/=_-]{40,}"),
    _token("New Relic key", "NRAK- NRII- NRIQ- NRJS- NRRA- NRSP-", r"[A-Za-z0-9_-]{19,}"),
    _token("Dynatrace token", "dt0c01. dt0s01. dt0s16.", r"[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    _token("Honeycomb key", "hcaik_ hcbik_", r"[a-z0-9]{40,}"),
    _token("PostHog key", "phx_", r"[A-Za-z0-9_]{30,}"),
    _token("Langfuse key", "sk-lf-", r"[0-9a-f-]{36}"),
    _token("Buildkite token", "bkua_ bkpt_", r"[a-z0-9]{40}"),
    _token("CircleCI token", "CCIPAT_ CCIPRJ_", r"[A-Za-z0-9_]{30,}"),
    _token("SonarQube token", "sqp_ squ_ sqa_", r"[a-f0-9]{40}"),
    _token("Prefect key", "pnu_ pnb_", r"[A-Za-z0-9]{36}(?![A-Za-z0-9])", looks_random),
    _token("Infracost key", "ico-", r"[A-Za-z0-9]{32}(?![A-Za-z0-9])", looks_random),
    _token("Tailscale key", "tskey-", r"[A-Za-z0-9-]{20,}", looks_random),
    _token("ngrok key", "cr_", r"[A-Za-z0-9]{27}_[A-Za-z0-9]{20,}"),
    # Work.
    _token("HubSpot token", "pat-na1- pat-na2- pat-eu1- pat-ap1-", r"[0-9A-Fa-f-]{36}"),
    _token("Adobe secret", "p8e-", r"[A-Za-z0-9]{32}(?![A-Za-z0-9])"),
    _token("42 secret", "s-s4t2ud- s-s4t2af-", r"[a-f0-9]{64}"),
    _token("SettleMint token", "sm_aat_ sm_pat_ sm_sat_", r"[A-Za-z0-9]{16}(?![A-Za-z0-9])"),
    _token("Twitter token", "AAAAAAAAAAAAAAAAAAAAA", r"[A-Za-z0-9%]{50,}", _all_kinds),
    _token("Atlassian token", "ATOA ATOB", r"[A-Za-z0-9_=-]{40,}", looks_random),
    _token("Figma token", "figd_ figu_", r"[A-Za-z0-9_-]{36,}"),
    _token("Notion token", "ntn_", r"[A-Za-z0-9]{40,}"),
    _token("Notion token", "secret_", r"[A-Za-z0-9]{43}(?![A-Za-z0-9])"),
    _token("Linear key", "lin_api_ lin_oauth_", r"[A-Za-z0-9]{32,}"),
    _token("Postman key", "PMAK-", r"[A-Fa-f0-9]{24}-[A-Fa-f0-9]{34}"),
    _token("Contentful token", "CFPAT-", r"[A-Za-z0-9_-]{40,}"),
    _token("Typeform token", "tfp_", r"[A-Za-z0-9_.=-]{40,}"),
    _token("ReadMe key", "rdme_", r"[a-z0-9]{60,}"),
    _token("Frame.io token", "fio-u-", r"[A-Za-z0-9_=-]{60,}"),
    _token("Dropbox token", "sl.", r"[A-Za-z0-9_=-]{100,}"),
    _token("Mapbox token", "sk.eyJ", r"[A-Za-z0-9_-]{40,}\.[A-Za-z0-9_-]{20,}"),
    _token("Facebook token", "EAA", r"[A-Za-z0-9]{80,}", looks_random),
    _token("Airtable token", "pat", r"[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    # Of any.
    _token("JWT", "ZXlK", r"[A-Za-z0-9+/_-]{60,}={0,2}", looks_random),
    _token("JWT", "eyJ", r"[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+|\.(?=\.))*", _jwt),
    _token("macaroon", "MDAx MDAy MDBk AgEI", r"[A-Za-z0-9+/_-]{80,}={0,2}", looks_random),
)

# What may stand right before a token although it ends in a letter or a digit: an escaped control character, an
# encoded one of a URL, a colour of a terminal.
_BEFORE = re.compile(
    r"(?:\\[nrtbf]|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|%[0-9A-Fa-f]{2}"
    r"|(?:\x1b|\\(?:x1b|u001b|033|e))\[[0-9;]{0,12}[A-Za-z])\Z"
)
_LETTER = re.compile(r"[A-Za-z0-9]")


def begins_at(text: str, position: int) -> bool:
    """Tell whether a token may begin at a position: it is not within a word."""
    if position == 0 or not _LETTER.match(text, position - 1):
        return True
    return _BEFORE.search(text[max(0, position - 24) : position]) is not None


def tokens(text: str) -> Iterator[Span]:
    """Yield where the tokens of a text stand."""
    for token in TOKENS:
        for begins in token.begins:
            yield from _of_kind(text, token, begins)


def _of_kind(text: str, token: Token, begins: str) -> Iterator[Span]:
    position = text.find(begins)
    while position >= 0:
        end = position + 1
        if begins_at(text, position):
            match = token.goes_on.match(text, position + len(begins))
            if match is not None:
                end = match.end()
                if token.holds is None or token.holds(text[position + len(begins) : end]):
                    yield Span(position, end, token.kind)
        position = text.find(begins, end)
