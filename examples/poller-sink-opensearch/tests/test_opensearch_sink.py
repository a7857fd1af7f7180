"""The suite that every sink passes, and what is this sink's own, against a server that speaks the bulk API."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from poller_sink_opensearch.sink import OpenSearchSettings, OpenSearchSink

from poller import Partial, Rejected, Retry
from poller.testing import Answer, HttpFarEnd, Rig, SinkConformance, opened_toolbox, sample_event

PASSWORD = "planted-5f0c9a77"
LOGIN = "cG9sbGVyOnBsYW50ZWQtNWYwYzlhNzc="
"""The same as base64 of user:password, as it goes over the wire."""


class Cluster(HttpFarEnd):
    """As much of a cluster as this sink talks to: `_bulk` with `create`, and a look at the index.

    `kept` are the ids of its documents. `says`, a status and a reason, is what it says of each further one in place of
    keeping it; `page`, a status and a text, what it answers to everything.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: set[str] = set()
        self._ids: list[str] = []
        self.says: tuple[int, str] | None = None
        self.page: tuple[int, str] | None = None

    async def bodies_of(self, request: web.Request) -> Sequence[bytes]:
        """The documents that it does not have yet."""
        assert request.headers["Authorization"] == f"Basic {LOGIN}"
        *lines, end = (await request.read()).split(b"\n")
        assert end == b"", "each line has its end"
        self._ids = [json.loads(line)["create"]["_id"] for line in lines[::2]]
        return [body for id, body in zip(self._ids, lines[1::2], strict=True) if id not in self.kept]

    def respond(self, answer: Answer, request: web.Request) -> web.StreamResponse:
        if self.page is not None:
            return web.Response(status=self.page[0], text=self.page[1])
        if answer not in ("taken", "partial", "poison"):
            return super().respond(answer, request)
        if request.method == "HEAD":
            return web.Response(status=200 if self.kept else 404)
        fitting = {"taken": len(self._ids), "partial": 1, "poison": 0}[answer]
        items = [self._kept(id, fits=place < fitting) for place, id in enumerate(self._ids)]
        return web.json_response({"took": 1, "errors": True, "items": [{"create": item} for item in items]})

    def _kept(self, id: str, *, fits: bool) -> dict[str, Any]:
        """What is said of a document, which is kept if that can be."""
        if id in self.kept:
            status, reason = 409, "version conflict, document already exists"
        elif self.says is not None:
            status, reason = self.says
        elif not fits:
            status, reason = 400, "failed to parse field [data.status]"
        else:
            self.kept.add(id)
            return {"_id": id, "status": 201}
        return {"_id": id, "status": status, "error": {"type": "an_exception", "reason": reason}}


@asynccontextmanager
async def opened(cluster: Cluster, directory: Path) -> AsyncIterator[Rig]:
    async with cluster.serving(), opened_toolbox(directory) as tools:
        table = {"name": "search", "type": "opensearch", "url": cluster.url, "user": "poller", "password": PASSWORD}
        sink = OpenSearchSink(OpenSearchSettings.model_validate(table), tools)
        yield Rig(sink, cluster, table, secrets=[PASSWORD, LOGIN])


class TestOpenSearch(SinkConformance):
    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with opened(Cluster(), tmp_path) as rig:
            yield rig


async def test_an_event_that_is_sent_again_is_kept_once(tmp_path: Path) -> None:
    async with opened(cluster := Cluster(), tmp_path) as rig:
        for _ in range(2):
            await rig.sink.send([sample_event(run_id="1"), sample_event(run_id="2")])
        assert len(await cluster.received()) == 2


@pytest.mark.parametrize(
    ("says", "means", "crowded"),
    [
        ((400, "failed to parse"), Rejected, False),
        ((404, "no such index"), Retry, False),
        ((429, "the queue is full"), Retry, True),
        ((503, "a shard is not there"), Retry, True),
    ],
)
async def test_what_is_said_of_one_document_holds_for_its_event_alone(
    tmp_path: Path, says: tuple[int, str], means: type[Exception], crowded: bool
) -> None:
    kept, other = sample_event(run_id="1"), sample_event(run_id="2")
    async with opened(cluster := Cluster(), tmp_path) as rig:
        await rig.sink.send([kept])
        cluster.says = says
        with pytest.raises(Partial) as caught:
            await rig.sink.send([kept, other])
    assert caught.value.failures.keys() == {other.id}
    failure = caught.value.failures[other.id]
    assert type(failure) is means
    assert str(failure) == f"{says[0]} an_exception: {says[1]}"
    assert getattr(failure, "crowded", False) == crowded


@pytest.mark.parametrize(
    ("page", "means", "text"),
    [
        ((200, "<html>Please log in</html>"), Retry, "answered 200, but not as a cluster answers; is url right?"),
        ((200, '{"items": []}'), Retry, "answered 200, but not as a cluster answers; is url right?"),
        ((204, ""), Retry, "answered 204 No Content"),
        ((401, "who are you?"), Retry, "answered 401 Unauthorized"),
        ((413, ""), Rejected, "answered 413 Request Entity Too Large"),
    ],
)
async def test_what_is_no_answer_about_documents_acknowledges_nothing(
    tmp_path: Path, page: tuple[int, str], means: type[Exception], text: str
) -> None:
    async with opened(cluster := Cluster(), tmp_path) as rig:
        cluster.page = page
        with pytest.raises(means, match=f"^127.0.0.1:[0-9]+ {text}".replace("?", r"\?")):
            await rig.sink.send([sample_event()])


async def test_a_probe_says_whether_there_is_an_index(tmp_path: Path) -> None:
    async with opened(cluster := Cluster(), tmp_path) as rig:
        assert isinstance(rig.sink, OpenSearchSink)
        assert await rig.sink.probe() == (
            "there is no index healthomics-events yet; the first event makes it, where the cluster allows that"
        )
        await rig.sink.send([sample_event()])
        assert await rig.sink.probe() is None
        cluster.page = 403, ""
        with pytest.raises(Retry, match="answered 403 Forbidden"):
            await rig.sink.probe()


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ({"user": "poller", "password": PASSWORD}, []),
        ({}, []),
        ({"user": "poller"}, [(("user",), "needs a password; set that too, or take this out")]),
        ({"password": PASSWORD}, [(("password",), "needs a user; set that too, or take this out")]),
    ],
)
def test_a_user_and_a_password_go_together(keys: dict[str, str], problems: list[Any]) -> None:
    table = {"name": "search", "type": "opensearch", "url": "https://search.example.org:9200", **keys}
    assert list(OpenSearchSettings.model_validate(table).problems()) == problems
