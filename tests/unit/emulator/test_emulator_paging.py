"""Pages: cursors that stand, offsets that shift, tokens that expire, and lists that end early."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from poller.emulator import Emulator, Fault, Life, Scenario

from .conftest import HandClock, Omics


async def ids_of_page(client: Any, token: str | None = None, **asked: Any) -> tuple[list[str], str | None]:
    if token is not None:
        asked["startingToken"] = token
    page = await client.list_runs(maxResults=3, **asked)
    return [item["id"] for item in page["items"]], page.get("nextToken")


@pytest.mark.parametrize("status", [{}, {"status": "RUNNING"}, {"status": "RUNNING", "name": "a"}])
async def test_with_offsets_a_run_that_joins_shows_another_one_twice(omics: Omics, status: dict[str, str]) -> None:
    async with Emulator(Scenario(paging="offset")) as emulator, omics(emulator) as client:
        old = [emulator.start_run(Life.of("RUNNING"), name="a") for _ in range(6)][::-1]
        first, token = await ids_of_page(client, **status)
        emulator.start_run(Life.of("RUNNING"), name="a")
        second, token = await ids_of_page(client, token, **status)
        third, end = await ids_of_page(client, token, **status)

    assert (first, second, third, end) == (old[:3], old[2:5], old[5:], None)


@pytest.mark.parametrize("status", [{"status": "RUNNING"}, {"status": "RUNNING", "name": "a"}])
async def test_with_offsets_a_run_that_leaves_hides_another_one(omics: Omics, status: dict[str, str]) -> None:
    async with Emulator(Scenario(paging="offset")) as emulator, omics(emulator) as client:
        old = [emulator.start_run(Life.of("RUNNING"), name="a") for _ in range(6)][::-1]
        first, token = await ids_of_page(client, **status)
        emulator.move_run(old[0], "STOPPING")
        second, _ = await ids_of_page(client, token, **status)

    assert first + second == [*old[:3], *old[4:]]


async def test_with_cursors_neither_happens_and_the_setting_can_be_changed_between_pages(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        old = [emulator.start_run(Life.of("RUNNING")) for _ in range(9)][::-1]
        first, token = await ids_of_page(client, status="RUNNING")
        emulator.start_run(Life.of("RUNNING"))
        emulator.move_run(old[0], "STOPPING")
        emulator.paging = "offset"
        second, token = await ids_of_page(client, token, status="RUNNING")
        third, _ = await ids_of_page(client, token, status="RUNNING")

    assert first + second == old[:6]
    assert third == old[3:6]  # the new token counts from the beginning: what a change amid a sweep does


@pytest.mark.parametrize("paging", ["cursor", "offset"])
async def test_every_list_can_be_paged_in_both_ways(omics: Omics, clock: HandClock, paging: Any) -> None:
    async with Emulator(Scenario(paging=paging), now=clock) as emulator, omics(emulator) as client:
        batches = [emulator.start_batch(5, Life.of("RUNNING"), runs_per_second=1000) for _ in range(4)]
        run_id = emulator.start_run(Life.completed(1, 1, 1, 1))
        clock.pass_by(10)

        async def read(operation: str, **asked: Any) -> list[Any]:
            pages = client.get_paginator(operation).paginate(PaginationConfig={"PageSize": 2}, **asked)
            return [item async for page in pages for item in page.get("items", page.get("runs"))]

        assert [item["id"] for item in await read("list_batch")] == batches[::-1]
        in_batch = [run["runId"] for run in await read("list_runs_in_batch", batchId=batches[1])]
        assert in_batch == emulator.batch_runs(batches[1])
        assert len({item["id"] for item in await read("list_runs")}) == 21
        tasks = await read("list_run_tasks", id=run_id)
        assert len({task["taskId"] for task in tasks}) == len(tasks) >= 2
        emulator.add_fault(Fault(kind="stale", seconds=0.001, operation="ListRuns"))
        assert len({item["id"] for item in await read("list_runs")}) == 21


async def test_a_token_expires_when_its_seconds_have_passed(omics: Omics, clock: HandClock) -> None:
    async with Emulator(Scenario(token_seconds=30), now=clock, speed=100) as emulator, omics(emulator) as client:
        for _ in range(9):
            emulator.start_run(Life.of("RUNNING"))
        _, first = await ids_of_page(client)
        clock.pass_by(29)
        _, second = await ids_of_page(client, first)
        clock.pass_by(1)
        with pytest.raises(ClientError, match=r"ValidationException.*has expired"):
            await ids_of_page(client, first)
        assert len((await ids_of_page(client, second))[0]) == 3
        emulator.token_seconds = None
        assert len((await ids_of_page(client, first))[0]) == 3


@pytest.mark.parametrize("paging", ["cursor", "offset"])
async def test_a_list_can_end_early_with_a_token_that_leads_on(omics: Omics, paging: Any) -> None:
    async with Emulator(Scenario(paging=paging)) as emulator, omics(emulator) as client:
        old = [emulator.start_run(Life.of("RUNNING")) for _ in range(5)][::-1]
        emulator.add_fault(Fault(kind="short_page", operation="ListRuns", count=1))
        emulator.add_fault(Fault(kind="short_page", operation="ListRuns", items=1, count=1, skip=1))
        pages = list[list[str]]()
        token = None
        while not pages or token is not None:
            page, token = await ids_of_page(client, token)
            pages.append(page)
        emulator.add_fault(Fault(kind="short_page", operation="ListRuns", items=3))
        _, more = await ids_of_page(client, name="nobody")

    assert pages == [[], old[:3], old[3:4], old[4:]]
    assert more is not None  # a token though nothing follows


def test_a_paging_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="cursor, offset"):
        Emulator().paging = "page"  # type: ignore[assignment]  # what a typing mistake would do
