"""What a server counts, as Prometheus reads it."""

import prometheus_client

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Telemetry:
  """Counters of one server."""

  def __init__(self) -> None:
    self.registry = registry = prometheus_client.CollectorRegistry()
    self.requests = prometheus_client.Counter(
      'aloe_requests', 'Requests by what became of them.', ['outcome'], registry=registry
    )
    self.total = prometheus_client.Histogram(
      'aloe_request_seconds',
      'From the last byte of a request to its reply.',
      buckets=_SECONDS,
      registry=registry,
    )
    self.model = prometheus_client.Histogram(
      'aloe_model_seconds', 'That the model took for a batch.', buckets=_SECONDS, registry=registry
    )
    self.batch = prometheus_client.Histogram(
      'aloe_batch_rows', 'Requests answered together.', buckets=(1, 2, 4, 8, 16), registry=registry
    )
    self.connections = prometheus_client.Gauge(
      'aloe_connections', 'Open connections.', registry=registry
    )
    self.refused = prometheus_client.Counter(
      'aloe_refused_connections', 'Connections refused, by reason.', ['reason'], registry=registry
    )
    self.flagged = prometheus_client.Counter(
      'aloe_flagged_replies', 'Replies with unusual or clipped actions.', registry=registry
    )
    self.step = prometheus_client.Gauge(
      'aloe_checkpoint_step', 'Updates of the checkpoint that answers.', registry=registry
    )
    self.reloads = prometheus_client.Counter(
      'aloe_reloads', 'Newer checkpoints, by what became of them.', ['outcome'], registry=registry
    )

  def text(self) -> bytes:
    """All of it in Prometheus' text format."""
    return prometheus_client.generate_latest(self.registry)
