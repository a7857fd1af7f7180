"""What a `[[watch]]` follows, as a sentence: for people who want to see whether it is what they meant."""

from collections.abc import Iterable, Iterator

from poller.core.values import format_duration
from poller.settings.model import WatchSettings


def followed(watch: WatchSettings) -> str:
    """What one table follows, and what is special about it."""
    return "; ".join([*_parts(watch), *_terms(watch)])


def _parts(watch: WatchSettings) -> Iterator[str]:
    if watch.discover:
        narrow = [
            *_listed("in run group", watch.run_group_ids),
            *([f'with a name like "{watch.name_prefix}…"'] if watch.name_prefix else []),
            *_listed("of workflow", watch.workflow_ids),
            *([f"with the tags {', '.join(f'{key}={value}' for key, value in watch.tags.items())}"] * bool(watch.tags)),
        ]
        yield " ".join(["every run", *narrow])
    if watch.run_ids:
        yield f"{len(watch.run_ids)} run{'s' * (len(watch.run_ids) > 1)} by name"
    yield from _listed("the runs of batch", watch.batch_ids)
    if not (watch.discover or watch.run_ids or watch.batch_ids):
        yield "nothing"


def _terms(watch: WatchSettings) -> Iterator[str]:
    if watch.discover and watch.tags:
        yield "its tags cost one GetRun for each run that fits otherwise"
    intervals = [
        f"{word} {format_duration(interval)}"
        for word, interval in (("at least", watch.min_interval), ("at most", watch.max_interval))
        if interval is not None
    ]
    if intervals:
        yield f"asked again after {' and '.join(intervals)}"


def _listed(word: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    return [f"{word} {' or '.join(names)}"] if names else []
