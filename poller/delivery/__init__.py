"""Tells: owed deliveries -> lanes -> sink.send -> acknowledge | retry | dead letter; and the listeners of a library."""
