"""Settings that do nothing in the company they are given in are said by name, and no others."""

import pytest

from aloe_jax import command_line
from aloe_jax.run import kept

FILE = '--config=experiments/laundry.py:sim_debug'


def read(workdir, command, *arguments):
  """Reads the config of a command, which says what does nothing."""
  parser = command_line.parser(f'aloe_jax.{command}', '')
  kept.config(command_line.parse(parser, [f'--workdir={workdir}', *arguments]), command)


@pytest.mark.parametrize(
  'settings, told',
  [
    ({'task.prompt': 'Fold', 'sim.task': ''}, 'episodes that are given carry their own prompts'),
    ({'evaluation.episodes': 2, 'sim.task': ''}, 'there is no simulator, as config.sim.task is'),
    ({'iterations': 0, 'actor.lr': 0.5}, 'config.iterations is 0, and a warm start comes before'),
    ({'iterations': 0, 'discount': 0.5}, 'config.iterations is 0, and a warm start comes before'),
    (
      {'iterations': 0, 'actor.best_of': 4},
      'config.iterations is 0, and a warm start comes before',
    ),
    ({'iterations': 0, 'recap.drop': 0.5}, 'config.iterations is 0, and a warm start comes before'),
    (
      {'iterations': 0, 'data.ratios.demo': 0.5},
      'config.iterations is 0, and a warm start comes before',
    ),
    (
      {'iterations': 0, 'actor.beta_unit': 'raw'},
      'config.iterations is 0, and a warm start comes before',
    ),
    (
      {'iterations': 0, 'train.critic_updates_per_call': 3},
      'config.iterations is 0, and a warm start comes before',
    ),
    (
      {'data.episodes': '()', 'iterations': 0, 'data.failures': False},
      'config.iterations is 0, and demonstrations of the simulator that fail are not kept',
    ),
    (
      {'iterations': 0, 'fail.cost': 9.0},
      'config.iterations is 0, and in a warm start no failure costs anything; it is kept for',
    ),
    (
      {'critic.backup': 'monte_carlo', 'critic.target': 'min'},
      "config.critic.backup is 'monte_carlo', and returns as they were ask no target network",
    ),
    (
      {'critic.backup': 'monte_carlo', 'critic.polyak': 0.5},
      "config.critic.backup is 'monte_carlo', and returns as they were ask no target network",
    ),
    ({'agent': 'awr', 'critic.polyak': 0.5}, 'the critic of this config.agent learns from returns'),
    ({'agent': 'recap', 'critic.polyak': 0.5}, 'the critic of this config.agent learns from'),
    ({'critic.size': 1, 'critic.pessimism': 'mean'}, 'config.critic.size is 1, and one network is'),
    (
      {'critic.size': 1, 'critic.target': 'independent'},
      'config.critic.size is 1, and one network is its own mean and its own least',
    ),
    ({'critic.size': 1, 'critic.ensemble': 'full'}, 'config.critic.size is 1, and one network is'),
    ({'agent': 'bc', 'discount': 0.5}, 'this config.agent learns no critic'),
    ({'recap.drop': 0.5}, 'this config.agent tags no chunks'),
    ({'critic.bins': 8}, 'it is of a critic of states, as AWR has'),
    ({'agent': 'bc', 'critic.lr': 1.0}, 'this config.agent learns no critic'),
    ({'agent': 'bc', 'actor.beta': 2.0}, 'with this config.agent all chunks weigh the same'),
    ({'agent': 'awr', 'critic.size': 3}, 'it is of a critic of actions, as ALOE has'),
    ({'actor.remat': 'dots'}, "it is of config.actor.kind='pi05'"),
    ({'data.norm_stats': 'compute'}, "config.data.normalization is 'none'"),
    ({'fail.cost': 9.0, 'fail.lengths': 2.0}, 'config.fail.cost is given'),
    ({'critic.encoder': 'no_file.npz'}, "it is of config.actor.kind='pi05'"),
    (
      {'data.episodes': '()', 'iterations': 0, 'data.timeout': 'bootstrap'},
      'config.iterations is 0, and demonstrations of the simulator that fail are not kept',
    ),
    (
      {'data.episodes': '()', 'agent': 'bc', 'data.timeout': 'bootstrap'},
      'this config.agent imitates demonstrations alone, and those of the simulator that fail',
    ),
    (
      {'data.episodes': '()', 'agent': 'filtered_bc', 'data.failures': False},
      'this config.agent imitates nothing but fragments that ended in success',
    ),
    (
      {'data.episodes': '()', 'agent': 'filtered_bc', 'data.takeover': 'continue'},
      'this config.agent imitates nothing but fragments that ended in success',
    ),
    (
      {'data.episodes': '()', 'agent': 'dagger', 'data.takeover': 'continue'},
      'this config.agent imitates nothing of the policy that ended in a take-over',
    ),
    ({'task.cameras': ('head',)}, "config.sim.observation is 'objects', which are seen without"),
  ],
)
def test_a_setting_that_does_nothing_is_warned_of_by_name(settings, told, tmp_path, caplog):
  given = {'data.episodes': "('table',)", **settings}
  read(tmp_path, 'train', FILE, *(f'--config.{field}={x}' for field, x in given.items()))
  (record,) = caplog.records
  field, value = (
    list(settings.items())[-1] if 'sim.task' not in settings else next(iter(settings.items()))
  )
  assert record.getMessage().startswith(f'config.{field} = {value!r} does nothing: {told}')


@pytest.mark.parametrize(
  'settings',
  [
    {'agent': 'filtered_bc', 'data.failures': False},  # failures among those given are imitated
    {'agent': 'bc', 'data.timeout': 'bootstrap'},
    {'agent': 'dagger', 'data.takeover': 'continue'},
    {'data.episodes': '()', 'agent': 'dagger', 'data.timeout': 'bootstrap'},  # of the human too
    {'data.episodes': '()', 'agent': 'filtered_policy_bc', 'data.failures': False},
    {'data.episodes': '()', 'data.takeover': 'continue'},
    {'task.cameras': ('head',), 'sim.observation': 'pixels'},
    {'sim.image_size': 48},
  ],
)
def test_a_setting_that_does_something_is_not_warned_of(settings, tmp_path, caplog):
  given = {'data.episodes': "('table',)", **settings}
  read(tmp_path, 'train', FILE, *(f'--config.{field}={x}' for field, x in given.items()))
  assert not caplog.records


def test_an_environment_of_gymnasium_heeds_no_size_of_images(tmp_path, caplog):
  flags = ('--config=experiments/ogbench.py:cube_single_debug', '--config.sim.image_size=48')
  read(tmp_path, 'train', *flags)
  (record,) = caplog.records
  assert record.getMessage().startswith('config.sim.image_size = 48 does nothing: images of the')


@pytest.mark.parametrize(
  'settings',
  [
    {'critic.backup': 'td', 'critic.target': 'min', 'critic.polyak': 0.5},
    {'critic.size': 2, 'critic.pessimism': 'mean', 'critic.ensemble': 'full'},
    # A warm start leaves out demonstrations that failed.
    {'data.episodes': "('table',)", 'iterations': 0, 'data.failures': False},
    {'iterations': 0, 'actor.ema': 0.5, 'actor.weight_decay': 0.5, 'actor.final_lr': 0.5},
  ],
)
def test_settings_in_the_company_that_heeds_them_are_no_matter(settings, tmp_path, caplog):
  read(tmp_path, 'train', FILE, *(f'--config.{field}={x}' for field, x in settings.items()))
  assert not caplog.records


def test_settings_that_do_something_or_are_as_they_were_are_no_matter(tmp_path, caplog):
  read(tmp_path, 'train', FILE, '--config.critic.lr=1', '--config.recap.drop=0.3')
  assert not caplog.records
