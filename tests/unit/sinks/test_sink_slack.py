"""Slack: what its answers mean, threads, and which settings fit together. Delivery: tests/conformance/test_sinks.py."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest
from aiohttp import web
from pydantic import ValidationError

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.samples import sample_event
from poller.sinks.slack import HINTS, POISON, SlackSettings, SlackSink
from poller.sinks.toolbox import Tools
from tests.conformance.chat_far_ends import BOT_TOKEN, SlackApi
from tests.unit.sinks.failing import EVENT, failure
from tests.unit.sinks.test_sink_webhook import answering, server

WORDS = "Batch 7123456 of 123456789012, us-east-1"
OF_A_BATCH = [sample_event("failed", run_id=str(number), batch_id="7123456") for number in (1, 2)]


def webhook(url: str, tools: Tools) -> SlackSink:
    return SlackSink(SlackSettings.model_validate({"name": "chat", "type": "slack", "url": url}), tools)


@asynccontextmanager
async def bot(tools: Tools, **keys: Any) -> AsyncIterator[tuple[SlackSink, SlackApi]]:
    api = SlackApi()
    async with api.serving():
        yield bot_at(api, tools, **keys), api


def bot_at(api: SlackApi, tools: Tools, **keys: Any) -> SlackSink:
    table = {"name": "chat", "type": "slack", "token": BOT_TOKEN, "channel": "C1", "api_url": f"{api.url}api/"}
    return SlackSink(SlackSettings.model_validate(table | keys), tools)


# an incoming webhook


async def test_a_webhook_gets_the_message_and_no_token(tools: Tools) -> None:
    async with answering(200, "ok") as (url, got):
        await webhook(url, tools).send([EVENT])
    ((request, body),) = got
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert "authorization" not in request.headers
    assert json.loads(body)["text"] == "Run sample-42 (1234567) failed"
    assert json.loads(body).keys() == {"text", "blocks"}


@pytest.mark.parametrize("word", ["invalid_payload", "invalid_blocks", "no_text"])
async def test_a_message_that_slack_calls_malformed_is_rejected(word: str, tools: Tools) -> None:
    async with answering(400, word) as (url, _):
        error = await failure(webhook(url, tools))
    assert isinstance(error, Rejected)
    assert error.reason.endswith(f"answered 400: {word}")


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "user_not_found"),
        (403, "action_prohibited"),
        (403, "invalid_token"),
        (404, "no_service"),
        (404, "channel_not_found"),
        (410, "channel_is_archived"),
        (500, "rollup_error"),
        (502, "<html>"),
        (302, ""),
    ],
)
async def test_what_is_about_the_channel_or_the_moment_is_tried_again(status: int, word: str, tools: Tools) -> None:
    """Also 410 and 404, which of other webhooks would be for good: a person takes the channel out of the archive."""
    async with answering(status, word) as (url, _):
        error = await failure(webhook(url, tools))
    assert isinstance(error, Retry)
    assert f"answered {status}" in str(error)
    assert HINTS.get(word, "") in str(error)


async def test_a_message_that_is_too_large_for_the_server_is_rejected(tools: Tools) -> None:
    async with answering(413, "<html>Payload Too Large</html>") as (url, _):
        assert isinstance(await failure(webhook(url, tools)), Rejected)


async def test_retry_after_is_obeyed(tools: Tools) -> None:
    async with answering(429, "rate_limited", {"Retry-After": "30"}) as (url, _):
        error = await failure(webhook(url, tools))
    assert isinstance(error, Retry)
    assert (error.after, error.crowded) == (timedelta(seconds=30), True)


async def test_no_error_shows_the_webhook(tools: Tools) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=404, text=f"no_service at {request.url}")

    async with server(echo) as url:
        error = await failure(webhook(url.partition("/hooks")[0] + "/services/T0/B0/s3cr3t", tools))
    assert "s3cr3t" not in str(error)
    assert "no_service at" in str(error)


async def test_a_probe_of_a_webhook_sends_nothing_and_does_not_say_that_it_is_good(tools: Tools) -> None:
    async with answering(404) as (url, got):
        remark = await webhook(url, tools).probe()
    assert [(request.method, request.path_qs) for request, _ in got] == [("GET", "/")]
    assert remark is not None
    assert remark.endswith("answers; whether the webhook is good only a message shows")


# a bot


async def test_a_bot_posts_to_its_channel_with_the_id_of_the_event(tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        await sink.send([Event(EVENT.body, replay="r-1")])
    (posted,) = api.posted
    assert posted["channel"] == "C1"
    assert posted["text"] == "Run sample-42 (1234567) failed"
    assert posted["metadata"] == {
        "event_type": "healthomics_event",
        "event_payload": {"id": EVENT.id, "type": "healthomics.run.failed", "replay_id": "r-1"},
    }
    assert "thread_ts" not in posted


async def test_what_belongs_to_a_batch_is_one_thread_and_the_end_of_the_batch_is_seen_outside(tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        await sink.send(OF_A_BATCH)
        await sink.send([sample_event("batch.stopping"), sample_event("batch.processed"), EVENT])
    root, one, two, stopping, processed, alone = api.posted
    assert root["text"] == "Batch 7123456 of 123456789012, us-east-1"
    assert "thread_ts" not in root
    assert {reply["thread_ts"] for reply in (one, two, stopping, processed)} == {root["ts"]}
    assert [bool(reply.get("reply_broadcast")) for reply in (one, two, stopping, processed)] == [0, 0, 0, 1]
    assert "thread_ts" not in alone


async def test_a_cohort_is_one_thread_and_its_end_is_seen_outside(tools: Tools) -> None:
    """Also of runs whose tags are left out, which may be what the cohort goes by."""
    runs = [sample_event("failed", run_id=str(number), cohorts=["plate-7"]).without(["tags"]) for number in (1, 2)]
    async with bot(tools) as (sink, api):
        await sink.send([*runs, sample_event("cohort.finished", cohort="plate-7"), EVENT])
    root, one, two, finished, alone = api.posted
    assert root["text"] == "Cohort plate-7"
    assert {reply["thread_ts"] for reply in (one, two, finished)} == {root["ts"]}
    assert [bool(reply.get("reply_broadcast")) for reply in (one, two, finished)] == [0, 0, 1]
    assert "thread_ts" not in alone


async def test_sends_at_the_same_time_begin_one_thread(tools: Tools) -> None:
    async with bot(tools) as (sink, api), anyio.create_task_group() as sending:
        for number in range(8):
            sending.start_soon(sink.send, [sample_event(run_id=str(number), batch_id="7")])
    assert [post["text"] for post in api.posted].count("Batch 7 of 123456789012, us-east-1") == 1
    assert {post["thread_ts"] for post in api.posted[1:]} == {api.posted[0]["ts"]}


async def test_a_restart_goes_on_in_the_thread(tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        await sink.send(OF_A_BATCH[:1])
        await bot_at(api, tools).send(OF_A_BATCH[1:])
        await bot_at(api, tools, threads_file="elsewhere.json").send(OF_A_BATCH[1:])
    root, one, two, new_root, three = api.posted
    assert one["thread_ts"] == two["thread_ts"] == root["ts"]
    assert three["thread_ts"] == new_root["ts"]
    assert (tools.directory / "chat.threads.json").is_file()
    assert (tools.directory / "elsewhere.json").is_file()


@pytest.mark.parametrize("word", ["thread_not_found", "cannot_reply_to_message"])
async def test_a_thread_whose_first_message_is_gone_begins_anew(word: str, tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        await sink.send(OF_A_BATCH[:1])
        api.refuses = {api.posted[0]["ts"]: word}
        await sink.send(OF_A_BATCH[1:])
        await bot_at(api, tools).send(OF_A_BATCH[:1])
    root, _, new_root, two, three = api.posted
    assert root["text"] == new_root["text"]
    assert two["thread_ts"] == three["thread_ts"] == new_root["ts"]


async def test_sends_that_find_the_first_message_gone_at_once_begin_one_thread_anew(tools: Tools) -> None:
    async with bot(tools, concurrency=4) as (sink, api):
        await sink.send(OF_A_BATCH[:1])
        api.refuses = {api.posted[0]["ts"]: "thread_not_found"}
        async with anyio.create_task_group() as sending:
            for number in range(4):
                sending.start_soon(sink.send, [sample_event(run_id=str(number), batch_id="7123456")])
    assert [post["text"] for post in api.posted].count(WORDS) == 2
    assert {post["thread_ts"] for post in api.posted[3:]} == {api.posted[2]["ts"]}


async def test_a_thread_that_can_never_be_replied_to_is_tried_again_later(tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        api.refuses = {f"1700000000.{number:06}": "thread_locked" for number in range(10)}
        error = await failure(sink, OF_A_BATCH[0])
    assert isinstance(error, Retry)
    assert len(api.posted) == 1, "not one new thread after the other"


async def test_the_address_of_the_api_may_end_without_a_slash(tools: Tools) -> None:
    async with bot(tools) as (_, api):
        await bot_at(api, tools, api_url=f"{api.url}api").send([EVENT])
    assert len(api.posted) == 1


async def test_threads_by_something_else_or_none(tools: Tools) -> None:
    async with bot(tools, thread_by="run_group_id") as (sink, api):
        await sink.send([EVENT])
    assert api.posted[0]["text"] == "Run group 2345678 of 123456789012, us-east-1"
    async with bot(tools, thread_by="none") as (sink, api):
        await sink.send(OF_A_BATCH)
    assert len(api.posted) == 2


@pytest.mark.parametrize("word", sorted(POISON))
async def test_what_the_api_calls_malformed_is_rejected(word: str, tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        api.refuses = {"all": word}
        assert isinstance(await failure(sink), Rejected)


@pytest.mark.parametrize("word", ["channel_not_found", "not_in_channel", "is_archived", "invalid_auth", "odd_word"])
async def test_what_a_person_mends_is_tried_again_and_says_how(word: str, tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        api.refuses = {"all": word}
        error = await failure(sink)
    assert isinstance(error, Retry)
    assert f"answered 200: {word}" in str(error)
    assert HINTS.get(word, "") in str(error)


async def test_the_api_says_when_to_come_back(tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        api.waits = "7"
        error = await failure(sink)
        assert isinstance(error, Retry)
        assert (error.after, error.crowded) == (timedelta(seconds=7), True)
        api.waits = None
        api.refuses = {"all": "ratelimited"}
        error = await failure(sink)
    assert isinstance(error, Retry)
    assert error.crowded


@pytest.mark.parametrize(("status", "text"), [(200, "<html>"), (200, "[]"), (200, '{"ok": 1}'), (500, '{"ok": true}')])
async def test_an_answer_that_is_no_yes_is_none(status: int, text: str, tools: Tools) -> None:
    async with answering(status, text) as (url, _):
        table = {"name": "chat", "type": "slack", "token": BOT_TOKEN, "channel": "C1"}
        address = url.partition("/hooks")[0] + "/api/"
        sink = SlackSink(SlackSettings.model_validate({**table, "api_url": address}), tools)
        assert isinstance(await failure(sink), Retry)


async def test_a_probe_of_a_bot_tries_its_token(tools: Tools) -> None:
    async with bot(tools) as (sink, api):
        assert await sink.probe() is None
        assert api.method == "auth.test"
        api.answers("down")
        with pytest.raises(Retry, match="answered 503"):
            await sink.probe()


# settings


def settings(**keys: Any) -> SlackSettings:
    return SlackSettings.model_validate({"name": "chat", "type": "slack", **keys})


def test_messages_and_tags_are_left_out_unless_somebody_asks() -> None:
    url = "https://hooks.slack.com/services/T0/B0/x"
    assert settings(url=url).omit == ("status_message", "tags")
    assert settings(url=url, omit=[]).omit == ()
    assert settings(url=url).concurrency == 1


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "give either url, an incoming webhook, or token and channel, a bot"),
        ({"url": "https://hooks.slack.com/services/x", "token": "xoxb-1", "channel": "C1"}, "give either url"),
        ({"token": "xoxb-1"}, "token needs a channel to post to"),
        ({"url": "https://hooks.slack.com/services/x", "channel": "C1"}, "channel is for a bot's token"),
        ({"url": "https://hooks.slack.com/services/x", "thread_by": "run_id"}, "thread_by is for a bot's token"),
        ({"token": "xoxb-1", "channel": "C1", "thread_by": "tags.project"}, r'omit = \["status_message"\]'),
        ({"token": "xoxb-1", "channel": "C1", "thread_by": "name"}, "pattern"),
        ({"url": "hooks.slack.com/services/x"}, "expected the address of an incoming webhook"),
        ({"url": "https://a:b@hooks.slack.com/services/x"}, "expected the address of an incoming webhook"),
        ({"token": "T0/B0/x", "channel": "C1"}, "expected the token of a bot, which begins with xoxb-"),
        ({"token": "xoxb-1", "channel": "C1", "api_url": "https://slack.com/api/?x=1"}, "pattern"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(**keys)


def test_threads_by_a_tag_that_is_not_left_out() -> None:
    keys = {"token": "xoxb-1", "channel": "C1", "thread_by": "tags.project", "omit": ["status_message"]}
    assert settings(**keys).thread_by == "tags.project"
