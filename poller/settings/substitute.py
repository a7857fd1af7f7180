"""`${VAR}` and `${file:path}` in the texts of a configuration.

`${VAR}` is a variable of the environment, `${file:path}` the content of a file without its last line end, for secrets
that are mounted as files; a path is relative to the configuration file. `$${` stands for a literal `${`, and every
other `$` for itself. What was put in is not searched again, and is remembered by its place: no message may show it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from poller.settings.lines import KeyPath
from poller.settings.problems import Problem

LARGEST_FILE: Final = 64 * 1024
"""Of a `${file:…}`: a secret is short, and a device never ends."""

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<body>[^{}]*)\}|\$\{")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_WORD: Final = re.compile(r"secret|token|passw|pwd|key|credential|auth|signature|bearer|private", re.IGNORECASE)


@dataclass(slots=True)
class Substituted:
    """The data with every reference replaced. `values` are what was put in, by the path of the text around it."""

    data: Any
    problems: list[Problem] = field(default_factory=list)
    values: dict[KeyPath, list[str]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


def looks_secret(name: str) -> bool:
    """Whether a variable or key of this name most likely holds a secret."""
    return bool(_SECRET_WORD.search(name))


def substitute(data: Mapping[str, Any], environ: Mapping[str, str], directory: Path) -> Substituted:
    """Replace the references in every text of `data`; a text with a reference that fails stays as it is."""
    result = Substituted(None)
    result.data = _walk(data, (), environ, directory, result)
    return result


def _walk(value: Any, path: KeyPath, environ: Mapping[str, str], directory: Path, result: Substituted) -> Any:
    if isinstance(value, Mapping):
        return {key: _walk(item, (*path, key), environ, directory, result) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, (*path, index), environ, directory, result) for index, item in enumerate(value)]
    if isinstance(value, str) and "${" in value:
        return _replace(value, path, environ, directory, result)
    return value


def _replace(text: str, path: KeyPath, environ: Mapping[str, str], directory: Path, result: Substituted) -> str:
    failures: list[str] = []

    def put_in(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        body = found["body"]
        try:
            value, secret = _value_of(body, environ, directory)
        except LookupError as failure:
            failures.append(str(failure.args[0]))
            return found[0]
        if value:
            result.values.setdefault(path, []).append(value)
            if secret:
                result.secrets.append(value)
        return value

    replaced = _REFERENCE.sub(put_in, text)
    result.problems += [Problem(path, failure) for failure in failures]
    return text if failures else replaced


def _value_of(body: str | None, environ: Mapping[str, str], directory: Path) -> tuple[str, bool]:
    """What a reference stands for, and whether it is to be kept secret.

    Raises: LookupError with the sentence that says why there is nothing to put in.
    """
    if body is None:
        raise LookupError("a ${ is not closed by }; write $${ for a literal ${")
    if body.startswith("file:"):
        return _content(body.removeprefix("file:").strip(), directory), True
    if not _VARIABLE.fullmatch(body):
        raise LookupError(
            "expected ${VARIABLE} or ${file:path}, and found something else in ${…}; write $${ for a literal ${"
        )
    if body not in environ:
        raise LookupError(f"the environment variable {body} is not set")
    return environ[body], looks_secret(body)


def _content(name: str, directory: Path) -> str:
    if not name:
        raise LookupError("${file:} names no file")
    try:
        with (directory / Path(name).expanduser()).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise LookupError(f"the file {name} cannot be read: {reason}") from None
    if len(content) > LARGEST_FILE:
        raise LookupError(f"the file {name} is larger than {LARGEST_FILE // 1024} KiB, which is no secret")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise LookupError(f"the file {name} is not UTF-8 text") from None
