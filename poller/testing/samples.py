"""Sample events, for tests: `sample_event("failed", run_id="42")`."""

from poller.core.samples import SAMPLE_TIME, SAMPLE_TYPES, sample_event

__all__ = ["SAMPLE_TIME", "SAMPLE_TYPES", "sample_event"]
