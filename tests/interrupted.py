"""A run of four calls a phase, and what is compared of it with one that was interrupted."""

import json

import jax
import numpy as np

from aloe_jax import train
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from experiments import laundry

QUICK = {
  'actor.warm_start_updates': 20,
  'actor.updates': 20,
  'critic.first_updates': 20,
  'evaluation.episodes': 2,
  'sim.attempts': 16,
  'sim.rollouts': 4,
  'task.demonstrations': 2,
  'train.actor_updates_per_call': 5,
  'train.critic_updates_per_call': 5,
  'train.save_minutes': 0.0,
}


def make_experiment(**changes):
  config = laundry.get_config('sim_debug')
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  config.update_from_flattened_dict(QUICK | changes)
  return experiment.Experiment(config)


def start(workdir, asked='', **changes):
  """What the command does, but for a new process."""
  train.run(make_experiment(**changes), workdir, asked=asked)


def state(workdir, number, **changes):
  described = make_experiment(**changes)
  path = workdir / 'checkpoints' / str(number)
  return checkpoints.restore(path, described.abstract_state(), described.architecture())


def read_metrics(workdir):
  """The lines of a run, but for when they were written and what saves cost."""
  text = (workdir / 'metrics' / 'metrics.jsonl').read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  return [
    {name: x for name, x in line.items() if name != 'time'}
    for line in lines
    if line['phase'] != 'save'
  ]


def numbers(workdir):
  return sorted(int(path.name) for path in (workdir / 'checkpoints').iterdir())


def assert_same_run(found, expected, **changes):
  """Parameters, averages, moments, counts, metrics and evaluations, bit for bit."""
  assert numbers(found) == numbers(expected)
  for number in numbers(expected):
    one, other = (state(workdir, number, **changes) for workdir in (found, expected))
    jax.tree.map(np.testing.assert_array_equal, one, other)
  assert read_metrics(found) == read_metrics(expected)
  for name in ('evaluations.json', 'manifest.json'):
    assert (found / name).read_text() == (expected / name).read_text()
  assert not (found / 'unfinished').exists() or not list((found / 'unfinished').iterdir())
