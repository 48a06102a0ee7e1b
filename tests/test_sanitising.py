"""What leaves this machine has no secrets and none of its paths in it; what only looks like them stays."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import cli
from benchmarks.secret_cases import FALSE, TRUE, Case, cases
from charm_checkpoint.long_term.sanitising import known_roots, sanitise

SEEDS = range(int(os.environ.get("CHARM_TEST_SCALE", "1")))
SECRETS = [case for seed in SEEDS for case in cases(TRUE, seed)]
HARMLESS = [case for seed in SEEDS for case in cases(FALSE, seed)]
TOKEN = "ghp_" + "a1B2" * 9

PROJECT, HOME = PurePosixPath("/home/ada/src/my-charm"), PurePosixPath("/home/ada")
POSIX = {"CHARM_PATH": PROJECT, "HOME": HOME}
WINDOWS = {"CHARM_PATH": PureWindowsPath(r"C:\Users\Ada L\my-charm"), "HOME": PureWindowsPath(r"C:\Users\Ada L")}


def clean(text: str) -> str:
    return sanitise(text, place="text").text


# ------------------------------------------------------------------------------------------------------------- secrets


def test_there_are_cases_enough() -> None:
    assert len({case.name for case in SECRETS}) >= 150 and len({case.name for case in HARMLESS}) >= 150
    assert all(case.secrets for case in SECRETS) and not any(case.secrets for case in HARMLESS)


def test_every_secret_is_taken_out() -> None:
    left = [case.name for case in SECRETS if any(secret in clean(case.text) for secret in case.secrets)]
    assert left == []


def test_what_only_looks_like_a_secret_stays() -> None:
    assert [case.name for case in HARMLESS if clean(case.text) != case.text] == []


@pytest.mark.parametrize("before", ["", "Ada said: ", "line\n", "\t- ", '{"x": 1}\n', "é ", "> "])
def test_a_secret_is_found_wherever_it_stands(before: str) -> None:
    some = [
        case
        for case in SECRETS
        if "\n" not in case.text and not case.name.startswith(("pgpass", "yaml word", "env marks"))
    ]
    left = [c.name for c in some if any(secret in clean(before + c.text + "\nend") for secret in c.secrets)]
    assert left == []


def test_what_was_sanitised_is_not_changed_again() -> None:
    for case in SECRETS:
        once = clean(case.text)
        assert clean(once) == once, case.name


def test_findings_show_no_secret() -> None:
    for case in SECRETS:
        found = sanitise(case.text, place=f"title of '{TOKEN}'")
        assert found.findings and found.redactions
        told = " ".join(f"{finding} {finding!r}" for finding in found.findings)
        assert not any(secret in told for secret in (*case.secrets, TOKEN)), case.name


def test_a_finding_tells_place_and_kind() -> None:
    text = f"first {TOKEN}\nsecond\npassword: hunter2\nthird {TOKEN} {TOKEN}"
    found = sanitise(text, place="body of 'x'")
    assert found.text == "first [REDACTED]\nsecond\npassword: [REDACTED]\nthird [REDACTED] [REDACTED]"
    assert [str(finding) for finding in found.findings] == [
        "body of 'x' line 1: GitHub token",
        "body of 'x' line 3: value of a password",
        "body of 'x' line 4: GitHub token (2 times)",
    ]
    assert found.redactions == 4
    assert [str(finding) for finding in sanitise(TOKEN, place="title of 'x'").findings] == [
        "title of 'x': GitHub token"
    ]


def test_nothing_is_found_in_nothing() -> None:
    found = sanitise("", place="x", roots=POSIX, hashes=True)
    assert (found.text, found.findings, found.redactions) == ("", (), 0)


def test_hashes_go_where_that_is_told() -> None:
    digest = "0123456789abcdef" * 4
    text = f"file.py sha256:{digest}, {digest.upper()} and commit {digest[:40]}"
    assert clean(text) == text
    found = sanitise(text, place="x", hashes=True)
    assert found.text == f"file.py <SHA256>, <SHA256> and commit {digest[:40]}"
    assert found.redactions == 0 and [finding.kind for finding in found.findings] == ["SHA-256 hash"]


@settings(max_examples=30 * len(SEEDS), deadline=None)
@given(st.lists(st.sampled_from([case.text for case in SECRETS + HARMLESS]) | st.text(max_size=20), max_size=5))
def test_any_text_is_sanitised_once_and_for_all(parts: list[str]) -> None:
    text = "\n".join(parts)
    found = sanitise(text, place="x", roots=POSIX)
    again = sanitise(found.text, place="x", roots=POSIX)
    assert again.text == found.text
    assert bool(found.findings) == (found.text != text)


# --------------------------------------------------------------------------------------------------------------- paths

PATHS = [
    ("see /home/ada/src/my-charm/a.py:12", "see <CHARM_PATH>/a.py:12"),
    ("/home/ada/src/my-charm", "<CHARM_PATH>"),
    ("/home/ada/src/my-charm.", "<CHARM_PATH>."),
    ("/home/ada/src/my-charm/", "<CHARM_PATH>/"),
    ("/home/ada/src/my-charm-k8s/a.py", "<HOME>/src/my-charm-k8s/a.py"),
    ("/home/ada/src/my-charm2", "<HOME>/src/my-charm2"),
    ("/home/ada/src/my-charm.old", "<HOME>/src/my-charm.old"),
    ("/home/ada/src/my-charm_x /home/ada", "<HOME>/src/my-charm_x <HOME>"),
    ("~/src/my-charm/a and ~/other", "<CHARM_PATH>/a and ~/other"),
    ("$HOME/src/my-charm", "<CHARM_PATH>"),
    ("/home/adam/x", "/home/<USER>/x"),
    ("/home/ada2", "/home/<USER>"),
    ("file:///home/ada/x", "file://<HOME>/x"),
    ("PATH=/home/ada/bin:/usr/bin", "PATH=<HOME>/bin:/usr/bin"),
    ("-I/home/ada/include -v /home/ada:/x", "-I<HOME>/include -v <HOME>:/x"),
    ('{"path": "/home/ada/x"}', '{"path": "<HOME>/x"}'),
    ("/media/ada/disk and /run/user/ada/x", "/media/<USER>/disk and /run/user/<USER>/x"),
    ("/Users/grace/x", "/Users/<USER>/x"),
    (r"C:\Users\grace\x", r"C:\Users\<USER>\x"),
    ("/home/runner/work /home/ubuntu/x", "/home/runner/work /home/ubuntu/x"),
    ("/srv/home/ada/x", "/srv/home/<USER>/x"),
    ("https://ada/x ada/x ada", "https://ada/x ada/x ada"),
    ("my-charm and src/my-charm", "my-charm and src/my-charm"),
]


@pytest.mark.parametrize(("text", "expected"), PATHS)
def test_paths_of_the_project_and_of_the_home_directory_go(text: str, expected: str) -> None:
    found = sanitise(text, place="x", roots=POSIX)
    assert found.text == expected
    assert found.redactions == 0 and bool(found.findings) == (text != expected)
    assert sanitise(found.text, place="x", roots=POSIX).text == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"C:\Users\Ada L\my-charm\a.py", r"<CHARM_PATH>\a.py"),
        (r"c:\users\ada l\MY-CHARM\a.py", r"<CHARM_PATH>\a.py"),
        (r"C:\Users\Ada L\my-charm-k8s\a.py", r"<HOME>\my-charm-k8s\a.py"),
        (r'{"p": "C:\\Users\\Ada L\\my-charm\\a.py"}', r'{"p": "<CHARM_PATH>\\a.py"}'),
        ("C:/Users/Ada L/my-charm/a.py", "<CHARM_PATH>/a.py"),
        ("file:///C:/Users/Ada%20L/my-charm", "file:///<CHARM_PATH>"),
        ("/mnt/c/Users/Ada L/x and /c/Users/Ada L/x", "<HOME>/x and <HOME>/x"),
        (r"%USERPROFILE%\my-charm\a", r"<CHARM_PATH>\a"),
    ],
)
def test_paths_of_windows_go_however_they_are_written(text: str, expected: str) -> None:
    assert sanitise(text, place="x", roots=WINDOWS).text == expected


def test_a_path_in_a_secret_and_a_secret_in_a_path() -> None:
    assert sanitise("password=/home/ada/Xy7q", place="x", roots=POSIX).redactions == 0
    found = sanitise(f"/home/ada/{TOKEN}/x", place="x", roots=POSIX)
    assert found.text == "<HOME>/[REDACTED]/x"


def test_a_root_is_no_disk() -> None:
    roots: dict[str, PurePath] = {"CHARM_PATH": PurePosixPath("/"), "HOME": PureWindowsPath("C:\\"), "X": PurePath("a")}
    assert sanitise("/usr/bin C:\\x a/b", place="x", roots=roots).text == "/usr/bin C:\\x a/b"


def test_known_roots_follow_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    (real / "app").mkdir(parents=True)
    try:
        link.symlink_to(real, target_is_directory=True)
    except OSError:
        pytest.skip("links need a right on Windows")
    roots = known_roots(link / "app", home=link)
    text = f"{link / 'app' / 'x'} {real / 'app' / 'x'} {link / 'y'} {(real / 'y').resolve()}"
    expected = "<CHARM_PATH>/x <CHARM_PATH>/x <HOME>/y <HOME>/y".replace("/", os.sep)
    assert sanitise(text, place="x", roots=roots).text == expected


# ------------------------------------------------------------------------------------------------------- hostile texts

QUICK = [
    "a", "sk-", "-eyJ", 'password="', "password: ", "secret ", "token=a[", "pwd:a|", "-----BEGIN PRIVATE KEY-----",
    "a://b:", "/home/ada/", "мой пароль ", "curl -u ", "password for a for b for ", "AKIA" + "A" * 16 + " ",
]  # fmt: skip
ALL = [
    *QUICK, "A1", "ghp_", "eyJa.", "password=", "password='password=\"", "token is ",
    "-----BEGIN RSA PRIVATE KEY-----\n",
    "https://a:b@", "/home/ada-", "\\", '"', "'", "key", "apikey:", "mysql mysql ", "a:1234:b:c:", "$2b$", "Bearer ",
    "Authorization: ", "Private-Lines: 1\n", "=", "SG.", "key = {", "password=${", "password=<", "password = 'a b ",
    "auth: ", "\n", 'Password,"', "${", "xxx", "token: |\n  a\n", "Q~", "0123456789:AA", "dp.pt.", "sl.", "/Users/",
    "~ada/", "C:\\Users\\", "é", "password: a-", "password=a.a.", "password=a_", "token=(", "a1-", "api key ",
    "password>", "password%3D", 'password=\\"', "password:str=", "token: a ", "password=a b=", "secret: the ", "a***",
    'password="…', "password='<a>", "password='{{", 'password="#{', "0" * 63 + " ", "live_", "1|", "a-" * 8 + "\n",
]  # fmt: skip


def seconds(unit: str, length: int) -> float:
    text = (unit * (length // len(unit) + 1))[:length]
    begun = time.process_time()
    sanitise(text, place="x", roots=POSIX, hashes=True)
    return time.process_time() - begun


@pytest.mark.parametrize("unit", QUICK)
def test_hostile_text_takes_no_longer_than_it_is_long(unit: str) -> None:
    short = min(seconds(unit, 6_000) for _ in range(2))
    # What is quadratic takes sixteen times as long.
    assert min(seconds(unit, 24_000) for _ in range(2)) < 9 * short + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("unit", ALL)
def test_a_long_hostile_text_is_sanitised_in_time(unit: str) -> None:
    length = 60_000 * len(SEEDS)
    assert seconds(unit, length) < length / 20_000


def test_the_benchmark_measures_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sanitiser", "--seeds", "1", "--show"]) == 0
    assert "| ours |" in capsys.readouterr().out


def test_a_case_is_filled_with_secrets_of_its_own() -> None:
    first, again, other = (next(iter(cases(TRUE, seed))) for seed in (0, 0, 1))
    assert isinstance(first, Case) and first == again != other
