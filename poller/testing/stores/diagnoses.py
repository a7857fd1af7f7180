"""Who is owed a diagnosis: written with the event that told the failure, taken with the one that tells why."""

import pytest

from poller.core.routing import Route
from poller.ports import MadeDiagnosis, Round
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, DAY, MINUTE, SCOPE, sample_draft


class DiagnosisPromises(Opened):
    """The promises to those who say why runs failed."""

    async def test_a_run_is_owed_a_diagnosis_from_its_event_on_until_one_is_made(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            failed, other = sample_draft("1", 2, kind="failed"), sample_draft("2", 2, kind="failed")
            round_ = Round(AT, SCOPE, drafts=[sample_draft("1", 1), failed, other], to_diagnose={failed.id, other.id})
            await store.commit_round(round_)
            assert await store.owed_diagnoses(SCOPE) == {2: "1", 3: "2"}
            assert await store.owed_diagnoses("other") == {}
            owed = await store.owed_diagnosis(2)
            assert owed is not None
            assert (owed.failed.body, owed.failed.position, owed.incarnation) == (failed.to_json(2), 2, "life")
            assert await store.owed_diagnosis(1) is None
            made = [MadeDiagnosis(2, sample_draft("1", 3, kind="diagnosed")), MadeDiagnosis(3)]
            events = await store.commit_round(Round(AT + MINUTE, SCOPE, diagnoses=made))
            assert [(event.position, event.sequence, event.kind) for event in events] == [(4, 3, "diagnosed")]
            assert await store.owed_diagnoses(SCOPE) == {}
            assert await store.owed_diagnosis(2) is None
            assert [row.event_id for row in await store.deliveries(run_id="1")] == ["1/life/3", "1/life/2", "1/life/1"]

    async def test_a_diagnosis_that_is_not_owed_is_not_recorded(self) -> None:
        async with self.open_store() as store:
            failed = sample_draft("1", 1, kind="failed")
            await store.commit_round(Round(AT, SCOPE, drafts=[failed], to_diagnose={failed.id}))
            made = [MadeDiagnosis(1, sample_draft("1", 2, kind="diagnosed"))]
            assert len(await store.commit_round(Round(AT, SCOPE, diagnoses=made))) == 1
            again = [MadeDiagnosis(1, sample_draft("1", 3, kind="diagnosed"))]
            assert await store.commit_round(Round(AT, SCOPE, diagnoses=again)) == []
            await store.commit_round(Round(AT, SCOPE, drafts=[failed], to_diagnose={failed.id}))
            assert await store.owed_diagnoses(SCOPE) == {}, "the event was told, and diagnosed, before"
            assert await store.last_position() == 2

    async def test_a_round_that_fails_owes_no_diagnosis_and_takes_none(self) -> None:
        async with self.open_store() as store:
            failed, bad = sample_draft("1", 1, kind="failed"), sample_draft("2", data={"not": object()})
            with pytest.raises(TypeError):
                await store.commit_round(Round(AT, SCOPE, drafts=[failed, bad], to_diagnose={failed.id}))
            assert await store.owed_diagnoses(SCOPE) == {}
            await store.commit_round(Round(AT, SCOPE, drafts=[failed], to_diagnose={failed.id}))
            with pytest.raises(TypeError):
                await store.commit_round(Round(AT, SCOPE, diagnoses=[MadeDiagnosis(1, bad)]))
            assert await store.owed_diagnoses(SCOPE) == {1: "1"}

    async def test_a_run_that_is_forgotten_is_owed_no_diagnosis(self) -> None:
        async with self.open_store() as store:
            drafts = [sample_draft("1", 1, kind="failed"), sample_draft("2", 1, kind="failed")]
            await store.commit_round(Round(AT, SCOPE, drafts=drafts, to_diagnose={draft.id for draft in drafts}))
            assert await store.forget(SCOPE, "1", AT)
            assert await store.owed_diagnoses(SCOPE) == {2: "2"}
            made = [MadeDiagnosis(1, sample_draft("1", 2, kind="diagnosed"))]
            assert await store.commit_round(Round(AT, SCOPE, diagnoses=made)) == []
            assert [event.id for event in await store.events()] == ["1/life/1", "2/life/1"]

    async def test_an_event_whose_run_is_owed_a_diagnosis_is_not_pruned(self) -> None:
        async with self.open_store() as store:
            drafts = [sample_draft("1", 1), sample_draft("1", 2, kind="failed")]
            await store.commit_round(Round(AT, SCOPE, drafts=drafts, to_diagnose={drafts[1].id}))
            assert await store.prune(before=AT + DAY, now=AT + DAY, keep={}) == 1
            assert await store.owed_diagnosis(2) is not None
            made = [MadeDiagnosis(2, sample_draft("1", 3, kind="diagnosed"))]
            await store.commit_round(Round(AT + 2 * DAY, SCOPE, diagnoses=made))
            assert await store.prune(before=AT + DAY, now=AT + 3 * DAY, keep={}) == 1

    async def test_of_two_scopes_that_are_one_the_owed_diagnoses_are_held_under_one_name(self) -> None:
        async with self.open_store() as store:
            failed = sample_draft("1", 1, kind="failed")
            await store.commit_round(Round(AT, "gone", drafts=[failed], to_diagnose={failed.id}))
            await store.merge_scopes("gone", SCOPE, discovered_through=None)
            assert (await store.owed_diagnoses(SCOPE), await store.owed_diagnoses("gone")) == ({1: "1"}, {})
