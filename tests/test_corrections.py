"""What is taken for a correction, and what is not; the corpus is ours, of the kinds of things that people type."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charm_checkpoint.long_term.corrections import KINDS, LONGEST, correction_kinds, is_correction

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

CORRECTIONS = {
    "refusal": """
        no, that's wrong
        No.
        no
        Nope
        nope, still the old one
        Nah, leave the tabs
        No!
        no - the other repository
        No… the staging one
        Actually, use postgres
        actually the port is 8443
        Wait, stop
        wait, that is the production cluster
        Wait
        stop
        Stop adding comments everywhere
        STOP!!
        no emojis in commit messages
        Thanks for the summary.\\nNo, the second table
        Looks okay so far.\\n\\nActually, the index goes on tenant_id
        "No, not again"
        - no, keep the old name
        """,
    "prohibition": """
        don't run charmcraft pack again
        do not modify the rockcraft.yaml
        don\u2019t push to main
        Don\u2018t use sudo here
        dont edit generated files
        Please don't create a new branch for this
        and don't commit the lock file
        Good, but don't call the API in tests
        ok so do not delete the old table
        we don't use npm here, it is all pnpm
        I don't want a wrapper class for this
        you shouldn't touch the migrations
        never ever force a push, do not push --force
        Avoid mocks in these tests
        please avoid global state
        leave the Makefile alone
        keep it as it was
        I never asked you to rename the module
        don't just guess the version
        don't hardcode the region
        """,
    "wrong": """
        that's wrong
        That is incorrect, the queue is FIFO
        that's not right
        That's not it
        this is wrong: the sum is off by one
        I think that's wrong
        wrong file
        Wrong branch!
        that's the wrong directory
        You edited the wrong function
        it's still wrong
        that isn't right either
        No idea why, but that's wrong
        you're wrong, DST ends in October
        that is not how the parser works
        """,
    "misunderstood": """
        not what i asked for
        That is not what I meant
        not like that
        not how I would do it
        I said Postgres, not MySQL
        I said staging
        As I said, the tests live in spec/
        I already told you the port
        I asked for a list, you made a dict
        I wanted the short form
        I meant the client, not the server
        you misunderstood, the flag is for readers
        that's not the one I pointed at
        """,
    "replacement": """
        instead, use a context manager
        Instead of polling, use a webhook
        use httpx rather than requests
        Use uv instead of pip
        use `uv` instead
        Could you use tabs instead?
        can you put it into utils.py instead
        I'd prefer a dataclass here
        I would prefer shorter names
        I prefer composition
        postgres instead please
        the blue one instead
        Run it with pytest, not unittest
        it's Valkey, not Redis
        it should be UTC, not local time
        Make it async instead
        Postgres, not MySQL.
        we use ruff, not black
        let's go with SQLite instead
        I want JSON lines rather than CSV
        """,
    "rule": """
        Always include a changelog line
        Never use Harness
        Please always use uv lock first
        please never amend my commits
        from now on, answer in German
        Use four spaces from now on.
        Going forward, run the linter first
        In future use the staging key
        Next time check the lock file first
        Thanks. Always add a type hint, too.
        you should always ask before deploying
        Remember that main is protected
        keep in mind that CI has no network
        Works now.\\nFrom now on run it with -x
        we never deploy on Fridays
        please stop apologising
    Thanks, and always add a type hint
    ok: never use sudo
        """,
    "reproach": """
        you should have run the tests first
        You should\u2019ve asked
        you shouldn't have deleted that
        You were supposed to keep the API stable
        you forgot the second argument
        you missed the last row
        you didn't run the migrations
        You never updated the README
        you ignored the lint errors
        why did you delete the fixtures?
        Why did you change the public name?
        you keep adding trailing spaces
        you still haven't fixed the import
        How many times do I have to say it
        you just overwrote my config
        """,
    "undo": """
        revert that
        Please undo this
        undo your last change
        roll it back
        put it back
        Revert the last commit
        can you revert those changes
        go back to the version before
        scrap that, we start over
        discard these edits
        """,
}

NO_CORRECTIONS = """
    I don't see the issue
    thanks, that worked
    what does this do?
    I think we should add COS
    sometimes this happens
    No problem, thanks
    no worries
    No worries, take your time
    never mind
    Never mind, found it
    nevermind
    no need, thanks
    No thanks
    no rush
    no idea what this does
    No longer needed, as far as I can see
    no errors in the log
    no, that's fine
    No, it works now
    no, all good
    No matter which one
    no doubt it will work
    no one uses this any more
    No questions from my side
    No module named 'yaml'
    no such file or directory
    No. 5 is the longest chapter
    no-op is fine there
    Norway is in the list
    nothing to add
    actually that worked great
    Actually it is perfect
    wait for the pipeline to finish
    wait until the pods are ready
    waiting times are in minutes
    stop the server
    Stop the containers and remove the volume
    stopwatch.py needs a test
    I wonder what we could use instead
    What should we use instead?
    Which one would be used instead?
    The fallback is used instead of the cache when Redis is down.
    If it fails, the old value is returned instead.
    They moved to Rust instead
    I'll take the train instead
    we could do it in SQL instead, what do you think?
    don't download the data, it is in the cache already
    Don't worry about it
    don't address the review yet
    I don't know
    I don't understand this error
    the tests don't run on Windows
    Why don't these two commute?
    if you don't add the flag it fails
    It doesn't matter
    what is not right about it?
    tell me if that's wrong
    what went wrong?
    Is something wrong with the disk?
    wrong number of arguments is what the compiler says
    how do I revert a commit?
    What does git revert do?
    undo is bound to Ctrl-Z
    I have never seen this before
    never heard of it
    always good to know
    It always fails on Mondays
    Does it always return a list?
    should I always close it?
    thanks!
    Perfect, thank you
    great, that's exactly what I wanted
    yes
    ok
    Yes, go ahead
    sounds good
    continue
    lgtm
    Please run the tests
    please add a test for the empty list
    Write a function that parses ISO dates
    Use the staging database for this
    Can you explain the difference between a lock and a lease?
    Could you also add a docstring?
    Next, add the CLI
    What should I have done?
    Should I have used a set?
    you are right
    You did it, thanks
    that's right
    that's not bad
    That's not a problem
    it's not that important
    Funny, not bad.
    In the future we plan to move to Kubernetes
    the next time it runs is at noon
    How are rules like "never push to main" enforced?
    ```\\nno, this is inside of code\\ndon't use this\\n```
    ~~~ python\\nactually = 1\\nstop()\\n~~~
    > no, that was wrong\\nWhat did he mean by this?
    Here is the log:\\n    no, wait\\n    stop
    Traceback (most recent call last):\\n  File "x.py", line 1\\nKeyError: 'never'
    2024-05-01 12:00:01 stop received
    $ git push --force
    summarise this thread for me
    how is your day?
    Note that the tests take a while
    Please don't hesitate to ask
    It tells of what kind they are and where, never what they were.
    What is stored then is some state between, never an error, and the next save sees it.
    """


def lines(block: str) -> list[str]:
    return [line.strip().replace("\\n", "\n") for line in block.splitlines() if line.strip()]


SAID = [(kind, line) for kind, block in CORRECTIONS.items() for line in lines(block)]


def test_the_corpus_is_as_large_as_it_has_to_be() -> None:
    assert tuple(CORRECTIONS) == KINDS
    assert len(SAID) >= 120 and len(lines(NO_CORRECTIONS)) >= 100
    everything = [line for _, line in SAID] + lines(NO_CORRECTIONS)
    assert len({*everything}) == len(everything)


@pytest.mark.parametrize(("kind", "said"), SAID, ids=[said for _, said in SAID])
def test_a_correction_is_noticed(kind: str, said: str) -> None:
    assert kind in correction_kinds(said)
    assert is_correction(said)


@pytest.mark.parametrize("said", lines(NO_CORRECTIONS))
def test_what_is_none_is_left_alone(said: str) -> None:
    assert correction_kinds(said) == ()
    assert not is_correction(said)


@pytest.mark.parametrize("said", ["", " ", "\n\n", "...", "\u200b", "?!", "---"])
def test_nothing_said_is_no_correction(said: str) -> None:
    assert not is_correction(said)


@pytest.mark.parametrize(("_", "said"), SAID[::3], ids=[said for _, said in SAID[::3]])
def test_where_and_how_it_is_written_makes_no_difference(_: str, said: str) -> None:
    for changed in (said.upper(), f"  {said}  ", f"\n\n{said}\n", f"Thank you for the work.\n{said}", f"**{said}**"):
        assert is_correction(changed), changed
    assert is_correction(said.replace("'", "\u2019"))


PIECES = [
    *"no no, actually wait stop don't do not instead use rather than , . ! ? ( ) - ' \u2019 ``` > please \n".split(" "),
    "that's wrong", "you", "always", "never", "from now on", "i said", "revert", "in the future", " ", "\n", "a" * 30,
]  # fmt: skip


@QUICK
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=40).map(" ".join))
def test_any_text_has_an_answer(text: str) -> None:
    kinds = correction_kinds(text)
    assert is_correction(text) == bool(kinds)
    assert [kind for kind in KINDS if kind in kinds] == list(kinds)


def seconds(text: str) -> float:
    started = time.perf_counter()
    correction_kinds(text)
    return time.perf_counter() - started


def test_the_time_grows_with_the_length_only() -> None:
    chance = random.Random(7)
    for piece in [
        *PIECES,
        "use x, not ",
        "don't, ",
        "please, no, so ",
        "i want a ",
        "x: ",
        "instead of ",
        ". no",
        "you ",
    ]:
        for text in (piece, piece + " ", chance.choice(PIECES) + piece):
            longer = text * (LONGEST // len(text))
            whole = seconds(longer)
            assert whole < 2, (text, whole)  # some 20 ms; what is not linear takes minutes


def test_what_stands_behind_the_first_pages_was_not_typed() -> None:
    assert not is_correction("word " * (LONGEST // 5) + "\nno, that's wrong")
