"""`omics-poller`: reads the command line, runs one command, and says what went wrong in one line.

Commands are named by "module:function" and imported when they are called, so that `--help` costs a fraction of a
second. What a command raises is mapped to its exit code here, and nowhere else.
"""

import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Final, cast

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError

from poller.app.cli.exits import ExitCode
from poller.app.cli.output import Output
from poller.core.errors import ConfigError, PollerError, StoreRefused
from poller.version import __version__

DEBUG: Final = "--debug"

_HELP: Final = """\
Follows AWS HealthOmics runs, and tells people and programs the moment something happens to one.

Try it with nothing configured: `omics-poller demo`. Wait for a run: `omics-poller watch 1234567`.
Follow all runs: `omics-poller init`, then `omics-poller run -c config.toml`.
"""
_EPILOGUE: Final = (
    "Each command has its own --help, with examples. --debug, with any command, shows what happens inside, on stderr.\n"
    "Exit codes: 0 done, 1 error, 2 wrong usage or configuration; those of `watch` are in its help."
)

_GROUPS: Final = {
    "Start": {
        "demo": "See it all at work on this machine, with nothing configured.",
        "watch": "Follow runs to their end; the exit code says how they ended.",
        "init": "Write a first configuration.",
        "check": "Say whether a configuration is right, and whether it would work.",
        "run": "Run the daemon.",
    },
    "Beside the daemon": {
        "add": "Follow more runs.",
        "remove": "Follow runs no more.",
        "runs": "List the runs on record.",
        "show": "Show all that is known of a run.",
        "explain": "Say how the account is asked, what that costs, and how soon it knows.",
        "events": "Read the events on record, or follow them.",
        "deliveries": "Read what is owed to the sinks, was sent, or is dead; move it to another sink.",
        "replay": "Send events again.",
        "route": "Say which sinks get an event, and why not the others.",
        "sinks": "List the sinks; pause one, or have it go on.",
        "forget": "Erase a run's data.",
    },
    "Tools": {
        "render": "Show what a sink would send.",
        "send-test": "Send a sample event of each kind to a sink.",
        "listen": "Receive webhooks on a port, verify and show them.",
        "emulator": "Serve an emulated HealthOmics.",
        "schema": "Print the JSON Schema of events, or of the configuration.",
    },
}


_WITH_COMMANDS: Final = frozenset({"deliveries", "sinks"})
"""Commands that have commands of their own: their modules hold an `App`, which says all of itself."""


def make_app(chosen: str | None = None) -> App:
    """The command line: what there is, not what it does. The help of a command that is `chosen` is its docstring."""
    app = App(
        name="omics-poller",
        help=_HELP,
        help_epilogue=_EPILOGUE,
        version=__version__,
        default_parameter=Parameter(negative=(), show_default=False),
        result_action="return_value",
        help_format="markdown",
    )
    for place, (group, commands) in enumerate(_GROUPS.items()):
        listed = Group(group, sort_key=place)
        for number, (name, summary) in enumerate(commands.items()):
            module = name.replace("-", "_")
            path = f"poller.app.cli.commands.{module}:{module}"
            options = {} if name == chosen else {"help": summary}
            if name not in _WITH_COMMANDS:
                options["help_epilogue"] = ""
            app.command(path, name=name, group=listed, sort_key=number, **options)
    app.register_install_completion_command()
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own by default); the exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = _take_debug(tokens)
    out = Output()
    try:
        return int(_dispatch(tokens, out, debug=debug))
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BaseException as error:  # noqa: BLE001 - nobody above this frame: people get one line and an exit code, and --debug the trace
        if debug and isinstance(error, Exception):
            _trace(error)
        return int(_explain(error, out))
    finally:
        out.quiet()


def _take_debug(tokens: list[str]) -> bool:
    """Whether --debug was given; it is taken out, wherever it stood before a `--`."""
    end = tokens.index("--") if "--" in tokens else len(tokens)
    given = DEBUG in tokens[:end]
    tokens[:end] = [token for token in tokens[:end] if token != DEBUG]
    return given


def _dispatch(tokens: list[str], out: Output, *, debug: bool) -> ExitCode:
    app = make_app(next(iter(tokens), None))
    function, bound, hidden = app.parse_args(tokens, exit_on_error=False, print_error=False)
    given = dict.fromkeys((name for name, kind in hidden.items() if kind is Output), out)
    call = partial(function, *bound.args, **bound.kwargs, **given)
    if "out" not in given:  # --help, --version, completion: of cyclopts itself
        result = call()
        return ExitCode(result) if isinstance(result, int) else ExitCode.OK
    from poller.app.cli.running import run_command

    return run_command(cast(Callable[[], Coroutine[Any, Any, ExitCode]], call), name=tokens[0], debug=debug)


def _explain(error: BaseException, out: Output) -> ExitCode:
    """Say what went wrong, in one line where one will do; the exit code of it."""
    for one in _leaves(error):
        match one:
            case SystemExit():
                return ExitCode(one.code) if isinstance(one.code, int) else ExitCode.ERROR
            case KeyboardInterrupt():
                return ExitCode.INTERRUPTED
            case BrokenPipeError():
                return ExitCode.NO_READER
            case CycloptsError():
                out.say(f"omics-poller: {_of_usage(one)}")
                return ExitCode.USAGE
            case ConfigError():
                out.say(f"omics-poller: {one}")
                return ExitCode.USAGE
            case StoreRefused():
                out.say(f"omics-poller: {one}")
                return ExitCode(one.exit_code)
            case PollerError():
                out.say(f"omics-poller: {one}")
                return ExitCode.ERROR
            case OSError():
                out.say(f"omics-poller: {one.strerror or one}{f': {one.filename}' if one.filename else ''}")
                return ExitCode.ERROR
    first = next(_leaves(error))
    said = " ".join(str(first).split())[:300]
    out.say(f"omics-poller: unexpected {type(first).__name__}: {said} (this is a bug; {DEBUG} shows where)")
    return ExitCode.ERROR


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The error, or those of a group."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _of_usage(error: CycloptsError) -> str:
    """What cyclopts found wrong, and where to read on."""
    said = " ".join(str(error).split()).partition(" Available commands:")[0]
    if isinstance(error, UnusedCliTokensError):
        said = f"unexpected {', '.join(error.unused_tokens or ())}{_meant(error)}"
    chain = " ".join(["omics-poller", *(error.command_chain or ())])
    return f"{said.rstrip('.')} (see `{chain} --help`)"


def _meant(error: UnusedCliTokensError) -> str:
    """The command that the first word too many most likely means, of those that have commands of their own."""
    from difflib import get_close_matches

    tokens, chain = error.unused_tokens or (), error.command_chain or ()
    if not tokens or len(chain) != 1 or chain[0] not in _WITH_COMMANDS:
        return ""
    near = get_close_matches(tokens[0], make_app(chain[0])[chain[0]], n=1)
    return f"; did you mean `omics-poller {chain[0]} {near[0]}`?" if near else ""


def _trace(error: Exception) -> None:
    import structlog

    structlog.get_logger("poller.cli").error("command.failed", exc_info=error)
