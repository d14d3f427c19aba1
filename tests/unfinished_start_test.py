"""A run that was stopped before its first checkpoint begins anew, and counts every update once."""

import metrics_test
import pytest
import robot

from aloe_jax import metrics
from aloe_jax import train


def test_records_of_a_start_that_was_stopped_are_dropped(quick_compilation, tmp_path, monkeypatch):
  episodes = robot.write_episodes(tmp_path / 'table')
  flags = robot.make_flags(
    data__episodes=(str(episodes),),
    data__norm_stats='compute',
    iterations=0,
    actor__warm_start_updates=2,
  )
  arguments = [*flags, f'--workdir={tmp_path / "run"}']
  write = metrics.MetricsWriter.write

  def stop(self, step, scalars, *, phase):
    write(self, step, scalars, phase=phase)
    raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(metrics.MetricsWriter, 'write', stop)
    train.main(arguments)
  log = tmp_path / 'run' / 'metrics'
  (before,) = metrics_test.read_lines(log)
  train.main(arguments)
  steps = [record['step'] for record in metrics_test.read_lines(log)]
  assert before['step'] in steps and steps == sorted(set(steps))
  assert metrics_test.read_events(log)[1][-1] == 1  # TensorBoard hides what was from there on
