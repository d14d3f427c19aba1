"""Every two settings together: each combination runs, or is refused in one message before any work.

  python tests/covering.py --variant=sim_debug --workdir=runs/covering

trains once for every row of a covering array: each pair of values of all options with choices (and
of some switches beside them, on one and two devices) is in some row, unless that pair alone is
refused. About a minute a row; the same command goes on where it was stopped. A row that ends in a
traceback, or is refused after something was collected or trained, fails.
"""

import argparse
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import ml_collections

from aloe_jax import agents
from aloe_jax import config as config_lib
from aloe_jax import progress
from aloe_jax.run import experiment
from aloe_jax.run import requirements
from aloe_jax.run import starting_point
from experiments import laundry

ROOT = pathlib.Path(__file__).parents[1]
VARIANTS = ('sim_debug', 'debug')
Row = dict[str, Any]  # field of the config, or 'devices', to its value

# Beside the options with choices: switches, and numbers of which one is special.
SWITCHES: dict[str, tuple[Any, ...]] = {
  'devices': (1, 2),
  'actor.bank': (True, False),
  'actor.best_of': (1, 3),
  'actor.mask_padding': (True, False),
  'actor.samples': (2, 1),
  'actor.updates': (4, 0),
  'actor.warm_start_updates': (4, 0),
  'critic.first_updates': (4, 0),
  'critic.horizon': ('chunk', 'execute', 1),
  'critic.prompt': (False, True),
  'critic.size': (2, 1),
  'data.failures': (True, False),
  'data.ratios.demo': (0.0, 0.5),
  'data.ratios.policy': (0.0, 0.5),
  'fail.cost': (0.0, 40.0),
  'recap.drop': (0.3, 0.0),
  'recap.guidance': (1.0, 2.0),
}
# What makes a run short, and is not varied.
SHORT = {
  'actor.batch_size': 8,
  'critic.batch_size': 8,
  'evaluation.episodes': 2,
  'sim.attempts': 16,
  'sim.rollouts': 4,
  'task.demonstrations': 2,
  'train.actor_updates_per_call': 2,
  'train.critic_updates_per_call': 2,
}


def options(variant: str) -> dict[str, tuple[Any, ...]]:
  """Values of every field that is varied; those of the variant come first."""
  fixed = {'sim.task', 'actor.kind'}  # the variant's
  found = {'agent': tuple(agents.AGENTS)}
  found |= {name: tuple(x) for name, x in config_lib.CHOICES.items() if name not in fixed}
  config = laundry.get_config(variant)
  for name, values in found.items():
    default = config_lib.lookup(config, name)
    found[name] = (default, *(value for value in values if value != default))
  return found | SWITCHES


def make_config(variant: str, row: Row) -> ml_collections.ConfigDict:
  """The config of a row."""
  config = laundry.get_config(variant)
  fields = SHORT | {name: value for name, value in row.items() if name != 'devices'}
  config.update_from_flattened_dict(fields)
  return config


def refusal(variant: str, row: Row) -> str:
  """What `train` says against a row before any work; '' if nothing."""
  try:
    config = make_config(variant, row)
    config_lib.validate(config)
    requirements.check(config)
    described = experiment.Experiment(config)
    described.inputs(None)
    starting_point.check(starting_point.find(config.actor.checkpoint), described)
  except ValueError as error:
    return str(error)
  return ''


def refused_pairs(variant: str) -> dict[tuple, str]:
  """Pairs of values that are refused whatever the rest, and why."""
  found = {}
  every = options(variant)
  for (a, xs), (b, ys) in itertools.combinations(every.items(), 2):
    for x, y in itertools.product(xs, ys):
      # Not for the agent alone that the variant happens to have.
      message = refusal(variant, {a: x, b: y})
      agents_too = [{'agent': agent, a: x, b: y} for agent in every['agent']]
      if message and all(refusal(variant, row) for row in agents_too):
        found[a, x, b, y] = message
  return found


def rows(variant: str, refused: dict[tuple, str]) -> list[Row]:
  """A covering array: every pair of values that is not refused is in some row.

  Greedy: a row begins with a pair that is in none yet, and each further field takes the value that
  brings most new pairs along. (allpairspy leaves pairs out where others are forbidden.)
  """
  every = options(variant)
  missing = {
    (a, x, b, y)
    for (a, xs), (b, ys) in itertools.combinations(every.items(), 2)
    for x, y in itertools.product(xs, ys)
    if (a, x, b, y) not in refused
  }
  order = {name: place for place, name in enumerate(every)}

  def pair(a: str, x: Any, b: str, y: Any) -> tuple:
    return (a, x, b, y) if order[a] < order[b] else (b, y, a, x)

  found: list[Row] = []
  while missing:
    a, x, b, y = min(missing, key=str)
    row: Row = {a: x, b: y}
    for name in sorted(set(every) - {a, b}, key=order.get):
      gains = {}
      for value in every[name]:
        pairs = [pair(name, value, other, chosen) for other, chosen in row.items()]
        if not any(each in refused for each in pairs):
          gains[value] = sum(each in missing for each in pairs)
      row[name] = max(gains, key=gains.get)
    found.append({name: row[name] for name in every})
    missing -= {pair(*p, *q) for p, q in itertools.combinations(row.items(), 2)}
  return found


def play(variant: str, row: Row, workdir: pathlib.Path, cache: pathlib.Path) -> str:
  """Trains once; 'ran', 'refused: ...' or 'FAILED: ...'."""
  flags = [f'--config=experiments/laundry.py:{variant}', f'--workdir={workdir}']
  flags += [f'--config.{name}={x}' for name, x in (SHORT | row).items() if name != 'devices']
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={row["devices"]}',
  }
  done = subprocess.run(
    [sys.executable, '-m', 'aloe_jax.train', *flags],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
  )
  said = '\n'.join(line for line in done.stderr.splitlines() if not line.startswith('WARNING: '))
  if done.returncode == 0:
    return 'ran'
  worked = [name for name in ('checkpoints', 'episodes', 'bank') if (workdir / name).exists()]
  if said.startswith('error: ') and 'Traceback' not in said and not worked:
    return f'refused: {said.removeprefix("error: ")}'
  return f'FAILED, status {done.returncode}, after {worked}: {said[-2000:]}'


def main() -> None:
  """Plays all rows of a variant; ends with status 1 if any fails."""
  parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
  parser.add_argument('--variant', choices=VARIANTS, default=VARIANTS[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  arguments = parser.parse_args()
  directory = arguments.workdir.absolute() / arguments.variant
  directory.mkdir(parents=True, exist_ok=True)
  kept = directory / 'results.json'
  results = json.loads(kept.read_text()) if kept.exists() else {}
  refused = refused_pairs(arguments.variant)
  array = rows(arguments.variant, refused)
  print(f'{len(refused)} pairs are refused; {len(array)} rows hold all others.')
  with progress.bar('Cover', len(array), 'rows') as advance:
    for number, row in enumerate(array):
      key = json.dumps(row, sort_keys=True)
      if key not in results:
        run = directory / f'{number}'
        results[key] = play(arguments.variant, row, run, directory / 'compiled')
        shutil.rmtree(run, ignore_errors=True)
        kept.write_text(json.dumps(results, indent=1))
      advance(number + 1)
  failed = {key: result for key, result in results.items() if result.startswith('FAILED')}
  for key, result in failed.items():
    print(f'{result}\n  {key}\n')
  ran = sum(result == 'ran' for result in results.values())
  print(f'{ran} rows ran, {len(results) - ran - len(failed)} were refused, {len(failed)} failed.')
  sys.exit(bool(failed))


if __name__ == '__main__':
  main()
