"""How a record follows its events for cohorts."""

from dataclasses import replace

from poller.core.batches import KnownBatch
from poller.core.cohorts import LIVE, Cohort, Followed, Progress
from poller.core.drafts import cohort_event
from poller.core.event_data import CloudEvent
from poller.core.runs import RunName
from poller.ports.records import Round
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, DAY, SCOPE, sample_draft, tell

PAIR = Cohort("pair", named=frozenset({RunName("1"), RunName("2")}))
BATCH = Cohort("7", batch_id="7", scope=SCOPE)


class CohortPromises(Opened):
    """The promises about cohorts and their members."""

    async def test_each_event_is_counted_once_in_whatever_portions_they_are_read(self) -> None:
        async with self.open_store() as store:
            await tell(store, *(sample_draft(run, 1) for run in "123"), sample_draft("1", 2, kind="completed"))
            assert await store.follow_cohorts([PAIR], limit=2) == Followed(frozenset({PAIR.key}), more=True)
            assert (await store.cohort_progress([PAIR]))[PAIR.key].counts == {LIVE: 2}
            while (await store.follow_cohorts([PAIR], limit=2)).more:
                pass
            assert await store.follow_cohorts([PAIR], limit=2) == Followed()
            progress = (await store.cohort_progress([PAIR]))[PAIR.key]
            assert (progress.counts, progress.named, progress.known) == ({LIVE: 1, "completed": 1}, 2, 2)

    async def test_members_that_come_and_end_in_one_portion_are_known_as_they_ended(self) -> None:
        async with self.open_store() as store:
            steps = [sample_draft("1", 1), sample_draft("2", 1), sample_draft("1", 2, kind="stopping")]
            await tell(store, *steps, sample_draft("2", 2, kind="completed"), sample_draft("1", 3, kind="failed"))
            await store.follow_cohorts([PAIR])
            finished = await store.cohort_finished(PAIR, AT + DAY)
            assert finished.counts == {"completed": 1, "failed": 1}
            assert [(one.run_id, one.state, one.name) for one in finished.others] == [
                ("1", "failed", "sample of run 1")
            ]

    async def test_a_cohort_that_has_finished_is_followed_no_more(self) -> None:
        async with self.open_store() as store:
            await tell(store, sample_draft("1", 1, kind="completed"), sample_draft("2", 1, kind="failed"))
            await store.follow_cohorts([PAIR])
            finished = await store.cohort_finished(PAIR, AT + DAY)
            assert finished.counts == {"completed": 1, "failed": 1}
            assert [(one.run_id, one.state) for one in finished.others] == [("2", "failed")]
            draft = cohort_event(finished)
            round_ = Round(AT + DAY, drafts=[draft], cohorts_finished={PAIR.key: AT + DAY})
            (event,) = await store.commit_round(round_)
            assert event.id == draft.id
            assert await store.cohort_progress([PAIR]) == {}
            assert await store.commit_round(round_) == []

    async def test_a_run_that_is_forgotten_is_named_by_no_cohort_that_has_finished(self) -> None:
        async with self.open_store() as store:
            await tell(store, sample_draft("1", 1, kind="failed"), sample_draft("2", 1, kind="failed"))
            await store.follow_cohorts([PAIR])
            finished = cohort_event(await store.cohort_finished(PAIR, AT))
            await store.commit_round(Round(AT, drafts=[finished], cohorts_finished={PAIR.key: AT}))
            assert await store.forget(SCOPE, "1", AT)
            (event,) = await store.events(types=["healthomics.cohort.finished"])
            named = {one["run_id"]: (one["name"], one["end"]) for one in event.data["not_completed"]}
            assert named == {"1": (None, "failed"), "2": ("sample of run 2", "failed")}
            assert (event.id, event.data["counts"]) == (finished.id, {"failed": 2})
            CloudEvent.model_validate_json(event.body)

    async def test_a_cohort_reads_all_once_more_that_knows_better_now_where_its_runs_are(self) -> None:
        async with self.open_store() as store:
            await tell(store, sample_draft("1", 1), sample_draft("2", 1, kind="completed"))
            elsewhere = replace(PAIR, named=frozenset({RunName("1", scope="other"), RunName("2", scope="other")}))
            assert (await store.follow_cohorts([elsewhere])).changed == set()
            assert (await store.follow_cohorts([PAIR])).changed == set()
            assert (await store.follow_cohorts([PAIR], anew=[PAIR.key])).changed == {PAIR.key}
            assert (await store.cohort_progress([PAIR]))[PAIR.key].counts == {LIVE: 1, "completed": 1}
            await store.merge_scopes("other", SCOPE, discovered_through=None)
            assert (await store.follow_cohorts([PAIR], limit=1)).more, "all, as after a merge it may know better, too"

    async def test_a_cohort_that_nobody_has_any_more_goes_with_what_it_knew(self) -> None:
        async with self.open_store() as store:
            gone, stays = (Cohort(name, name_glob="*", expected=5) for name in ("gone", "stays"))
            await tell(store, sample_draft("1", 1))
            await store.follow_cohorts([gone, stays])
            for before in (AT - DAY, AT + DAY):
                await store.prune(before=before, now=AT + DAY, keep={}, cohorts=[stays.key])
                known = await store.cohort_progress([gone, stays])
                assert [key for key in known if known[key].known] == [
                    one.key for one in (gone, stays) if one is stays or before < AT
                ]

    async def test_a_batch_says_itself_how_many_runs_it_has(self) -> None:
        async with self.open_store() as store:
            await store.follow_cohorts([BATCH])
            assert (await store.cohort_progress([BATCH]))[BATCH.key] == Progress({})
            known = KnownBatch("7", uuid="u", status="PROCESSED", submitted=3, listed=3)
            await store.commit_round(Round(AT, SCOPE, batches=[known]))
            progress = (await store.cohort_progress([BATCH]))[BATCH.key]
            assert (progress.closed, progress.submitted) == (True, 3)

    async def test_only_cohorts_whose_members_came_or_changed_their_state_are_said_to_have_changed(self) -> None:
        async with self.open_store() as store:
            other = Cohort("other", named=frozenset({RunName("3")}))
            await tell(store, sample_draft("1", 1), sample_draft("3", 1))
            assert (await store.follow_cohorts([PAIR, other])).changed == {PAIR.key, other.key}
            await tell(store, sample_draft("3", 2, kind="stopping"), sample_draft("1", 2, kind="failed"))
            assert (await store.follow_cohorts([PAIR, other])).changed == {PAIR.key}
