"""Several scopes of one daemon and of one library, over real HTTP."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from poller import Poller
from poller.app import daemon
from poller.app.build import resolve_region
from poller.app.daemon import reload
from poller.app.http import readiness
from poller.core.errors import ConfigError
from poller.core.runs import RunName
from poller.emulator import Emulator, Fault, Life
from poller.polling.rules import Rule
from poller.settings.load import load_settings
from poller.settings.model import AwsSettings, Settings, StoreSettings
from poller.settings.texts import run_name
from tests.unit.app.daemon_rig import POLLING, Stage, file_sink
from tests.unit.app.library_rig import quick_life, until
from tests.unit.http_rig import NOT_YOU, answering, assumed, identity, key_of

pytestmark = pytest.mark.usefixtures("aws_credentials")

SOON = 8.0
"""Seconds, far above what a run's whole life takes here (0.2) and far below what a service that hangs is given (10)."""
ONE, TWO = "123456789012", "210987654321"
ROLE = f"arn:aws:iam::{TWO}:role/watcher"


@dataclass
class Sts:
    """STS: who somebody is, by his access key, and whether he may assume a role."""

    url: str = ""
    accounts: dict[str, str] = field(default_factory=dict)
    hangs_for: set[str] = field(default_factory=set)
    refuses_roles: bool = False
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        key = key_of(request)
        assumes = "Action=AssumeRole" in await request.text()
        self.asked.append(f"{key} {'AssumeRole' if assumes else 'GetCallerIdentity'}")
        if key in self.hangs_for:
            await asyncio.Event().wait()
        if assumes and self.refuses_roles:
            return web.Response(status=403, text=NOT_YOU, content_type="text/xml")
        return web.Response(text=assumed() if assumes else identity(self.accounts[key]), content_type="text/xml")


@asynccontextmanager
async def sts_server(monkeypatch: pytest.MonkeyPatch, **accounts: str) -> AsyncIterator[Sts]:
    """STS for this process, and a profile for each access key."""
    sts = Sts(accounts=accounts)
    async with answering(sts.answer) as sts.url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        profiles = "".join(f"[{key}]\naws_access_key_id={key}\naws_secret_access_key=s\n" for key in accounts)
        await anyio.Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(profiles)
        yield sts


@dataclass
class Stages:
    """A daemon over two accounts, an emulator each."""

    one: Emulator
    two: Emulator
    stage: Stage

    def configure(self, watches: str, *, first: str = "", second: str = "") -> None:
        """`first` and `second` are more keys of the tables `lab` and `clinic`."""
        tables = (
            f'[[aws]]\nname = "lab"\nregion = "us-east-1"\nendpoint_url = "{self.one.url}"\n{first}\n'
            f'[[aws]]\nname = "clinic"\nregion = "us-east-1"\nendpoint_url = "{self.two.url}"\n{second}\n'
        )
        text = f"{tables}{watches}\n{POLLING.format(listen='')}\n{file_sink('all')}"
        self.stage.path.write_text(text)

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stage.sent("all.jsonl")]

    def kinds(self, run_id: str, account_id: str) -> list[str]:
        return [
            event["type"].rpartition(".")[2]
            for event in self.told()
            if event["subject"] == run_id and event["data"].get("account_id") == account_id
        ]


@pytest.fixture
async def stages(tmp_path: Path) -> AsyncIterator[Stages]:
    async with Emulator(account_id=ONE, seed=1) as one, Emulator(account_id=TWO, seed=2) as two:
        yield Stages(one, two, Stage(one, tmp_path))


def watch(scope: str, text: str) -> str:
    return f'[[watch]]\naws = "{scope}"\n{text}\n'


# --- the daemon -------------------------------------------------------------------------------------------------------


async def test_each_scope_follows_what_its_watch_says_in_its_own_account(stages: Stages) -> None:
    named, found = stages.one.start_run(quick_life()), stages.two.start_run(Life.of("RUNNING"))
    unseen = stages.one.start_run(Life.of("RUNNING"))
    stages.configure(watch("clinic", "discover = true") + watch("lab", f'run_ids = ["{named}"]'))
    async with stages.stage.running() as parts:
        await until(lambda: stages.kinds(named, ONE)[-1:] == ["completed"])
        await until(lambda: stages.kinds(found, TWO) == ["running"])
        ready = readiness(parts)
        assert [(scope["name"], scope["account_id"]) for scope in ready["scopes"]] == [("lab", ONE), ("clinic", TWO)]
        assert [scope["merged_into"] for scope in ready["scopes"]] == [None, None]
        assert [(scope.name, scope.rules) for scope in parts.scopes] == [
            ("lab", (Rule(run_ids=frozenset({named})),)),
            ("clinic", (Rule(discover=True),)),
        ]
        assert {call.operation for call in stages.one.calls} == {"GetRun"}
    assert stages.kinds(unseen, ONE) == []


async def test_one_scope_that_hangs_or_is_down_delays_neither_the_start_nor_the_looks_of_another(
    stages: Stages,
) -> None:
    """The first table leads to a service that takes every request and never answers."""
    stages.one.add_fault(Fault(kind="hang"))
    stages.configure(watch("lab", 'discover = true\nrun_ids = ["7"]') + watch("clinic", "discover = true"))
    async with stages.stage.running() as parts:
        run_id = stages.two.start_run(quick_life())
        began = anyio.current_time()
        await until(lambda: stages.kinds(run_id, TWO)[-1:] == ["completed"])
        assert anyio.current_time() - began < SOON
        assert stages.one.calls
        lab, clinic = readiness(parts)["scopes"]
        assert lab["last_success_at"] is None
        assert clinic["seconds_since_last_success"] < SOON
        assert readiness(parts)["ready"]


async def test_ready_as_long_as_one_scope_sees_and_not_when_all_are_blind(stages: Stages) -> None:
    stages.one.add_fault(Fault(kind="error", code="ExpiredTokenException"))
    stages.configure(watch("lab", 'run_ids = ["1"]') + watch("clinic", "discover = true"))
    async with stages.stage.running() as parts:
        await until(lambda: readiness(parts)["scopes"][0]["blind"])
        await until(lambda: readiness(parts)["scopes"][1]["last_success_at"])
        ready = readiness(parts)
        assert (ready["ready"], [scope["blind"] for scope in ready["scopes"]]) == (True, [True, False])
        stages.two.add_fault(Fault(kind="error", code="ExpiredTokenException"))
        await until(lambda: readiness(parts)["scopes"][1]["blind"])
        assert not readiness(parts)["ready"]
    blind = [event["subject"] for event in stages.told() if event["type"] == "healthomics.poller.blind"]
    assert blind == ["lab", "clinic"]


async def test_sts_that_hangs_for_one_scope_delays_no_other(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the question whose credentials they are, and the role: neither belongs to the start."""
    async with sts_server(monkeypatch, AKLAB=ONE, AKCLINIC=TWO) as sts:
        sts.hangs_for = {"AKLAB"}
        stages.configure(
            watch("lab", "discover = true") + watch("clinic", "discover = true"),
            first=f'profile = "AKLAB"\nrole_arn = "{ROLE}"',
            second='profile = "AKCLINIC"',
        )
        began = anyio.current_time()
        async with stages.stage.running() as parts:
            run_id = stages.two.start_run(quick_life())  # not sooner: what ended before the start is never told
            await until(lambda: stages.kinds(run_id, TWO)[-1:] == ["completed"])
            assert anyio.current_time() - began < SOON
            assert "AKLAB AssumeRole" in sts.asked
            assert stages.one.calls == []
            assert parts.scopes[1].account_id == TWO


async def test_a_role_that_is_refused_blinds_its_own_scope_and_is_mended_without_a_restart(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sts_server(monkeypatch, emulated=ONE, ASIAROLE=TWO) as sts:
        sts.refuses_roles = True
        stages.configure(
            watch("lab", "discover = true") + watch("clinic", "discover = true"),
            second=f'role_arn = "{ROLE}"\nexternal_id = "lab-1"',
        )
        second = stages.two.start_run(Life.of("RUNNING"))
        async with stages.stage.running() as parts:
            first = stages.one.start_run(quick_life())
            await until(lambda: stages.kinds(first, ONE)[-1:] == ["completed"])
            await until(lambda: readiness(parts)["scopes"][1]["cause"] == "credentials")
            assert not readiness(parts)["scopes"][0]["blind"]
            assert stages.two.calls == []
            sts.refuses_roles = False
            await until(lambda: stages.kinds(second, TWO) == ["running"])
    about = [event["type"] for event in stages.told() if event["subject"] == "clinic"]
    assert about == ["healthomics.poller.blind", "healthomics.poller.recovered"]
    assert "assumed" not in json.dumps(stages.told())


async def test_two_tables_of_one_account_are_one_scope_and_say_so(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two profiles of one account, and no look by the second: the account is known before the first one."""
    async with sts_server(monkeypatch, AKLAB=ONE, AKAGAIN=ONE):
        stages.two = stages.one
        run_ids = [stages.one.start_run(quick_life()) for _ in range(2)]
        stages.configure(
            watch("lab", f'run_ids = ["{run_ids[0]}"]')
            + watch("clinic", f'run_ids = ["{run_ids[1]}"]')
            + f'[[cohort]]\nname = "plate"\nrun_ids = ["clinic:{run_ids[1]}"]\n',
            first='profile = "AKLAB"',
            second='profile = "AKAGAIN"',
        )
        async with stages.stage.running() as parts:
            for run_id in run_ids:
                await until(lambda run_id=run_id: stages.kinds(run_id, ONE)[-1:] == ["completed"])  # type: ignore[misc]
            ready = readiness(parts)["scopes"]
            assert [scope["merged_into"] for scope in ready] == [None, "lab"]
            assert [scope["account_id"] for scope in ready] == [ONE, ONE]
            assert parts.scope_of(run_name(f"clinic:{run_ids[1]}")).acting is parts.scopes[0]
            assert await parts.foundation.store.live_runs("clinic") == []
    for run_id in run_ids:
        assert len(stages.kinds(run_id, ONE)) == len(set(stages.kinds(run_id, ONE)))
    cohorts = {event["subject"]: event["data"].get("cohorts") for event in stages.told()}
    assert [cohorts[run_id] for run_id in run_ids] == [None, ["plate"]], "named by the scope that rests"


# --- reload -----------------------------------------------------------------------------------------------------------


async def test_a_reload_gives_each_scope_its_watch_by_name_and_disturbs_no_other(stages: Stages) -> None:
    first, second = stages.one.start_run(Life.of("RUNNING")), stages.two.start_run(Life.of("RUNNING"))
    stages.configure(watch("lab", f'run_ids = ["{first}"]'))
    async with stages.stage.running() as parts:
        await until(lambda: stages.kinds(first, ONE))
        rounds = parts.scopes[0].rounds
        stages.configure(watch("clinic", f'run_ids = ["{second}"]') + watch("lab", f'run_ids = ["lab:{first}"]'))
        await reload(parts, stages.stage.path, parts.settings)
        await until(lambda: stages.kinds(second, TWO) == ["running"])
        assert parts.scopes[0].rounds is rounds, "nothing changed in it"
        assert [scope.rules for scope in parts.scopes] == [(Rule(run_ids=frozenset({one})),) for one in (first, second)]


async def test_a_reload_with_other_tables_asks_for_a_restart_and_keeps_what_has_no_table_any_more(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(daemon.log, "info", lambda event, **facts: said.append({"event": event, **facts}))
    first, second = stages.one.start_run(Life.of("RUNNING")), stages.two.start_run(Life.of("RUNNING"))
    stages.configure(watch("lab", f'run_ids = ["{first}"]') + watch("clinic", "discover = true"))
    async with stages.stage.running() as parts:
        await until(lambda: stages.kinds(second, TWO))
        stages.configure(watch("office", "discover = true") + watch("lab", "discover = true"))
        text = stages.stage.path.read_text().replace('name = "clinic"', 'name = "office"')
        stages.stage.path.write_text(text)
        await reload(parts, stages.stage.path, parts.settings)
        assert [scope.name for scope in parts.scopes] == ["lab", "clinic"]
        assert [scope.rules for scope in parts.scopes] == [(Rule(discover=True),)] * 2
    (reloaded,) = [one for one in said if one["event"] == "config.reloaded"]
    assert (reloaded["changed"], reloaded["needs_restart"]) == (["watch"], ["aws"])


@pytest.mark.parametrize("wrong", ["[[watch]]\ndiscover = true\n", watch("office", "discover = true")])
async def test_a_watch_of_no_scope_changes_nothing(stages: Stages, wrong: str) -> None:
    stages.configure(watch("lab", "discover = true"))
    async with stages.stage.running() as parts:
        stages.configure(watch("clinic", "discover = true") + wrong)
        assert await reload(parts, stages.stage.path, parts.settings) is parts.settings
        assert [scope.rules for scope in parts.scopes] == [(Rule(discover=True),), ()]


# --- names ------------------------------------------------------------------------------------------------------------


async def test_a_name_leads_to_its_scope_or_to_an_error_that_names_those_there_are(stages: Stages) -> None:
    run_id = stages.two.start_run(Life.of("RUNNING"))
    stages.configure(watch("clinic", f'run_ids = ["{run_id}"]'), first=f'role_arn = "{ROLE.replace(TWO, ONE)}"')
    async with stages.stage.running() as parts:
        assert parts.scope_of(RunName("7", scope="clinic")).name == "clinic"
        await until(lambda: parts.scopes[1].account_id)
        for account, name in ((TWO, "clinic"), (ONE, "lab")):  # the account of `lab` is told by its role
            assert parts.scope_of(run_name(f"arn:aws:omics:us-east-1:{account}:run/7")).name == name
        for text, said in (
            ("7", "run 7 could be in any of 2 scopes: name it lab:7 or clinic:7"),
            ("office:7", "there is no scope office; there is lab"),
            (f"arn:aws:omics:eu-west-1:{TWO}:run/7", "run 7 is in eu-west-1, where no scope is"),
        ):
            with pytest.raises(ConfigError, match=said):
                parts.scope_of(run_name(text))


async def test_a_cohort_knows_its_runs_by_whatever_name_they_are_written(stages: Stages) -> None:
    run_id = stages.two.start_run(Life.of("RUNNING"))
    names = f'"lab:7", "arn:aws:omics:us-east-1:{TWO}:run/7", "{TWO}/us-east-1:8", "9"'
    cohort = f'[[cohort]]\nname = "plate"\nrun_ids = [{names}]\n'
    stages.configure(watch("clinic", f'run_ids = ["{run_id}"]') + cohort)
    async with stages.stage.running() as parts:
        await until(lambda: parts.scopes[1].account_id)
        (plate,) = parts.cohorts()
    assert plate.named == {
        RunName("7", scope="lab"),
        RunName("7", scope="clinic"),
        RunName("8", scope="clinic"),
        RunName("9"),  # in whatever scope
    }


async def test_events_name_the_cohort_by_whatever_name_it_has_for_their_run(stages: Stages) -> None:
    """Where a run is that is named by its account is only known once the account is."""
    runs = [stages.two.start_run(quick_life()) for _ in range(3)]
    names = [f"{TWO}/us-east-1:{runs[0]}", f"arn:aws:omics:us-east-1:{TWO}:run/{runs[1]}", f"clinic:{runs[2]}"]
    cohort = f'[[cohort]]\nname = "plate"\nrun_ids = {json.dumps(names)}\n'
    stages.configure(watch("clinic", f"run_ids = {json.dumps(runs)}") + cohort)
    async with stages.stage.running():
        await until(lambda: all(stages.kinds(run_id, TWO)[-1:] == ["completed"] for run_id in runs))
    assert {tuple(event["data"]["cohorts"]) for event in stages.told() if event["subject"] in runs} == {("plate",)}


@pytest.mark.parametrize("when", ["described later", "merged late"])
async def test_a_cohort_that_names_a_run_by_the_scope_that_rests_is_told(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Whether the record has its events under that name, under the keeper's, or first one and then the other."""
    async with sts_server(monkeypatch, AKLAB=ONE, AKAGAIN=ONE):
        stages.two = stages.one
        run_id = stages.one.start_run(Life.of("COMPLETED"))
        other = stages.one.start_run(Life.of("RUNNING"))
        watches = watch("lab", f'run_ids = ["{other}"]') + watch("clinic", f'run_ids = ["{run_id}"]')
        profiles = {"first": 'profile = "AKLAB"', "second": 'profile = "AKAGAIN"'}
        if when == "described later":
            stages.configure(watches, **profiles)
            async with stages.stage.running() as parts:
                await until(lambda: stages.kinds(run_id, ONE) and parts.scopes[1].recorded_as == "lab")
            stages.stage.stop = anyio.Event()
        else:  # each account is known by its first answer only, and the record is slow just then
            monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
        stages.configure(f'{watches}[[cohort]]\nname = "plate"\nrun_ids = ["clinic:{run_id}"]\n', **profiles)
        async with stages.stage.parts() as parts, anyio.create_task_group() as tasks:
            store, looks = parts.foundation.store, [0]
            merge, last_position = store.merge_scopes, store.last_position

            async def counted() -> int:
                looks[0] += parts.scopes[1].keeper is not None
                return await last_position()

            async def merge_later(*names: str, **mark: Any) -> None:
                if when == "merged late":
                    await until(lambda: looks[0] >= 2)  # cohorts were looked at between the one and the other
                await merge(*names, **mark)

            monkeypatch.setattr(store, "last_position", counted)
            monkeypatch.setattr(store, "merge_scopes", merge_later)
            tasks.start_soon(daemon.run_parts, parts, stages.stage.stop)
            await until(lambda: any("counts" in event["data"] for event in stages.told()))
            stages.stage.stop.set()
    ends = [event for event in stages.told() if "counts" in event["data"]]
    assert [(end["subject"], end["data"]["counts"]) for end in ends] == [("plate", {"completed": 1})]


@pytest.mark.parametrize("merged", [False, True])
async def test_a_deadline_holds_in_a_scope_that_rests_with_another_too(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, merged: bool
) -> None:
    async with sts_server(monkeypatch, AKLAB=ONE, AKAGAIN=ONE if merged else TWO):
        if merged:
            stages.two = stages.one
        run_id = stages.two.start_run(Life.of("RUNNING"))
        deadline = f'run_ids = ["{run_id}"]\ndeadline = {{ RUNNING = "300ms" }}'
        profiles = {"first": 'profile = "AKLAB"', "second": 'profile = "AKAGAIN"'}
        stages.configure(watch("lab", "") + watch("clinic", deadline), **profiles)
        async with stages.stage.running():
            await until(lambda: len(stages.kinds(run_id, ONE if merged else TWO)) == 2)
    assert stages.kinds(run_id, ONE if merged else TWO) == ["running", "overdue"]


def test_a_region_is_found_as_every_aws_tool_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "aws-config"
    config.write_text("[default]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert resolve_region(AwsSettings()) == "eu-north-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert resolve_region(AwsSettings()) == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert resolve_region(AwsSettings()) == "eu-west-1"
    assert resolve_region(AwsSettings(region="eu-west-3")) == "eu-west-3"


async def test_scopes_that_would_have_one_name_by_their_environment_are_refused_at_the_start(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    stages.stage.path.write_text('[[aws]]\nregion = "eu-west-1"\n[[aws]]\nendpoint_url = "http://127.0.0.1:1"\n')
    load_settings(stages.stage.path)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(ConfigError, match="number 1 and 2 are both eu-west-1: name them"):
        async with stages.stage.parts():
            pass


# --- the library ------------------------------------------------------------------------------------------------------


def in_memory(stages: Stages) -> Settings:
    """The two tables for a library: no watch, no file, no sink."""
    stages.configure("")
    settings = load_settings(stages.stage.path).settings
    return settings.model_copy(update={"store": StoreSettings(url="sqlite://"), "sinks": ()})


async def test_the_library_follows_several_scopes_and_waits_in_each(stages: Stages) -> None:
    settings = in_memory(stages)
    first, second = stages.one.start_run(quick_life()), stages.two.start_run(quick_life("FAILED"))
    async with Poller(settings=settings) as poller:
        assert poller.regions == ["us-east-1", "us-east-1"]
        outcomes = {}

        async def wait(name: str) -> None:
            outcomes[name] = await poller.wait(name, timeout=10)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, f"lab:{first}")
            tasks.start_soon(wait, f"clinic:{second}")
        assert outcomes[f"lab:{first}"].status == "COMPLETED"
        assert outcomes[f"clinic:{second}"].status == "FAILED"
        assert (await poller.wait(f"arn:aws:omics:us-east-1:{TWO}:run/{second}", timeout=10)).status == "FAILED"
        with pytest.raises(ConfigError, match=r"name it lab:.* or clinic:"):
            await poller.watch(first)


async def test_in_the_library_a_scope_that_hangs_keeps_nobody_from_entering(stages: Stages) -> None:
    stages.one.add_fault(Fault(kind="hang"))
    settings = in_memory(stages)
    run_id = stages.two.start_run(quick_life())
    began = anyio.current_time()
    async with Poller(settings=settings) as poller:
        await poller.watch("lab:7")
        assert (await poller.wait(f"clinic:{run_id}", timeout=10)).status == "COMPLETED"
        assert anyio.current_time() - began < SOON
        assert poller.sight.last_success_at is None, "the one that is seen worst"
