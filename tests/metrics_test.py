"""What a run records, through crashes and resumption, and the interval of a success rate."""

import json
import pathlib
import sys
import time
from unittest import mock

import numpy as np
import pytest
import tensorboardX

from aloe_jax import metrics
from aloe_jax.data import tfrecord


def read_lines(directory):
  return [json.loads(line) for line in (directory / 'metrics.jsonl').read_text().splitlines()]


def read_events(directory):
  """[(tag, step, value)] of the scalars, and the steps TensorBoard purges from."""
  scalars, purges = [], []
  for path in sorted(pathlib.Path(directory).glob('events.*'), key=lambda p: p.stat().st_mtime_ns):
    for record in tfrecord.walk(path):
      event = tensorboardX.proto.event_pb2.Event.FromString(bytes(record.payload))
      scalars += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
      if event.HasField('session_log'):
        purges.append(event.step)
  return scalars, purges


def test_scalars_reach_the_lines_and_tensorboard(tmp_path):
  with metrics.MetricsWriter(tmp_path / 'run') as writer:
    writer.write(3, {'loss': np.float32(0.5), 'q': -2}, phase='critic')
    writer.write(4, {'success': 0.75})
  first, second = read_lines(tmp_path / 'run')
  assert first.pop('time') > 1e9
  assert first == {'step': 3, 'phase': 'critic', 'loss': 0.5, 'q': -2.0}
  assert second.keys() == {'step', 'time', 'success'}
  scalars, _ = read_events(tmp_path / 'run')
  assert scalars == [('critic/loss', 3, 0.5), ('critic/q', 3, -2.0), ('success', 4, 0.75)]


def test_tensorboard_shows_every_step_of_a_resumed_run_once(tmp_path):
  accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
  for resume_step, value in ((None, 1.0), (3, 2.0)):
    time.sleep(1.1)  # TensorBoard's files are called by the second
    with metrics.MetricsWriter(tmp_path, resume_step=resume_step) as writer:
      for step in range(resume_step or 0, 5):
        writer.write(step, {'loss': value}, phase='critic')
  events = accumulator.EventAccumulator(str(tmp_path))
  events.Reload()
  assert events.Tags()['scalars'] == ['critic/loss']
  shown = [(event.step, event.value) for event in events.Scalars('critic/loss')]
  assert shown == [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2)]


def test_every_line_is_on_disk_before_the_next_is_written(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    for step in range(3):
      writer.write(step, {'loss': 1.0})
      assert len(read_lines(tmp_path)) == step + 1


def test_reopening_appends(tmp_path):
  for step in range(2):
    with metrics.MetricsWriter(tmp_path) as writer:
      writer.write(step, {'loss': step})
  assert [line['loss'] for line in read_lines(tmp_path)] == [0, 1]


def test_a_resumed_run_writes_no_step_twice(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    for step in range(6):
      writer.write(step, {'loss': 1.0})
  with metrics.MetricsWriter(tmp_path, resume_step=3) as writer:
    for step in range(3, 5):
      writer.write(step, {'loss': 2.0})
  lines = read_lines(tmp_path)
  assert [line['step'] for line in lines] == [0, 1, 2, 3, 4]
  assert [line['loss'] for line in lines] == [1, 1, 1, 2, 2]
  assert read_events(tmp_path)[1] == [3]


def test_a_line_cut_short_by_a_crash_is_dropped(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write(0, {'loss': 1.0})
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 1, "lo')
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write(1, {'loss': 2.0})
  assert [line['step'] for line in read_lines(tmp_path)] == [0, 1]


def test_a_number_that_is_not_finite_stays_valid_json(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write(0, {'loss': float('nan'), 'q': -np.inf})
  (line,) = read_lines(tmp_path)
  assert line['loss'] is None
  assert line['q'] is None


def test_weights_and_biases_mirrors_tensorboard(tmp_path):
  wandb = mock.MagicMock()
  with (
    mock.patch.dict(sys.modules, wandb=wandb),
    metrics.MetricsWriter(tmp_path / 'metrics', wandb_name='laundry') as writer,
  ):
    writer.write(7, {'loss': 0.5}, phase='actor')
  assert wandb.init.call_args.kwargs['name'] == 'laundry'
  wandb.init.return_value.log.assert_called_once_with({'actor/loss': 0.5}, step=7)
  wandb.init.return_value.finish.assert_called_once_with()


@pytest.mark.parametrize(
  'successes, trials, low, high',
  [
    (8, 10, 0.4902, 0.9433),  # (0.8 + 0.19208 -+ 1.96 * sqrt(0.016 + 0.009604)) / 1.38416
    (0, 20, 0.0, 0.1611),  # 0.19208 / 1.19208
    (20, 20, 0.8389, 1.0),
    (50, 100, 0.4038, 0.5962),
    (0, 0, 0.0, 1.0),
  ],
)
def test_wilson_interval_by_hand(successes, trials, low, high):
  assert metrics.wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_holds_the_rate_and_ends_where_no_rate_is_beyond():
  for trials in range(1, 200):
    assert metrics.wilson_interval(0, trials)[0] == 0.0
    assert metrics.wilson_interval(trials, trials)[1] == 1.0
    for successes in range(trials + 1):
      low, high = metrics.wilson_interval(successes, trials)
      assert 0.0 <= low <= successes / trials <= high <= 1.0


def test_wilson_interval_narrows_to_the_rate_with_a_smaller_z():
  assert metrics.wilson_interval(3, 4, z=0.0) == (0.75, 0.75)


@pytest.mark.parametrize('successes, trials', [(3, 2), (-1, 5)])
def test_impossible_counts_are_refused(successes, trials):
  with pytest.raises(ValueError, match=f'found {successes} successes in {trials} trials'):
    metrics.wilson_interval(successes, trials)


@pytest.mark.parametrize('line', ['{"step": 1, "lo', '[]', '{}', '{"step": "1"}'])
def test_a_damaged_line_is_named_whoever_reads_it(line, tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text(f'{{"step": 0}}\n{line}\n{{"step": 2}}\n')
  message = f'{path}, line 2: found .*, expected a JSON object with .*; remove that line'
  with pytest.raises(ValueError, match=message):
    metrics.MetricsWriter(tmp_path, resume_step=5)
  with pytest.raises(ValueError, match=message):
    metrics.read(path)


def test_only_a_last_line_that_a_crash_cut_short_is_left_out(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 0}\n{"step": 1}')
  assert [record['step'] for record in metrics.read(path)] == [0, 1]
  path.write_text('{"step": 0}\n{"step": 1, "lo')
  assert [record['step'] for record in metrics.read(path)] == [0]
