"""Where the time of updates goes, by a clock that the test moves; and a trace of a few of them."""

import json
import math

import command_line
import interrupted
import pytest

from aloe_jax.run import step_time


class Clock:
  """Stands for `time.perf_counter`."""

  def __init__(self):
    self.now = 100.0

  def __call__(self):
    return self.now


class Written:
  """Keeps what a `Writer` is told."""

  def __init__(self):
    self.records = []

  def write(self, step, scalars, *, phase='', measured=False):
    assert measured
    self.records.append((step, phase, scalars))


@pytest.fixture
def clock(monkeypatch):
  clock = Clock()
  monkeypatch.setattr(step_time.time, 'perf_counter', clock)
  return clock


def call(spent, clock, *, data, device, host, step, last=False):
  with spent.waiting('data'):
    clock.now += data
  clock.now += host
  with spent.waiting('device'):
    clock.now += device
  spent.end_call(step, 5, None, last=last)


def test_the_time_of_calls_is_split_without_the_first_which_compiles(clock):
  written = Written()
  spent = step_time.StepTime(written, 'critic', None)
  call(spent, clock, data=1, device=50, host=1, step=5)
  call(spent, clock, data=1, device=2, host=1, step=10)
  assert written.records == []
  call(spent, clock, data=0, device=3, host=1, step=15, last=True)
  ((step, phase, numbers),) = written.records
  assert (step, phase) == (15, 'critic_time')
  assert numbers == pytest.approx(
    {'seconds': 8 / 10, 'data': 1 / 8, 'device': 5 / 8, 'host': 2 / 8}
  )


def test_a_record_is_written_every_ten_seconds_of_a_long_phase(clock):
  written = Written()
  spent = step_time.StepTime(written, 'actor', None)
  for step in range(5, 45, 5):
    call(spent, clock, data=1, device=2, host=1, step=step)
  assert [step for step, _, _ in written.records] == [20, 35]
  assert all(numbers['seconds'] == pytest.approx(0.8) for _, _, numbers in written.records)


@pytest.mark.usefixtures('compiled_once')
def test_a_run_keeps_its_times_apart_and_traces_a_few_calls(tmp_path):
  unheeded = ('sim.rollouts', 'train.critic_updates_per_call')  # by a warm start alone
  quick = {field: x for field, x in interrupted.QUICK.items() if field not in unheeded}
  flags = [f'--config.{field}={value}' for field, value in quick.items()]
  where = ('--config=experiments/laundry.py:sim_debug', f'--workdir={tmp_path / "run"}')
  status, out, errors = command_line.run(
    'train', *where, *flags, '--config.iterations=0', '--profile'
  )
  assert (status, errors) == (0, '')
  lines = (tmp_path / 'run' / 'metrics' / 'times.jsonl').read_text().splitlines()
  (record,) = map(json.loads, lines)
  assert record['phase'] == 'actor_time' and record['step'] == 20
  assert math.isclose(record['data'] + record['device'] + record['host'], 1, abs_tol=1e-6)
  assert record['seconds'] > 0
  assert [*(tmp_path / 'run' / 'profile' / 'warm_start').rglob('*.xplane.pb')]
  assert 'Trace of' in out
