"""`omics-poller check`: is the configuration right, and would it work?"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AsJson, AwsOptions, ConfigPath, load_configuration
from poller.app.cli.output import Out
from poller.core.errors import BadRequest, Blind, ConfigError, Denied, PollerError, RunGone, ServiceError, SinkError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from poller.app.build import ConfiguredScope
    from poller.healthomics.service import HealthOmics
    from poller.ports.clock import Clock
    from poller.ports.sinks import Sink
    from poller.ports.store import Store
    from poller.settings.load import Loaded
    from poller.settings.model import AwsSettings, DiagnosisSettings, Settings, WatchSettings

Verdict = Literal["ok", "warning", "failed", "not tried"]

PROBE_RUN: Final = "1"
"""A run id that does not exist: without permission the answer is AccessDenied, with it ResourceNotFound."""
PROBE_GROUP: Final = "1"
"""A run group that does not exist, for the same reason."""
PROBE_TASK: Final = "1"
"""A task that does not exist, for the same reason."""
PROBE_STREAM: Final = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/omics/WorkflowLog:log-stream:run/1/task/1"
"""The log of that task: who may read the logs of tasks hears that it is not there."""
PROBE_UUID: Final = "00000000-0000-0000-0000-000000000000"
"""Of no run: to look for its manifest shows whether it may be looked for."""
COSTS: Final = {
    "GetRun": "no run can be followed without it",
    "ListRuns": "nothing is discovered without it, and every run costs GetRun calls of its own",
    "GetLogEvents": "how a run ended that is gone before its end was seen stays unknown: it is told as vanished",
    "DescribeLogStreams": "the same for runs that no GetRun has ever shown",
    "ListRunTasks": "which task a run failed by stays unknown: why it failed is told by its own code alone",
    "GetRunTask": "why a task failed stays unknown, and with it why a run did whose own code does not say",
    "logs of tasks": "the lines that [diagnosis] log_lines asks for are left out",
    "GetRunGroup": "what the group of a run allows that is overdue in PENDING stays unknown",
}
SECONDS: Final = 30.0
"""Longest wait for one answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str = ""


async def check(
    *,
    config: ConfigPath = None,
    probe: Annotated[bool, Parameter(help="Also ask AWS, open the record, and reach out to every sink.")] = False,
    json: AsJson = False,
    aws: AwsOptions = NO_AWS,
    out: Out,
) -> ExitCode:
    """Say whether a configuration is right, line by line; with `--probe` also whether it would work here and now.

    Of several `[[watch]]` tables it says what each follows.

    `--probe` asks whose the credentials are, tries GetRun and ListRuns once each, looks whether manifests can be read
    in CloudWatch Logs, whether it can be asked why a run failed and, where a run can become overdue in PENDING, whether
    run groups can be asked about, opens the record (making it if there is none), and has each sink look whether it
    could send; it sends nothing. Exit codes: 0 all is well, perhaps with warnings; 1 something would not work; 2 the
    configuration is wrong.

    **Examples**

    `omics-poller check -c config.toml`

    `omics-poller check -c config.toml --probe`
    """
    from poller.app.build import configured_scopes
    from poller.store.opening import no_place

    loaded = load_configuration(config, aws)
    doubts = loaded.doubts(datetime.now(UTC))
    findings = [Finding("configuration", "ok", str(loaded.path))]
    findings += [Finding("configuration", "warning", text) for text in doubts]
    if not probe:
        if (problem := no_place(loaded.settings.store.url, directory=loaded.directory)) is not None:
            findings.append(Finding("record", "warning", f"{problem}; `run` would not start here"))
        findings += await _unmade(loaded)
    findings += _watches(loaded.settings)
    scopes: list[ConfiguredScope] = []
    try:
        scopes = configured_scopes(loaded.settings)
    except ConfigError as error:
        if probe:
            raise
        findings.append(Finding("configuration", "warning", f"{error}; `run` would not start here"))
    if probe:
        findings += await _probes(loaded, scopes)
    if json:
        for one in findings:
            out.document({"what": one.what, "verdict": one.verdict, "detail": one.detail or None})
    else:
        out.table(("", "What", "Detail"), ((one.verdict, one.what, one.detail) for one in findings))
    failed = sum(one.verdict == "failed" for one in findings)
    if failed:
        out.say(f"{failed} of {len(findings)} would not work")
    return ExitCode.ERROR if failed else ExitCode.OK


async def _unmade(loaded: "Loaded") -> list[Finding]:
    """The sinks that cannot be made here: a callable that is not there, a package that is not installed."""
    from poller.app.cli.configured_sinks import configured_sinks

    found = []
    async with configured_sinks(loaded) as opened:
        for sink in loaded.settings.sinks:
            try:
                async with opened(sink):
                    pass  # to be made is all: nothing is opened, and nothing is sent
            except ConfigError as error:
                found.append(Finding(f"sink {sink.name}", "warning", f"{error}; `run` would not start here"))
    return found


def _watches(settings: "Settings") -> list[Finding]:
    """What each `[[watch]]` follows, where there are several, or the only one costs more than it seems to."""
    from poller.settings.watched import followed

    if len(settings.watch) == 1 and not settings.watch[0].tags:
        return []
    several = len(settings.aws) > 1
    return [
        Finding(f"watch {number}{f' of {watch.aws}' if several else ''}", "ok", followed(watch))
        for number, watch in enumerate(settings.watch, start=1)
    ]


async def _probes(loaded: "Loaded", configured: "Sequence[ConfiguredScope]") -> list[Finding]:
    import anyio

    from poller.app.cli.configured_sinks import configured_sinks
    from poller.clock import SystemClock
    from poller.store.opening import open_store

    clock = SystemClock()
    scopes = [_Scope(*scope, loaded.settings.diagnosis) for scope in configured]
    async with anyio.create_task_group() as asking:  # one that does not answer keeps no other waiting
        for scope in scopes:
            asking.start_soon(scope.ask, clock)
    several = len(scopes) > 1
    findings = [
        replace(one, what=f"{one.what} of {scope.name}" if several else one.what)
        for scope in scopes
        for one in scope.findings
    ]
    findings += _twins(scopes)
    store = open_store(loaded.settings.store.url, directory=loaded.directory)
    try:
        findings.append(await _tried("record", lambda: _record(store), said=store.location))
    finally:
        await store.close()
    async with configured_sinks(loaded) as opened:
        for sink in loaded.settings.sinks:
            findings.append(await _tried(f"sink {sink.name}", partial(_sink, opened(sink)), said=sink.type))
    return findings


@dataclass(slots=True)
class _Scope:
    """One `[[aws]]`, and what asking it has shown."""

    name: str
    region: str
    aws: "AwsSettings"
    watches: "tuple[WatchSettings, ...]"
    diagnosis: "DiagnosisSettings"
    findings: list[Finding] = field(default_factory=list)
    account_id: str | None = None

    async def ask(self, clock: "Clock") -> None:
        """Credentials, then the permissions, each by using it once."""
        from poller.app.build import service_of

        service = service_of(self.aws, self.region, clock)
        try:
            if await self._credentials(service):
                await self._permissions(service)
                self.findings += await _manifests(service)
                self.findings += await _diagnosis(service, self.diagnosis)
                self.findings += await _groups(service, self.watches)
        finally:
            await service.close()

    async def _credentials(self, service: "HealthOmics") -> bool:
        """Whose they are; False if there is nothing to sign calls with."""
        where = f"in {self.region}"
        try:
            self.account_id = await _within(service.account())
        except Blind as error:
            self._found("credentials", "failed", f"{error}: no call {where} can be signed")
            return False
        except (TimeoutError, ServiceError) as error:
            self._found("credentials", "warning", f"whose they are cannot be asked: {_said(error)}")
        else:
            asked = f"account {self.account_id}, {where}" if self.account_id else "behind a custom endpoint: not asked"
            self._found("credentials", "ok" if self.account_id else "not tried", asked)
        return True

    async def _permissions(self, service: "HealthOmics") -> None:
        from poller.settings.texts import run_name

        named = [text for watch in self.watches for text in watch.run_ids]
        run_id = run_name(named[0]).run_id if named else PROBE_RUN
        for operation, call in (("GetRun", lambda: service.get_run(run_id)), ("ListRuns", lambda: service.list_runs())):
            try:
                answer = await _within(call())
            except RunGone:
                self._found(operation, "ok", "allowed" if not named else f"allowed; there is no run {run_id}")
            except Denied as error:
                grave = operation == "GetRun" or any(watch.discover for watch in self.watches)
                self._found(operation, "failed" if grave else "warning", f"{error}: {COSTS[operation]}")
            except (TimeoutError, ServiceError) as error:
                self._found(operation, "failed", _said(error))
            else:
                self._found(operation, "ok", "allowed")
                self.account_id = self.account_id or _account_in(answer)

    def _found(self, what: str, verdict: Verdict, detail: str) -> None:
        self.findings.append(Finding(what, verdict, detail))


def _account_in(answer: Any) -> str | None:
    """The account that the ARNs of an answer tell."""
    from poller.core.runs import RUN_ARN

    for snapshot in getattr(answer, "items", (answer,)):
        if (found := RUN_ARN.fullmatch(str(snapshot.fields.get("arn", "")))) is not None:
            return found["account"]
    return None


def _twins(scopes: "Sequence[_Scope]") -> list[Finding]:
    """Tables that lead to one account and region: what the daemon makes of them."""
    first: dict[tuple[str, str], str] = {}
    findings = []
    for scope in scopes:
        if scope.account_id is None:
            continue
        name = first.setdefault((scope.account_id, scope.region), scope.name)
        if name != scope.name:
            said = f"is account {scope.account_id}, {scope.region}, as {name} is: the daemon follows both as {name}"
            findings.append(Finding(f"scope {scope.name}", "warning", said))
    return findings


async def _freely(_: str) -> None:
    """One call of each kind is made, whatever the budgets."""


async def _manifests(service: "HealthOmics") -> list[Finding]:
    """Whether manifests can be read: a rung of the ladder that a run is gone without, so nothing here is a failure."""
    from poller.healthomics.service import NOT_ASKED

    found: list[Finding] = []
    for operation, uuid in (("GetLogEvents", PROBE_UUID), ("DescribeLogStreams", None)):
        cost = COSTS[operation]
        try:
            await _within(service.manifest(PROBE_RUN, uuid=uuid, spend=_freely))
        except Denied as error:
            if error.code == NOT_ASKED:
                hint = "set [aws] logs_endpoint_url or AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"
                return [Finding("manifests", "not tried", f"{error.message}; {hint}: {cost}")]
            found.append(Finding(operation, "warning", f"{error}: {cost}"))
        except (TimeoutError, ServiceError) as error:
            found.append(Finding(operation, "warning", f"{_said(error)}: {cost}"))
        else:
            found.append(Finding(operation, "ok", "allowed"))
    return found


async def _groups(service: "HealthOmics", watches: "Sequence[WatchSettings]") -> list[Finding]:
    """Whether run groups can be asked about, where a run can become overdue in PENDING: the event goes without it."""
    from poller.app.build import terms_of

    operation = "GetRunGroup"
    if not terms_of(watches).are_about("PENDING"):
        return []
    group = next((group for watch in watches for group in watch.run_group_ids), PROBE_GROUP)
    try:
        await _within(service.get_run_group(group))
    except BadRequest:
        return [Finding(operation, "ok", "allowed")]  # there is no such group, which only those hear who may ask
    except (TimeoutError, ServiceError) as error:
        return [Finding(operation, "warning", f"{_said(error)}: {COSTS[operation]}")]
    return [Finding(operation, "ok", "allowed")]


async def _diagnosis(service: "HealthOmics", settings: "DiagnosisSettings") -> list[Finding]:
    """Whether it can be asked why a run failed, where that is wanted: the event goes with what is known."""
    from poller.healthomics.service import NOT_ASKED

    asked: dict[str, Callable[[], Awaitable[object]]] = {}
    if settings.enabled:
        asked["ListRunTasks"] = lambda: service.list_failed_tasks(PROBE_RUN)
        asked["GetRunTask"] = lambda: service.get_run_task(PROBE_RUN, PROBE_TASK)
    if settings.log_lines:
        asked["logs of tasks"] = lambda: service.last_log_lines(PROBE_STREAM, 1, spend=_freely)
    found = []
    for what, ask in asked.items():
        try:
            await _within(ask())
        except RunGone:
            found.append(Finding(what, "ok", "allowed"))  # there is no such run, which only those hear who may ask
        except TimeoutError as error:
            found.append(Finding(what, "warning", f"{_said(error)}: {COSTS[what]}"))
        except ServiceError as error:
            untried = error.code == NOT_ASKED
            said = error.message if untried else str(error)
            found.append(Finding(what, "not tried" if untried else "warning", f"{said}: {COSTS[what]}"))
        else:
            found.append(Finding(what, "ok", "allowed"))
    return found


async def _record(store: "Store") -> str | None:
    """Open it, and write what changes nothing."""
    await store.open()
    await store.drop_watch("", "0")
    return None


async def _sink(opening: "AbstractAsyncContextManager[Sink]") -> str | None:
    """Probe it. Raises: SinkError, with whatever a sink raises, which may be somebody else's."""
    try:
        async with opening as sink:
            ask: Callable[[], Awaitable[str | None]] | None = getattr(sink, "probe", None)
            return "has nothing to try" if ask is None else await ask()
    except Exception as error:
        raise SinkError(_said(error)) from error


async def _tried(what: str, attempt: Callable[[], Awaitable[str | None]], *, said: str) -> Finding:
    """How an attempt went; it may say what it left untried."""
    try:
        untried = await _within(attempt())
    except (PollerError, TimeoutError) as error:
        return Finding(what, "failed", f"{said}: {_said(error)}")
    return Finding(what, "not tried" if untried else "ok", f"{said}: {untried}" if untried else said)


def _said(error: Exception) -> str:
    """What went wrong, in words."""
    return str(error) or ("timed out" if isinstance(error, TimeoutError) else type(error).__name__)


async def _within(answer: Awaitable[Any]) -> Any:
    """The answer. Raises: TimeoutError that names this limit, which is not that of the sink or of the service."""
    import anyio

    with anyio.move_on_after(SECONDS):
        return await answer
    raise TimeoutError(f"no answer within {SECONDS:g} s")
