"""The durable record: `ports.Store` over SQLAlchemy Core. Opened by `poller.store.opening.open_store`."""
