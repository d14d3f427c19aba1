"""Success rate and throughput of a checkpoint, on scenes that are the same for every policy.

python -m aloe_jax.evaluate --config=experiments/laundry.py:sim --workdir=runs/laundry
"""

import json
import pathlib

from absl import flags
import rich.table

from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax.envs import simulation
from aloe_jax.run import checkpoints
from aloe_jax.run import evaluation
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import restored

CHECKPOINT = flags.DEFINE_string(
  'checkpoint', None, 'Checkpoint to evaluate; by default the newest of --workdir'
)
AGAINST = flags.DEFINE_string('against', None, 'A second checkpoint, on the same scenes')
UNSEEN = flags.DEFINE_bool('unseen', False, 'Sizes, colours and tolerances never trained on')
DISTURB = flags.DEFINE_bool('disturb', False, 'Push items about at random times')
SEED = flags.DEFINE_integer('seed', None, 'Of the scenes; by default config.evaluation.seed')


def main() -> None:
  """Evaluates the checkpoints of the command line; prints a table and keeps a JSON of it."""
  config = config_lib.get()
  workdir = pathlib.Path(config_lib.WORKDIR.value)
  seed = config.evaluation.seed if SEED.value is None else SEED.value
  with config_lib.user_errors():
    if not config.sim.task:
      raise ValueError('there is no simulator in this config; append :sim to it.')
    experiment = experiment_lib.Experiment(config)
    paths = _checkpoints(workdir)
    contestants = {path: _policy(experiment, path) for path in paths}

  found = {}
  for path, (policy, see) in contestants.items():
    with config_lib.user_errors():
      setup = experiment.world.simulation(see, unseen=UNSEEN.value, disturb=DISTURB.value)
    with progress.bar(f'Evaluate {path}', config.evaluation.episodes, 'episodes') as advance:
      found[path] = evaluation.evaluate(
        setup,
        policy,
        episodes=config.evaluation.episodes,
        seed=seed,
        control_hz=config.task.control_hz,
        progress=lambda finished, total, steps, advance=advance: advance(finished, steps=steps),
      )
  conditions = {'unseen': UNSEEN.value, 'disturb': DISTURB.value, 'seed': seed}
  if experiment.agent.tags:
    conditions['guidance'] = config.recap.guidance
  progress.CONSOLE.print(_table(found, conditions))
  # All that the numbers depend on is in the name, so that nothing else is ever replaced.
  runs = [f'{path.absolute().parents[1].name}-{path.name}' for path in paths]
  name = ','.join(
    ['+'.join(runs)]
    + [f'{condition}={float(value):.10g}' for condition, value in conditions.items()]
    + [f'episodes={config.evaluation.episodes}']
  )
  kept = workdir / 'evaluations' / f'{name}.json'
  entries = [{'checkpoint': str(path)} | conditions | e.summary() for path, e in found.items()]
  files.write_text(kept, json.dumps(entries, indent=2))
  progress.CONSOLE.print(f'Kept in {kept}', soft_wrap=True)


def _checkpoints(workdir: pathlib.Path) -> list[pathlib.Path]:
  """The checkpoints to evaluate, one or two."""
  kept = checkpoints.Checkpoints(workdir / 'checkpoints')
  first = pathlib.Path(CHECKPOINT.value) if CHECKPOINT.value else kept.newest()
  return [first] + ([pathlib.Path(AGAINST.value)] if AGAINST.value else [])


def _policy(
  experiment: experiment_lib.Experiment, path: pathlib.Path
) -> tuple[policy_lib.Policy, simulation.See]:
  """The policy of a checkpoint, and what it sees of a simulator's state."""
  found = restored.restore(experiment, path)
  return found.policy, experiment.world.see(found.encoder)


def _table(found: dict[pathlib.Path, evaluation.Evaluation], conditions: dict) -> rich.table.Table:
  shown = ', '.join(f'{name} {value}' for name, value in conditions.items())
  table = rich.table.Table(title=f'Evaluation ({shown})')
  for column in evaluation.COLUMNS:
    table.add_column(column, justify='left' if column in ('policy', 'ends') else 'right')
  for path, e in found.items():
    table.add_row(str(path), *e.cells())
  return table


if __name__ == '__main__':
  config_lib.run(main)
