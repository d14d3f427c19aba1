"""A run on episodes of a robot that sees what the simulator's small networks read: quick to train.

Four calls a phase, and rounds of episodes that no simulator has played.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal

from interrupted import read_metrics as metrics
import jax
import numpy as np
import pytest
import tiny

from aloe_jax import progress
from aloe_jax import stopping
from aloe_jax import train
from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.envs import tabletop_sight
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from experiments import laundry

UPDATES = 20  # of every phase
QUICK = {
  'sim.task': '',
  'actor.warm_start_updates': UPDATES,
  'actor.updates': UPDATES,
  'critic.first_updates': UPDATES,
  'critic.updates': UPDATES,
  'train.actor_updates_per_call': 5,
  'train.critic_updates_per_call': 5,
  'train.save_minutes': 0.0,
  # Statistics are taken from what a run begins with, whatever comes later.
  'data.normalization': 'zscore',
  'data.check_statistics': 'warn',
}
ROUNDS = {'one': 4, 'two': 3, 'three': 2}  # episodes


@contextlib.contextmanager
def quick(tmp_path_factory):
  """Compiles for a short time, and what another run of the suite has compiled not again."""
  settings = {
    'jax_disable_most_optimizations': True,
    'jax_compilation_cache_dir': str(tmp_path_factory.getbasetemp() / 'compiled'),
    'jax_persistent_cache_min_compile_time_secs': 0.1,
  }
  before = {name: jax.config.values[name] for name in settings}
  for name, value in settings.items():
    jax.config.update(name, value)
  yield
  for name, value in before.items():
    jax.config.update(name, value)


def write(directory):
  """The rounds, each a dataset of its own; a copy of the first, of other robots, and too slow."""
  for seed, (name, count) in enumerate(ROUNDS.items()):
    rng = np.random.default_rng(seed)
    ends = [types.EndReason.NONE] * 15 + [types.EndReason.SUCCESS]
    episodes = [
      dataclasses.replace(
        tiny.make_episode(rng, ends),
        features=tiny.normal(rng, 16, *tabletop_sight.FEATURE_SHAPE),
        metadata={'action_kind': 'velocity'},
      )
      for _ in range(count)
    ]
    rlds.write(directory / name, episodes, name='table')
  arm = [dataclasses.replace(episode, state=episode.state[:, :3]) for episode in episodes]
  rlds.write(directory / 'arm', arm, name='table')
  places = [dataclasses.replace(e, metadata={'action_kind': 'position'}) for e in episodes]
  rlds.write(directory / 'places', places, name='table')
  late = [dataclasses.replace(e, end_reason=_late(e.end_reason)) for e in episodes]
  rlds.write(directory / 'late', late, name='table')
  shutil.copytree(directory / 'one', directory / 'copy')
  return directory


def _late(end_reason):
  return np.where(end_reason == types.EndReason.NONE, end_reason, np.int8(types.EndReason.TIMEOUT))


def given(directory, *names):
  """The option that names some of them."""
  return f'--config.data.episodes={tuple(str(directory / name) for name in names)}'


def begin(workdir, *arguments, **changes):
  """The first command of a run."""
  changes = QUICK | {name.replace('__', '.'): x for name, x in changes.items()}
  flags = [f'--config.{field}={x}' for field, x in changes.items()]
  go_on(workdir, '--config=experiments/laundry.py:sim_debug', *flags, *arguments)


def go_on(workdir, *arguments):
  """A later command."""
  train.main([f'--workdir={workdir}', *arguments])


def refusal(workdir, *arguments):
  """What a command is refused with."""
  with pytest.raises(SystemExit) as stopped:
    go_on(workdir, *arguments)
  return stopped.value.code


@contextlib.contextmanager
def killed_in(what):
  """Has a signal come when the phase of that name begins, which then ends after one call."""
  bar = progress.bar

  def killed(name, *arguments):
    if name == what:
      os.kill(os.getpid(), signal.SIGTERM)
    return bar(name, *arguments)

  with pytest.MonkeyPatch.context() as patch, pytest.raises(stopping.Stopped) as stopped:
    patch.setattr(progress, 'bar', killed)
    yield stopped
  assert str(stopped.value).startswith(f'Stopped in {what} after 5 of ')


def state(workdir, number, **changes):
  config = laundry.get_config('sim_debug')
  changes = {name.replace('__', '.'): x for name, x in changes.items()}
  config.update_from_flattened_dict(QUICK | changes)
  kept = json.loads((workdir / 'config.json').read_text())['task']
  config.task.update({name: kept[name] for name in ('action_size', 'proprio_size')})
  described = experiment.Experiment(config)
  path = workdir / 'checkpoints' / str(number)
  return checkpoints.restore(path, described.abstract_state(), described.architecture())


def numbers(workdir):
  return checkpoints.Checkpoints(pathlib.Path(workdir) / 'checkpoints').numbers()


def assert_same_bits(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def assert_same_run(found, expected):
  """Parameters, averages, moments, counts, metrics and lists, bit for bit."""
  assert numbers(found) == numbers(expected)
  for number in numbers(expected):
    assert_same_bits(state(found, number), state(expected, number))
  assert metrics(found) == metrics(expected)
  for name in ('manifest.json', 'appended.json', 'evaluations.json'):
    texts = [(run / name).read_text() if (run / name).exists() else '' for run in (found, expected)]
    assert texts[0] == texts[1]
