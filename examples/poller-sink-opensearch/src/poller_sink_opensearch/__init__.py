"""A sink for healthomics-poller: events as documents in OpenSearch or Elasticsearch."""
