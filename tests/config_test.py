"""What can be wrong with a command line is said in one message, before any work."""

import json
import signal
import subprocess
import sys

import command_line
import ml_collections
import pytest

from aloe_jax import command_line as command_line_lib
from aloe_jax import config as config_lib
from aloe_jax import evaluate
from aloe_jax import export
from aloe_jax import ranges
from aloe_jax import report
from aloe_jax import stopping
from aloe_jax import train
from experiments import common
from experiments import laundry

SIZES_OF_TOWERS = ('vision', 'language', 'expert')  # checked by what they must divide
CONFIG = '--config=experiments/laundry.py:sim_debug'


@pytest.mark.parametrize(
  'arguments, message',
  [
    (
      [CONFIG, '--config.actr.lr=1'],
      'config.actr.lr is not a field of this config; did you mean config.actor.lr?',
    ),
    (
      [CONFIG, '--config.critic.polyac=0.1'],
      'config.critic.polyac is not a field of this config; did you mean config.critic.polyak?',
    ),
    (
      [CONFIG, '--config.actor.lr=fast'],
      "flag --config.actor.lr=fast: could not convert string to float: 'fast'",
    ),
    (
      [CONFIG, '--config.agent=sac'],
      "config.agent is 'sac'; expected one of 'aloe', 'awr', 'bc', 'dagger', 'filtered_bc', 'fil",
    ),
    (
      [CONFIG, '--config.task.execute=9'],
      'config.task.execute is 9, more than the chunk of 8 steps.',
    ),
    ([CONFIG, '--config.data.episodes=(3,)'], 'config.data.episodes holds 3; expected paths'),
    (['--config=experiments/laundry.py:simm'], "unknown variant 'simm' of the experiment; exp"),
    (
      ['--config=experiments/landry.py:sim', '--config.seed=1'],
      '--config names experiments/landry.py, which is no file with an experiment; did you mean '
      'experiments/laundry.py?',
    ),
    (
      ['--config=README.md'],
      '--config names README.md, which is no file with an experiment; expected one such as '
      'experiments/laundry.py.',
    ),
    ([CONFIG, 'extra'], "unexpected argument 'extra'; every option begins with --."),
  ],
)
def test_a_wrong_command_line_is_told_what_is_wrong(arguments, message, tmp_path):
  workdir = tmp_path / 'run'
  result = command_line.run('train', *arguments, f'--workdir={workdir}')
  command_line.assert_refused(result, message)
  assert result[2].count('\n') == 1
  assert not workdir.exists()


@pytest.mark.parametrize(
  'given, meant',
  [
    ('actor.learning_rate', 'actor.lr'),
    ('actr.lr', 'actor.lr'),
    ('critic.batch', 'critic.batch_size'),
    ('gamma', 'discount'),
    ('task.horizon', 'task.chunk'),
    ('horizon', 'critic.horizon'),
    ('best_of', 'actor.best_of'),
    ('actor.beta_units', 'actor.beta_unit'),
    ('critic.temperature', 'actor.beta'),
    ('data.norm_stat', 'data.norm_stats'),
    ('actor.zzz', ''),
    ('colour', ''),
  ],
)
def test_the_field_that_was_meant_is_told_and_none_where_nothing_is_near(given, meant):
  known = config_lib.flat(laundry.get_config())
  assert given not in known
  assert command_line_lib.nearest(given, known) == meant


def test_a_field_that_nothing_is_like_is_told_where_all_are():
  config = laundry.get_config('sim_debug')
  with pytest.raises(ValueError, match='config.colour is not a field of this config; aloe_jax/def'):
    command_line_lib.override(config, ['--config.colour=red'])


@pytest.mark.parametrize(
  'argv, file, overrides, options',
  [
    (['--config=a.py', '--config.seed=1'], 'a.py', ['--config.seed=1'], {}),
    (['--config.seed', '-1', '--config', 'a.py'], 'a.py', ['--config.seed', '-1'], {}),
    (['-config=a.py', '--noconfig.actor.bank'], 'a.py', ['--noconfig.actor.bank'], {}),
    (['--config.seed=1', '--seed', '-3'], '', ['--config.seed=1'], {'seed': -3}),
  ],
)
def test_options_and_fields_may_stand_in_any_order(argv, file, overrides, options):
  parser = command_line_lib.parser('aloe_jax.train', '')
  parser.add_argument('--seed', type=int)
  given = command_line_lib.parse(parser, ['--workdir=run', *argv])
  assert (given.file, list(given.overrides)) == (file, overrides)
  assert vars(given.options).items() >= options.items()
  config = laundry.get_config('sim_debug')
  values = command_line_lib.override(config, given.overrides)
  assert values.items() <= config_lib.flat(config).items()
  assert len(values) == 1


def test_a_field_by_its_old_name_is_set_and_the_new_name_told(caplog):
  config = laundry.get_config('sim_debug')
  command_line_lib.override(config, ['--config.critic.language=True'])
  assert config.critic.prompt is True
  assert (
    caplog.records[0].getMessage() == 'config.critic.language is called config.critic.prompt now.'
  )


def test_an_option_that_there_is_not_is_told_the_nearest(capsys):
  parser = command_line_lib.parser('aloe_jax.train', '')
  with pytest.raises(SystemExit) as stopped:
    command_line_lib.parse(parser, ['--wokdir=run'])
  assert stopped.value.code == 2
  assert capsys.readouterr().err == (
    'error: there is no option --wokdir; did you mean --workdir?\n'
  )


@pytest.mark.parametrize(
  'command, options',
  [
    (train, ['--redo', '--more']),
    (evaluate, ['--checkpoint', '--against', '--unseen', '--disturb', '--seed']),
    (report, ['--iteration', '--episodes', '--count']),
    (export, ['--checkpoint', '--to', '--format', '--asset']),
  ],
)
def test_help_lists_the_options_of_the_command_and_how_fields_are_set(command, options, capsys):
  with pytest.raises(SystemExit) as stopped:
    command.main(['--help'])
  assert stopped.value.code == 0
  printed = capsys.readouterr().out
  for words in ('--workdir DIR', '--config FILE', '--config.FIELD=VALUE', 'defaults.py', *options):
    assert words in printed
  assert len(printed.splitlines()) < 30
  assert max(map(len, printed.splitlines())) <= 100


def test_whoever_imports_the_package_gets_no_flags():
  program = """
import importlib, pathlib
from absl import flags
before = set(flags.FLAGS)
for path in pathlib.Path('aloe_jax').rglob('*.py'):
  if not path.name.startswith('__') and path.parent.name != 'importers':
    try:
      importlib.import_module('.'.join(path.with_suffix('').parts))
    except ModuleNotFoundError as error:  # of simulators that ask for another MuJoCo
      assert error.name.partition('.')[0] in ('gym_aloha', 'metaworld'), error
found = {name for name, owner in flags.FLAGS.flags_by_module_dict().items() if 'aloe' in name}
assert not found and not {'config', 'workdir', 'checkpoint'} & set(flags.FLAGS), found
"""
  subprocess.run([sys.executable, '-c', program], cwd=command_line.ROOT, check=True)


def test_a_new_run_needs_an_experiment(tmp_path):
  result = command_line.run('train', f'--workdir={tmp_path}')
  command_line.assert_refused(
    result, f'--config is missing, and {tmp_path} holds no run, which would know its own; see'
  )


def test_a_command_without_a_working_directory_has_nowhere_to_write():
  result = command_line.run('train', CONFIG)
  command_line.assert_refused(result, '--workdir is missing; see --help.')


@pytest.mark.parametrize(
  'field, value, message',
  [
    ('parallel.mode', 'tensor', "config.parallel.mode is 'tensor'; expected one of 'pmap', 'fsdp'"),
    ('sim.task', 'juggle', "config.sim.task is 'juggle'; expected one of '', 'pack_phone'"),
    ('actor.samples', 0, 'config.actor.samples is 0; expected more than 0'),
    ('data.ratios.demo', -1.0, 'config.data.ratios.demo is -1.0; expected 0 or more'),
    (
      'actor.beta',
      -1.0,
      'config.actor.beta is -1.0; expected 0 .that of config.actor.rule. or 1e-6 ',
    ),
    ('critic.updates', -1, r'config.critic.updates is -1; expected 0 \(skip\) or more'),
    ('discount', 1.0, 'config.discount is 1.0; expected between 0 and 1'),
    ('critic.horizon', 9, r"horizon is 9; expected 'chunk' .*, 'execute' .* of steps, 1 to 8\."),
    ('critic.horizon', 'plan', r"critic.horizon is 'plan'; expected 'chunk' \(the whole chunk\), "),
    ('critic.horizon', 2.0, r'critic.horizon is 2.0; expected'),
    ('critic.horizon', True, r'critic.horizon is True; expected'),
    ('critic.heads', 3, 'config.critic.heads is 3, which does not divide the width of 16'),
    (
      'actor.small.steps_per_token',
      3,
      'steps_per_token is 3, which does not divide the chunk of 8 steps; set a divisor of it, such '
      'as --config.actor.small.steps_per_token=1',
    ),
  ],
)
def test_values_that_cannot_be_are_refused_by_name(field, value, message):
  config = laundry.get_config('sim_debug')
  config_lib.validate(config)
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=message):
    config_lib.validate(config)


@pytest.mark.parametrize(
  'variant, changes, message',
  [
    ('sim_debug', {'actor.best_of': 0}, 'config.actor.best_of is 0; expected more than 0'),
    (
      'sim_debug',
      {'actor.augment': True},
      'config.actor.augment is True, but the small actor learns from images as they are',
    ),
    (
      'debug',
      {'task.cameras': ('head', 'chest')},
      r"config.task.cameras is \('head', 'chest'\); expected some of \('head', 'left_wrist', 'r",
    ),
    (
      'debug',
      {'task.action_size': 7},
      r'covers 14 numbers, but an action has 7 .*--config.task.delta="\(6,-1\)" for all but a grip',
    ),
    (
      'debug',
      {'task.proprio_size': 13},
      r'covers 14 numbers, but the state has 13 .*--config.task.delta="\(12,-1\)"',
    ),
    (
      'debug',
      {'actor.image_size': 30},
      'config.actor.image_size is 30 pixels; expected a multiple of the patch of 14',
    ),
    (
      'debug',
      {'task.action_size': 33},
      'config.task.action_size is 33, more than the 32 that config.actor.action_size has room for',
    ),
    (
      'debug',
      {'actor.vision.heads': 3},
      'actor.vision.heads is 3, which does not divide 32',
    ),
    (
      'debug',
      {'actor.language.kv_heads': 3},
      'config.actor.language.kv_heads is 3, which does not divide 4',
    ),
    (
      'debug',
      {'actor.language.kv_heads': 4},
      'config.actor.language has 4 heads and as many kv_heads; published weights of that kind',
    ),
    ('debug', {'actor.kind': 'pi0'}, "config.actor.kind is 'pi0'; expected one of 'small', 'pi05'"),
    (
      'debug',
      {'actor.remat': 'all'},
      "remat is 'all'; expected one of 'none', 'full', 'dots'",
    ),
    (
      'debug',
      {'data.normalization': 'minmax'},
      "config.data.normalization is 'minmax'; expected one of 'quantile', 'zscore', 'none'",
    ),
  ],
)
def test_values_that_do_not_go_together_are_refused_by_name(variant, changes, message):
  config = laundry.get_config(variant)
  config_lib.validate(config)
  config.update_from_flattened_dict(changes)
  with pytest.raises(ValueError, match=message):
    config_lib.validate(config)


def test_every_choice_is_of_a_field_that_exists():
  config = laundry.get_config()
  for field in config_lib.CHOICES:
    config_lib.lookup(config, field)


def test_differences_are_listed_leaf_by_leaf():
  found = {'a': 1, 'b': {'c': 2, 'd': [3]}, 'only': None}
  expected = {'a': 1, 'b': {'c': 4, 'd': [3], 'new': 'x'}}
  assert config_lib.differences(found, expected) == [
    'b.c: 2 there, 4 here',
    "b.new: None there, 'x' here",
  ]


def test_only_what_the_user_did_becomes_a_message():
  with pytest.raises(SystemExit, match='error: too short'), config_lib.user_errors():
    raise ValueError('too short')
  with pytest.raises(SystemExit, match='error: not there'), config_lib.user_errors():
    raise FileNotFoundError('not there')
  with pytest.raises(AssertionError), config_lib.user_errors():
    raise AssertionError


def test_a_config_is_kept_as_json_with_sorted_names(tmp_path):
  path = tmp_path / 'run' / 'config.json'
  config_lib.keep(ml_collections.ConfigDict({'b': (1, 2), 'a': {'c': 'x'}}), path)
  kept = json.loads(path.read_text())
  assert list(kept.items()) == [('a', {'c': 'x'}), ('b', [1, 2]), ('version', 1)]
  assert [file.name for file in path.parent.iterdir()] == ['config.json']


def test_who_interrupts_a_command_is_told_how_to_go_on_and_shown_no_traceback(monkeypatch):
  def interrupted():
    raise KeyboardInterrupt

  def ended(number, said):
    raise SystemExit(f'{number}: {said}')

  monkeypatch.setattr(stopping, 'end_at_once', ended)  # else it would end the tests
  said = f'{signal.SIGINT}: Stopped. The same command goes on after what was finished.'
  with pytest.raises(SystemExit, match=f'^{said}$'):
    command_line_lib.run(interrupted)


def test_joints_relative_to_more_numbers_than_an_action_has_are_refused():
  config = laundry.get_config('debug')
  config.task.update(action_size=7, delta=(6, -1, 6, -1))
  with pytest.raises(ValueError, match='config.task.delta is .6, -1, 6, -1., which covers 14 num'):
    config_lib.validate(config)


def test_debug_keeps_what_a_robot_says_of_its_joints_and_its_width():
  config = laundry.get_config()
  config.task.update(action_size=7, proprio_size=7, delta=(6, -1))
  task = common.apply_variant(config, 'debug', sim_task='').task
  assert (task.action_size, task.proprio_size, task.delta) == (7, 7, (6, -1))


@pytest.mark.parametrize(
  'field, value, expected',
  [
    ('fail.lengths', -1.0, 'more than 0'),
    ('fail.cost', float('nan'), 'a finite number'),
    ('actor.lr', float('inf'), 'a finite number'),
    ('actor.ema', 2.0, '0 to 1'),
    ('actor.warmup', -5, '0 or more'),
    ('critic.heads', 0, 'more than 0'),
    ('critic.polyak', -0.5, '0 to 1'),
    ('critic.bins', 0, 'more than 0'),
    ('data.ratios.demo', float('inf'), 'a finite number'),
    ('iterations', -3, '0 to 2047'),
    ('seed', -1, '0 to 2147483647'),
    ('sim.rollouts', 0, 'the episodes that the policy plays'),
    ('sim.attempts', 0, 'the demonstrations that are tried'),
    ('task.cameras', ('head', 'head'), 'some of'),
    ('task.control_hz', -1.0, '0 .as the data have it. or more'),
  ],
)
def test_a_number_that_makes_no_sense_is_refused_by_its_field(field, value, expected):
  config = laundry.get_config('sim_debug')
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=f'config.{field} is .*; expected {expected}'):
    config_lib.validate(config)


def test_every_number_of_a_config_has_a_range():
  numbers = {
    field
    for field, value in config_lib.flat(laundry.get_config()).items()
    if type(value) in (int, float)
  }
  in_table = {field for _, names in ranges._FIELDS for field in names.split()}
  towers = {field for field in numbers if field.split('.')[:2][-1] in SIZES_OF_TOWERS}
  assert numbers == in_table | towers


@pytest.mark.parametrize(
  'section, field, value, expected',
  [
    ('actor', 'lr', None, 'float'),
    ('actor', 'updates', True, 'int'),
    ('actor', 'augment', 1, 'bool'),
    ('critic', 'encoder', None, 'str'),
  ],
)
def test_a_kept_value_of_another_type_is_refused_by_field(section, field, value, expected):
  tree = json.loads(laundry.get_config('sim_debug').to_json())
  tree[section][field] = value
  message = f'kept: {section}.{field} is {value}; expected a value of {expected}'
  with pytest.raises(ValueError, match=message):
    config_lib.from_json(tree, 'kept')
