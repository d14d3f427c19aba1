"""Runs of a comparison as the store keeps them, without running any."""

from aloe_jax import config as config_lib
from aloe_jax.comparison import store
from experiments import laundry
from experiments import suites


def suite_run(workdir, **changes):
  """A planned run of laundry, and its settings as a run of these changes keeps them."""
  suite = suites.Suite({'fold': 'experiments/laundry.py:sim'}, 3, 1, {'AWR': {'agent': 'awr'}})
  planned = suites.plan(suite, workdir, {})
  key = store.Key('fold', 3, 'AWR')
  config = laundry.get_config('sim')
  config.update(agent='awr', seed=3)
  config.task.demonstrations = 0
  config.task.proprio_size = 14  # told by the simulator
  config.update_from_flattened_dict(changes)
  return suite, planned, key, config


def evaluations(config, successes=64):
  """As many as a run of these settings makes; half of 128 or a quarter of 512 succeed."""
  episodes = config.evaluation.episodes
  entry = {'episodes': episodes, 'successes': successes, 'success_rate': successes / episodes}
  entry |= {'steps': 1, 'throughput': 1.0, 'successes_per_hour': successes / episodes}
  return [{'iteration': number} | entry for number in range(config.iterations + 1)]


def keep(kept, key, job, config, workdir, successes=64):
  kept.add(
    {
      **key._asdict(),
      **dict.fromkeys(('commit', 'seconds', 'machine', 'report'), None),
      **{'changes': {}, 'iterations': evaluations(config, successes), 'conditions': {}},
      'commands': store.portable(job.commands, workdir),
      'settings': config_lib.to_json(config),
    }
  )
