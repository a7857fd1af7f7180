"""A message as Slack draws it: blocks for who looks, and a line of text for notifications. Pure.

Limits: Slack's Block Kit reference (a text object has up to 3,000 characters, a field 2,000, a section ten fields), and
some 13,000 in all, which no page says. What stands in angle brackets means something to Slack, so all text is escaped.
"""

from typing import Any, Final

from poller.core.events import Event
from poller.sinks.messages import Message, Mood, message_of

TITLE: Final = 1000
FIELD: Final = 900
"""Characters of a title and of a fact after escaping: ten of these and a title stay below all of Slack's limits."""
MOST_FACTS: Final = 10
_SIGN: Final[dict[Mood, str]] = {"good": ":large_green_circle:", "bad": ":red_circle:", "news": ":white_circle:"}
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def payload_of(event: Event) -> dict[str, Any]:
    """What is posted for an event: `text` and `blocks`."""
    message = message_of(event)
    title = escaped(message.title, TITLE)
    blocks: list[dict[str, Any]] = [_section(f"{_SIGN[message.mood]} *{_linked(title, message.link)}*")]
    if message.facts:
        blocks.append({"type": "section", "fields": _fields(message)})
    blocks.append({"type": "context", "elements": [_markdown(escaped(f"{event.type}  {event.id}", FIELD))]})
    return {"text": title, "blocks": blocks}


def root_payload(title: str) -> dict[str, Any]:
    """The first message of a thread."""
    shown = escaped(title, TITLE)
    told = _markdown("What happens to its runs is told in this thread.")
    return {"text": shown, "blocks": [_section(f"*{shown}*"), {"type": "context", "elements": [told]}]}


def escaped(text: str, longest: int) -> str:
    """Text in which nothing means anything to Slack, of so many characters at most; what is cut ends in an ellipsis."""
    signs = [_ESCAPES.get(sign, sign) for sign in text]
    if sum(map(len, signs)) <= longest:
        return "".join(signs)
    kept, length = [], 1
    for sign in signs:
        length += len(sign)
        if length > longest:
            break
        kept.append(sign)
    return "".join(kept) + "…"


def _linked(title: str, link: str | None) -> str:
    return title if link is None else f"<{escaped(link.replace('|', '%7C'), TITLE)}|{title}>"


def _fields(message: Message) -> list[dict[str, Any]]:
    return [
        _markdown(f"*{escaped(fact.label, FIELD)}*\n{escaped(fact.text, FIELD)}") for fact in message.facts[:MOST_FACTS]
    ]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _markdown(text)}


def _markdown(text: str) -> dict[str, Any]:
    """`verbatim`: Slack makes links of nothing that only looks like one."""
    return {"type": "mrkdwn", "verbatim": True, "text": text}
