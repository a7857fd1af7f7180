"""A receipt as people read it, and as programs do. Pure."""

from collections.abc import Mapping
from typing import Final

from poller.app.cli.output import printable
from poller.app.receiver.receiving import Receipt, Tally
from poller.core.events import short_type, stamp
from poller.core.excerpts import MASK
from poller.core.runs import Json
from poller.settings.substitute import looks_secret

LONGEST: Final = 160
"""Characters of one thing in a line: a sender may write anything into a header."""
SHOWN_ALL_THE_SAME: Final = frozenset({"webhook-signature"})
"""Headers that are no secret, though their names sound like one."""


def line_of(receipt: Receipt) -> str:
    """A receipt in one line: when, what became of it, the event, its id; and what is remarkable of it."""
    columns = [f"{receipt.at:%H:%M:%S}", f"{receipt.verdict:<8}", str(receipt.status)]
    if receipt.message is not None:
        columns += _content(receipt)
    if receipt.webhook_id is not None:
        columns.append(receipt.webhook_id)
    columns += _remarks(receipt)
    return printable("  ".join(map(_shortened, columns))).rstrip()


def document_of(receipt: Receipt) -> dict[str, Json]:
    """A receipt as a JSON document. Headers that look like a secret are masked."""
    message = receipt.message
    event = message.event if message is not None else None
    return {
        "at": stamp(receipt.at),
        "verdict": receipt.verdict,
        "status": receipt.status,
        "reason": receipt.reason,
        "method": receipt.method,
        "path": receipt.path,
        "webhook_id": receipt.webhook_id,
        "attempt": receipt.attempt,
        "changed": receipt.changed,
        "replay_id": receipt.replay_id,
        "secret": receipt.secret,
        "mode": message.mode if message is not None else None,
        "headers": masked(receipt.headers),
        "event": dict(event) if event is not None else None,
        "body": message.content if message is not None and event is None else None,
    }


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case, without what may be a secret."""
    return {
        name: MASK if name == "cookie" or (looks_secret(name) and name not in SHOWN_ALL_THE_SAME) else value
        for name, value in ((name.lower(), value) for name, value in headers.items())
    }


def summary_of(tally: Tally) -> list[str]:
    """What came in all: the verdicts, why some were refused, and the types of what was accepted."""
    total = tally.verdicts.total()
    parts = [f"{tally.verdicts[verdict]} {verdict}" for verdict in ("accepted", "repeated", "failed", "refused")]
    lines = [f"{total} request{'' if total == 1 else 's'}: {', '.join(part for part in parts if part[:2] != '0 ')}"]
    if not total:
        lines = ["nothing came"]
    if tally.causes:
        lines.append("refused: " + ", ".join(f"{number} {cause}" for cause, number in tally.causes.most_common()))
    if tally.types:
        lines.append(
            "accepted: " + ", ".join(f"{count} {short_type(name)}" for name, count in tally.types.most_common())
        )
    return lines


def _content(receipt: Receipt) -> list[str]:
    message = receipt.message
    assert message is not None
    if message.event is None:
        return [f"{'raw':<16}", f"{len(message.body)} bytes of {message.content_type or 'no content type'}"]
    columns = [f"{short_type(message.attribute('type') or ''):<16}", message.attribute("subject") or "-"]
    columns += [name] if (name := message.datum("name")) else []
    columns += [f"sequence {int(number)}"] if (number := message.attribute("sequence") or "").isdecimal() else []
    return columns


def _shortened(column: str) -> str:
    return column if len(column) <= LONGEST else column[:LONGEST] + "…"


def _remarks(receipt: Receipt) -> list[str]:
    """In brackets, one by one."""
    remarks = []
    if receipt.attempt > 1:
        remarks.append(f"attempt {receipt.attempt}")
    if receipt.changed:
        remarks.append("ITS CONTENT WAS ANOTHER ONE BEFORE")
    if receipt.replay_id is not None:
        remarks.append(f"replay {receipt.replay_id}")
    if receipt.secret is not None and receipt.secret > 1:
        remarks.append(f"signed with secret {receipt.secret}")
    if receipt.message is not None and receipt.message.mode == "binary":
        remarks.append("binary mode")
    if receipt.message is not None and receipt.message.problem is not None:
        remarks.append(receipt.message.problem)
    if receipt.verdict == "refused" and receipt.path != "/":
        remarks.append(receipt.path)
    return [*(f"({remark})" for remark in remarks), *([receipt.reason] if receipt.reason else [])]
