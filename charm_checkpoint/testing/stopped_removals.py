"""Removals that are stopped, when some of it is gone, by what somebody puts meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from charm_checkpoint.contract import CheckpointRow, Query, capabilities, tenant_of
from charm_checkpoint.memory import Memory
from charm_checkpoint.plan import run
from charm_checkpoint.retention import Retention
from charm_checkpoint.retention.pruning import Tools, prune
from charm_checkpoint.saver.removals import Removals
from charm_checkpoint.session import Session, Step, drive
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import BlockingMode, InMode, PlansInMode
from charm_checkpoint.testing.retention import line
from charm_checkpoint.testing.samples import checkpoint, chunk, config, ids, new
from charm_checkpoint.testing.saver_methods import put
from charm_checkpoint.testing.stopping import Meeting, small_steps
from charm_checkpoint.values.sealing import Identities


class StoppedRemovals(Suite):
    """Removals that meet somebody who goes on from what was to go."""

    @pytest.mark.parametrize("by", ["policy", "saver"])
    def test_a_prune_that_is_stopped_leaves_no_chunks(
        self,
        by: str,
        memory: Memory,
        second: Memory,
        saver: InMode,
        backend: PlansInMode,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """By then nothing more is to go, so that no other removal comes."""
        small_steps(monkeypatch)
        trunk = {at["configurable"]["checkpoint_id"]: at for at in line(saver, 7)}
        other, kept = InMode(second.get_langgraph_checkpointer(), BlockingMode()), {"5", "6"}

        def meet() -> None:
            rows = second.store.run(lambda: second.store.backend.page(Query("t"), None, 99), write=False).items
            left = sorted({item.row.id for item in rows if item.row is not None} - kept)
            if len(left) == 1:  # the others went before it
                put(other, trunk[left[0]], checkpoint({}, id="late"), source="fork")
                kept.update([*left, "late"])

        def choose(rows: Sequence[CheckpointRow], outlined: object) -> set[tuple[str, str]]:
            return {(row.ns, row.id) for row in rows if row.id in kept}

        with Meeting(meet).setting():
            if by == "policy":
                tools = Tools(backend.backend, saver.raw.serde)
                done = drive(memory.store, prune(tools, "t", Retention(keep_last=2), time.time()))
                assert not done.busy and done.done.checkpoints == (4 if "late" in kept else 5)
            else:
                identities = Identities(tenant_of(backend.backend), marks=capabilities(backend.backend).marks_copies)
                removals = Removals(backend.backend, saver.raw.serde, identities)
                drive(memory.store, removals.keep("t", choose, "t"))
        assert {item.row.id for item in backend.page(Query("t"), None, 99).items} == kept
        chunks = backend.usage("t").chunks
        backend.remove("t", [], None)
        assert backend.usage("t").chunks == chunks

    @pytest.mark.parametrize("by", ["prune", "runs"])
    def test_a_removal_by_the_saver_goes_on_beside_who_puts(
        self, by: str, memory: Memory, second: Memory, saver: InMode
    ) -> None:
        """They put between any two steps, so a removal that wanted the thread as it was would never come to an end."""
        at = config("t")
        for n in range(7):
            at = put(saver, at, checkpoint({"log": [n] * 300}, id=f"{n}"), run_id="run")
        other, late = InMode(second.get_langgraph_checkpointer(), BlockingMode()), [at]
        removals = saver.raw._plans.removals
        session: Session[object] = (
            removals.prune("t", "keep_latest") if by == "prune" else removals.delete_for_runs(["run"])
        )

        def execute(step: Step) -> object:
            late.append(put(other, late[-1], checkpoint({}, id=f"late{len(late)}")))
            return memory.store.run(step.make, write=step.write, thread=step.thread)

        run(session, execute)
        expected = {one["configurable"]["checkpoint_id"] for one in late[1:]}
        assert len(late) > 2 and set(ids(saver.list(config("t")))) == expected

    @pytest.mark.parametrize("by", ["delete", "removal"])
    def test_a_removal_of_what_others_remove_meanwhile_ends(
        self, by: str, memory: Memory, second: Memory, backend: PlansInMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then no checkpoint is left, whatever is known of the thread."""
        small_steps(monkeypatch)
        for n in range(9):
            seq = backend.put(new(f"{n}", f"{n - 1}" if n else None, chunks=[chunk(f"{n}")])).state.seq
        keys, other = [("", f"{n}") for n in range(9)], second.store.backend
        empty = {"delete": lambda: other.delete_thread("t"), "removal": lambda: other.remove("t", keys, None)}
        waiting = [empty[by]]

        def meet() -> None:
            if waiting:
                second.store.run(waiting.pop(), write=True)

        with Meeting(meet).setting():
            memory.store.run(lambda: backend.backend.remove("t", keys[:8], seq), write=True)
        backend.remove("t", keys, None)
        assert (backend.usage("t").checkpoints, backend.usage("t").chunks) == (0, 0)
