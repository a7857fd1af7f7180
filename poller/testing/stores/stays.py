"""How long runs stay is kept for each workflow, version and status."""

from dataclasses import replace

import pytest

from poller.core.stays import Stays
from poller.ports import Round
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, DAY, SCOPE, sample_draft


class StayPromises(Opened):
    """The promises about stays."""

    async def test_stays_are_kept_for_each_workflow_version_and_status(self) -> None:
        async with self.open_store() as store:
            running = Stays("7", "1.0", "RUNNING", (10.5, 0.125, 3600.0))
            others = [Stays("7", None, "RUNNING", (1.0,)), Stays("7", "1.0", "PENDING", (2.0,)), Stays("8", "1.0", "x")]
            await store.commit_round(Round(AT, SCOPE, stays=[running, *others]))
            await store.commit_round(Round(AT, "other", stays=[Stays("7", "1.0", "RUNNING", (99.0,))]))
            assert set(await store.stays(SCOPE)) == {running, *others}
            await store.commit_round(Round(AT, SCOPE, stays=[running.with_one_more(4)]))
            await store.commit_round(Round(AT, SCOPE, stays=[running.with_one_more(4)]))  # twice is once
            assert set(await store.stays(SCOPE)) == {running.with_one_more(4), *others}
            assert await store.stays("nobody") == []

    async def test_stays_are_written_with_their_round_or_not_at_all(self) -> None:
        async with self.open_store() as store:
            bad = Round(AT, SCOPE, drafts=[sample_draft("2", data={"not": object()})], stays=[Stays("7", None, "x")])
            with pytest.raises(TypeError):
                await store.commit_round(bad)
            assert await store.stays(SCOPE) == []
            with pytest.raises(ValueError, match="scope"):
                await store.commit_round(Round(AT, stays=[Stays("7", None, "x")]))

    async def test_of_two_scopes_that_are_one_the_stays_are_held_under_one_name(self) -> None:
        async with self.open_store() as store:
            ours, theirs = Stays("7", "1.0", "RUNNING", (1.0,)), Stays("7", None, "RUNNING", (3.0,))
            await store.commit_round(Round(AT, SCOPE, stays=[ours]))
            await store.commit_round(Round(AT, "other", stays=[replace(ours, seconds=(2.0,)), theirs]))
            for _ in range(2):  # twice is once
                await store.merge_scopes("other", SCOPE, discovered_through=None)
                assert set(await store.stays(SCOPE)) == {ours, theirs}
                assert await store.stays("other") == []

    async def test_stays_to_which_none_was_added_for_long_are_dropped(self) -> None:
        async with self.open_store() as store:
            old, new = Stays("7", None, "RUNNING", (1.0,)), Stays("8", None, "RUNNING", (1.0,))
            await store.commit_round(Round(AT, SCOPE, stays=[old]))
            await store.commit_round(Round(AT + DAY, SCOPE, stays=[new]))
            assert await store.prune(before=AT + DAY, now=AT + 2 * DAY, keep={}) == 0
            assert await store.stays(SCOPE) == [new]
