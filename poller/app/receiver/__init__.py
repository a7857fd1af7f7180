"""A receiver of webhooks, as somebody would write one: for `omics-poller listen`, and for the demonstration."""
