"""What texts in the configuration may say, and mean: names of runs and batches, addresses."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from poller.core.runs import RUN_ARN, RUN_ID, RunName


def run_name(text: str) -> RunName:
    """Read `1234567`, `scope:1234567` or a run's ARN.

    Raises: ValueError, saying what is expected, if it is none of these.
    """
    if arn := RUN_ARN.fullmatch(text):
        return RunName(arn["id"], region=arn["region"], account_id=arn["account"])
    scope, colon, run_id = text.rpartition(":")
    if RUN_ID.fullmatch(run_id) and bool(scope) == bool(colon) and not scope.startswith("arn:"):
        return RunName(run_id, scope=scope or None)
    raise ValueError("expected a run id of 1 to 18 digits, scope:id, or the ARN of a run")


def _run_name(text: str) -> str:
    run_name(text)
    return text


def _batch_id(text: str) -> str:
    if not RUN_ID.fullmatch(text):
        raise ValueError("expected a batch id of 1 to 18 digits")
    return text


def _http_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+([/?#]\S*)?", text):
        raise ValueError("expected an address that begins with http:// or https://")
    try:
        _ = urlsplit(text).port
    except ValueError:
        raise ValueError("expected a port of at most five digits, up to 65535, after the host") from None
    return text


def _store_url(text: str) -> str:
    scheme = text.partition(":")[0]
    if scheme not in ("sqlite", "postgresql"):
        raise ValueError("expected sqlite:///file.db (relative to this file) or sqlite:////absolute/file.db")
    if scheme == "sqlite" and not re.fullmatch(r"sqlite://(/[^?#\s]([^?#]*[^?#\s])?)?", text):
        raise ValueError("expected sqlite:/// and the path of a file, such as sqlite:///omics-poller.db")
    return text


def _listen(text: str) -> str:
    address(text)
    return text


def address(text: str) -> tuple[str, int] | None:
    """Host and port of a `listen`; None if it is empty.  Raises: ValueError if it is none."""
    if not text:
        return None
    found = re.fullmatch(r"(?:\[(?P<six>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\s:\[\]/]*)):(?P<port>\d{1,5})", text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError('expected host:port such as "127.0.0.1:8780", or "" for no HTTP server')
    return found["six"] or found["host"] or "0.0.0.0", int(found["port"])  # noqa: S104 - only where the operator wrote `:8780`; the default is loopback


HttpUrl = Annotated[str, AfterValidator(_http_url)]
RunText = Annotated[str, AfterValidator(_run_name)]
BatchId = Annotated[str, AfterValidator(_batch_id)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
Listen = Annotated[str, AfterValidator(_listen)]
