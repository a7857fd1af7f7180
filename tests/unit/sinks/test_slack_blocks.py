"""What Slack draws: nothing of ours means anything to it, and nothing is longer than it takes."""

import json
from typing import Any

import pytest

from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.sinks.slack_blocks import escaped, payload_of, root_payload


def test_a_run_that_failed() -> None:
    event = sample_event("failed").without(["tags", "status_message"])
    link = "https://us-east-1.console.aws.amazon.com/omics/home?region=us-east-1#/runs/1234567"
    payload = payload_of(event)
    assert payload["text"] == "Run sample-42 (1234567) failed"
    first, second, third = payload["blocks"]
    assert first == {
        "type": "section",
        "text": {
            "type": "mrkdwn",
            "verbatim": True,
            "text": f":red_circle: *<{link}|Run sample-42 (1234567) failed>*",
        },
    }
    assert second["type"] == "section"
    assert [field["text"] for field in second["fields"]][:4] == [
        "*When*\n2026-11-23 08:15:00 UTC",
        "*Before*\nRUNNING",
        "*Ran for*\n1 h 30 min",
        "*Reason*\nRUN_TASK_FAILED",
    ]
    assert third == {
        "type": "context",
        "elements": [{"type": "mrkdwn", "verbatim": True, "text": f"healthomics.run.failed  {event.id}"}],
    }


def test_text_of_ours_calls_nobody_and_links_nowhere() -> None:
    name = "<!channel> & <https://evil.example|click>"
    payload = payload_of(sample_event("failed", name=name, console_url=None))
    said = "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"
    assert payload["text"] == f"Run {said} (1234567) failed"
    assert "<" not in json.dumps(payload)
    linked = payload_of(sample_event("failed", console_url="https://x.example/?a=1&b=<|>"))["blocks"][0]["text"]["text"]
    assert linked.startswith(":red_circle: *<https://x.example/?a=1&amp;b=&lt;%7C&gt;|Run ")
    assert root_payload("Batch <1>")["text"] == "Batch &lt;1&gt;"


@pytest.mark.parametrize("letter", ["x", "&", "é", "𝄞"])
@pytest.mark.parametrize("kind", SAMPLE_TYPES)
def test_nothing_is_longer_than_slack_takes(kind: str, letter: str) -> None:
    long = letter * 20_000
    fields = {"failed": ("name", "status_message", "failure_reason", "workflow_name"), "blind": ("detail", "cause")}
    known = fields.get(kind.rpartition(".")[2], ()) if "batch" not in kind else ("name", "failure_reason")
    overrides: dict[str, Any] = dict.fromkeys(known, long)
    payload = payload_of(sample_event(kind, **overrides))
    sections = [block for block in payload["blocks"] if block["type"] == "section"]
    assert len(payload["blocks"]) <= 50
    assert all(1 <= len(section["text"]["text"]) <= 3000 for section in sections if "text" in section)
    assert all(len(field["text"]) <= 2000 for section in sections for field in section.get("fields", ()))
    assert all(len(section.get("fields", ())) <= 10 for section in sections)
    texts = [section["text"]["text"] for section in sections if "text" in section]
    assert sum(map(len, texts)) + sum(len(f["text"]) for s in sections for f in s.get("fields", ())) < 13_000
    assert len(payload["text"]) <= 3000


def test_what_is_cut_ends_in_an_ellipsis_and_in_no_half_of_an_escape() -> None:
    assert escaped("a & b", 100) == "a &amp; b"
    assert escaped("ab", 2) == "ab"
    assert escaped("abc", 2) == "a…"
    assert escaped("a&&&", 8) == "a&amp;…"
