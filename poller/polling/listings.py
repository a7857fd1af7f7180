"""What a page of a list means for the runs on it, and when which lists are read for what nobody has named."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

import structlog

from poller.core.cadence import next_look
from poller.core.errors import BadRequest, Denied
from poller.core.lists import ENDED_LISTS, ListName
from poller.core.machine import observe
from poller.core.planner import ListLook
from poller.core.runs import KnownRun, Snapshot
from poller.foundation import Foundation
from poller.polling.discovery import newest_first
from poller.polling.followed import Work
from poller.polling.knowledge import Knowledge
from poller.polling.looks import Answer, LookFailed, PageShown
from poller.polling.rules import Match

log = structlog.get_logger("poller.polling")

SOON_AFTER_LOSSES: Final = 10
"""Times min_interval between two readings of the ended lists, where pages of the active ones keep failing."""


class Listings:
    """The lists of one scope, as its planner reads them."""

    def __init__(self, foundation: Foundation, knowledge: Knowledge) -> None:
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.chance = foundation.chance
        self.tally = foundation.tally
        self.scope = knowledge.scope
        self.pace = knowledge.pace
        self.access = knowledge.access
        self.planner = knowledge.planner
        self.discovery = knowledge.discovery
        self.candidates = knowledge.candidates
        self.batches = knowledge.batches
        self.followed = knowledge.followed
        self.ladders = knowledge.ladders
        self.overdues = knowledge.overdues
        self.workflow_names = knowledge.workflow_names
        self.failures = knowledge.failures
        self.pages_lost = False
        self._ended_read_at = float("-inf")

    # --- pages -----------------------------------------------------------------------------------------------------

    async def page_shown(self, work: Work, answer: PageShown) -> None:
        """Apply what a page shows, if it is still wanted and of our account."""
        if not self.planner.still_reading(answer.look):
            return
        arns = (item.fields["arn"] for item in answer.page.items if item.fields.get("arn"))
        if not self.access.is_ours(next(arns, None)):
            self.planner.page_failed(answer.look, self.clock.monotonic() + self.failures.backoff(1))
            return
        self.access.answered()
        self.failures.page_answered()
        await self._apply(work, answer)

    def landed(self, look: ListLook, answer: Answer) -> None:
        """What a page brought is committed; one that did not come is asked for again, unless lists are denied."""
        if not isinstance(answer, LookFailed):
            return
        if isinstance(answer.error, Denied):
            log.warning("lists.denied", detail=str(answer.error), then="every run is asked about by GetRun")
            self.planner.lists_denied()
            return
        retry_at = self.clock.monotonic() + self.failures.backoff(self.failures.of_lists)
        start_over = isinstance(answer.error, BadRequest) and look.token is not None
        self.planner.page_failed(look, retry_at, start_over=start_over)

    async def _apply(self, work: Work, answer: PageShown) -> None:
        """Apply a page item by item, and what it means that this is all of it."""
        look, page, now = answer.look, answer.page, self.clock.monotonic()
        if look.page == 0:
            work.state_changed = self.discovery.began(look.name, page) or work.state_changed
        if page.unreadable:
            self.tally.add("odd_answers", page.unreadable, kind="unreadable_item")
            log.warning("look.odd", kind="unreadable_item", list=look.name.status or "newest", items=page.unreadable)
        remembered = await self._remembered(work, page.items)
        for item in page.items:
            workflow_id, workflow_name = item.fields.get("workflowId"), item.fields.get("workflowName")
            if workflow_id and workflow_name:
                self.workflow_names[str(workflow_id)] = workflow_name
            self._item_shown(work, item, remembered, look.name)
        showed = [item.run_id for item in page.items]
        if look.name.status is None:
            in_order = len(page.items) > 1 and newest_first(page.items)
            self.planner.newest_read(look, showed, now, in_order=in_order, complete=page.token is None)
            self._plan_discovery()
            return
        token = self.discovery.next_token(look.name, look.token, page)
        if self.planner.page_read(look, showed, token, now):
            self._list_read(work, look.name)

    def _item_shown(self, work: Work, item: Snapshot, remembered: Mapping[str, KnownRun], name: ListName) -> None:
        run_id, followed = item.run_id, self.followed
        known = followed.known(work, run_id) or remembered.get(run_id)
        if known is None:
            if item.status == "PENDING" and self.batches.will_name(str(item.fields.get("batchId"))):
                return  # with its uuid it needs no GetRun, and in the queue it misses nothing
            known = self._found(item, name)
            if known is None:
                return
        elif run_id not in followed.runs and run_id in self.discovery.muted:
            return
        known = self.discovery.heard(known, item, name.group)
        work.shown[run_id] = self.clock.monotonic()  # its reading goes on: that began before
        self.planner.shown(run_id, work.shown[run_id])
        observed = self.overdues.judge(observe(known, item), item)
        self.ladders.shown_by_list(known, item)
        waits_already = run_id in followed.runs and not known.live and observed.known == known
        if not waits_already and (observed.known.live or observed.known.question or observed.known != known):
            if known.by_rule:
                followed.place(run_id, item, name)
            followed.apply(work, observed)

    def _found(self, item: Snapshot, name: ListName) -> KnownRun | None:
        """A run that nobody follows yet, as it is followed from now on; None if it is not ours, or not sure to be."""
        match = self.discovery.rules.match(item, name.group)
        if match is not Match.YES and (self.candidates.shown(item) or match is Match.NO):
            return None
        known = self.candidates.take(item.run_id) or self.discovery.adopt(item, name)
        if known is not None and match is Match.MAYBE:
            rules = self.discovery.rules
            claim = rules.claim(item.run_id, item, group=name.group, least=Match.MAYBE)
            self.followed.claims.note(item.run_id, claim)
            self.candidates.ask(known, item)
            return None
        if known is not None:
            log.info("run.found", scope=self.scope, run=item.run_id, status=item.status)
        return known

    def _list_read(self, work: Work, name: ListName) -> None:
        """A list was read whole: that may be what a missing run waits for, and moves the mark of discovery."""
        self.ladders.lists_read(self.planner.all_read_since)
        moved = self.discovery.finished(
            name,
            ended_lists_are_read=self._ended_lists_are_read,
            at_most=self.candidates.before_all(self.discovery.discovered_through),
        )
        work.state_changed = moved or work.state_changed
        if name.status in ENDED_LISTS:
            self._ended_read_at = self.clock.monotonic()
            self.planner.read_ended(self._ended_read_at + self.pace.discover_ended.total_seconds())
        elif name.status == "PENDING":
            self._plan_discovery()
            self._read_ended_after_losses()

    async def _remembered(self, work: Work, items: Iterable[Snapshot]) -> Mapping[str, KnownRun]:
        """What the record knows of listed runs that are not followed now: ended ones, given-up ones."""
        strangers = [item.run_id for item in items if self.followed.known(work, item.run_id) is None]
        if not strangers or not self.discovery.rules.reads_lists:
            return {}
        return await self.gate.insist(lambda: self.store.known_runs(self.scope, strangers))

    # --- discovery -------------------------------------------------------------------------------------------------

    def start_discovery(self) -> None:
        """Read all lists soon: the active ones for what runs, the ended ones for what nobody was there to see."""
        if self.discovery.rules.reads_lists:
            self.discovery.last_news = self.clock.now()
            self.planner.discover(self.clock.monotonic())
            self.read_ended()

    def read_ended(self) -> None:
        """Read the ended lists soon, where that is done at all."""
        if self._ended_lists_are_read and self.discovery.rules.reads_lists:
            self.planner.read_ended(self.clock.monotonic())

    @property
    def _ended_lists_are_read(self) -> bool:
        return self.pace.discover_ended > timedelta(0)

    def _read_ended_after_losses(self) -> None:
        """Where pages failed to come, a run may have come and ended between two readings: look among the ended ones."""
        if self.pages_lost and self._ended_lists_are_read and self.discovery.rules.reads_lists:
            self.pages_lost = False
            pause = SOON_AFTER_LOSSES * self.pace.min_interval.total_seconds()
            self.planner.read_ended(max(self.clock.monotonic(), self._ended_read_at + pause))

    def _plan_discovery(self) -> None:
        """When new runs are next looked for: soon after something was found, seldom in a quiet hour."""
        if self.discovery.rules.reads_lists:
            now = self.clock.now()
            since = min(self.discovery.last_news or now, now)
            claim = self.discovery.rules.of_lists
            moment = next_look(since, now, claim.low, claim.high, self.chance())
            self.planner.discover(self.clock.monotonic() + (moment - now).total_seconds())
