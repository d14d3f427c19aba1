"""A command starts from what the run keeps, and refuses what contradicts what was learnt."""

import json

import pytest
import tiny

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import defaults
from aloe_jax import renamed
from aloe_jax.run import appended
from aloe_jax.run import changeable
from aloe_jax.run import checkpoints
from aloe_jax.run import kept
from experiments import common
from experiments import laundry
from experiments import ogbench
from experiments import pack_phone
from experiments import sort_products

FILE = '--config=experiments/laundry.py:sim_debug'


CHANGES = dict(agent='awr', critic__lr=1e-4, data__episodes=('table', 'other'))


def make_config(**changes):
  config = laundry.get_config('sim_debug')
  config.update_from_flattened_dict({name.replace('__', '.'): x for name, x in changes.items()})
  return config


@pytest.fixture
def workdir(tmp_path):
  """A run that was started with settings of its own."""
  keep(tmp_path, **CHANGES)
  return tmp_path


OWN = config_lib.flat(make_config(**CHANGES))


def read(workdir, command, *arguments, checkpoint=None):
  """The fields of a command's config."""
  parser = command_line.parser(f'aloe_jax.{command}', '')
  given = command_line.parse(parser, [f'--workdir={workdir}', *arguments])
  return config_lib.flat(kept.config(given, command, checkpoint))


def keep(workdir, **changes):
  """Keeps a config; its fields."""
  config = make_config(**changes)
  config_lib.keep(config, workdir / 'config.json')
  return config_lib.flat(config)


def refusal(*arguments, **options):
  with pytest.raises(SystemExit) as stopped:
    read(*arguments, **options)
  return stopped.value.code.splitlines()


@pytest.mark.parametrize(
  'made',
  [
    *(
      module.get_config(variant)
      for module in (laundry, pack_phone, sort_products)
      for variant in common.VARIANTS
    ),
    *(ogbench.get_config(task + end) for task in ogbench.TASKS for end in ('', ogbench.DEBUG)),
    make_config(data__episodes=('a', 'b'), actor__lr=1, task__cameras=('head',)),
  ],
)
def test_every_config_comes_back_as_it_was_with_every_type(made, tmp_path):
  config_lib.keep(made, tmp_path / 'config.json')
  found = config_lib.read(tmp_path / 'config.json')
  assert found == made
  types = {field: type(x) for field, x in config_lib.flat(made).items()}
  assert {field: type(x) for field, x in config_lib.flat(found).items()} == types


def test_the_numbers_of_an_agent_of_ones_own_come_back_too(tmp_path):
  made = make_config(agent='toy:AGENT')
  made.toy = dict(share=0.25, sizes=(1, 2), inner=dict(depth=3))
  config_lib.keep(made, tmp_path / 'config.json')
  assert config_lib.read(tmp_path / 'config.json') == made
  made.agent = 'aloe'
  with pytest.raises(ValueError, match='here: toy.inner.depth, toy.share, toy.sizes: no '):
    config_lib.check_fields(made, 'here')


@pytest.mark.parametrize('command', changeable.COMMANDS)
def test_a_run_knows_its_config(command, workdir):
  assert read(workdir, command) == OWN


@pytest.mark.parametrize('command', changeable.COMMANDS)
@pytest.mark.parametrize(
  'field, value, told',
  [
    ('discount', 0.9, '0.99, the command line says 0.9'),
    ('task.chunk', 16, '8, the command line says 16'),
    ('critic.width', 32, '16, the command line says 32'),
    ('agent', 'aloe', "'awr', the command line says 'aloe'"),
    ('fail.cost', 9.0, '0.0, the command line says 9.0'),
    ('data.normalization', 'zscore', "'none', the command line says 'zscore'"),
  ],
)
def test_what_was_learnt_cannot_be_said_otherwise(command, field, value, told, workdir):
  lines = refusal(workdir, command, f'--config.{field}={value}')
  assert lines[0] == f'error: {workdir} is of another config:'
  assert lines[1] == f'  the run has {field} = {told}'
  assert lines[2].startswith('What was learnt stays as it was; give another --workdir')
  assert len(lines) == 3


@pytest.mark.parametrize(
  'command, field, value',
  [
    ('train', 'iterations', 7),
    ('train', 'critic.lr', 3e-4),
    ('train', 'train.critic_updates_per_call', 5),
    ('evaluate', 'evaluation.episodes', 7),
    ('evaluate', 'parallel.mode', 'pmap'),
    ('report', 'data.cache', 'elsewhere'),
    ('export', 'data.cache', 'elsewhere'),
  ],
)
def test_what_is_still_to_be_done_may_be_changed(command, field, value, workdir):
  assert read(workdir, command, f'--config.{field}={value}') == OWN | {field: value}


@pytest.mark.parametrize('command', changeable.COMMANDS)
def test_a_run_of_when_all_seeds_had_the_same_scenes_goes_on_with_those(command, tmp_path, caplog):
  had = keep(tmp_path, evaluation__seed=1_000_000)
  assert read(tmp_path, command) == read(tmp_path, command, FILE) == had
  assert not caplog.records
  if command == 'evaluate':
    asked = read(tmp_path, command, '--config.evaluation.seed=-1')
    assert asked == had | {'evaluation.seed': -1}


def test_a_run_that_goes_on_says_what_is_new(workdir, capsys):
  read(workdir, 'train', '--config.critic.lr=3e-4')
  assert capsys.readouterr().out == ''  # whatever comes may still refuse the command
  made = make_config(**CHANGES | dict(critic__lr=3e-4, data__episodes=('table', 'other', 'new')))
  kept.keep(made, workdir)
  assert capsys.readouterr().out == 'From here on critic.lr = 0.0003; it was 0.0001.\n'
  kept.keep(made, workdir)
  assert capsys.readouterr().out == ''


def test_a_run_that_begins_says_nothing_of_a_change(tmp_path, capsys):
  kept.keep(make_config(**CHANGES), tmp_path)
  assert config_lib.flat(config_lib.read(tmp_path / 'config.json')) == OWN
  assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
  'command, field, value',
  [
    ('export', 'actor.best_of', 4),
    ('export', 'evaluation.episodes', 4),
    ('evaluate', 'critic.lr', 1.0),
    ('report', 'iterations', 5),
  ],
)
def test_what_does_nothing_in_a_command_is_refused(command, field, value, workdir):
  (told,) = refusal(workdir, command, f'--config.{field}={value}')
  assert told == f'error: config.{field} does nothing in `{command}`; leave it out.'


def test_a_file_that_contradicts_the_run_is_named_and_a_forgotten_flag_is_none(workdir):
  lines = refusal(workdir, 'evaluate', FILE)
  assert lines[1] == f"  the run has agent = 'awr', {FILE.partition('=')[2]} says 'aloe'"
  assert lines[2].startswith('What was learnt stays as it was; leave --config out to use the run')
  assert len(lines) == 3  # learning rate and episodes were of the training
  found = read(workdir, 'evaluate', FILE, '--config.agent=awr')
  assert found == OWN


def test_a_file_that_differs_in_what_may_be_changed_is_warned_of(workdir, caplog):
  found = read(workdir, 'train', FILE, '--config.agent=awr')
  assert found['critic.lr'] == 1e-4
  (record,) = caplog.records
  assert record.getMessage() == (
    'the run has critic.lr = 0.0001, experiments/laundry.py:sim_debug says 0.001, which is not '
    'used; give --config.critic.lr to change it, or leave --config out.'
  )


def test_a_robots_policy_can_be_looked_at_in_the_simulator_and_no_other_task_put_under_it(tmp_path):
  keep(tmp_path, sim__task='')
  assert read(tmp_path, 'evaluate', FILE)['sim.task'] == 'fold_laundry'
  keep(tmp_path)
  lines = refusal(tmp_path, 'evaluate', '--config.sim.task=pack_phone')
  assert lines[1] == ("  the run has sim.task = 'fold_laundry', the command line says 'pack_phone'")


def test_a_checkpoint_of_another_run_brings_its_own_config(workdir, tmp_path):
  saved = checkpoints.Checkpoints(tmp_path / 'other' / 'checkpoints')
  meta = {'architecture': {}, 'config': json.loads(make_config(agent='bc').to_json())}
  saved.save(2, tiny.make_state(tiny.make_learner()), {}, meta)
  path = str(saved.path(2))
  expected = config_lib.flat(make_config(agent='bc'))
  assert read(workdir, 'evaluate', checkpoint=path) == expected
  assert read(tmp_path / 'other', 'evaluate') == expected  # without config.json
  assert refusal(workdir, 'evaluate', '--config.agent=awr', checkpoint=path)[:2] == [
    f'error: {path} is of another config:',
    "  the run has agent = 'bc', the command line says 'awr'",
  ]


def test_an_old_run_reads_with_the_values_that_mean_what_was_done_then(tmp_path):
  old = json.loads(make_config().to_json())
  old['critic']['language'] = old['critic'].pop('prompt')
  for field in renamed.ADDED:
    *sections, leaf = field.split('.')
    place = old
    for section in sections:
      place = place[section]
    del place[leaf]
  (tmp_path / 'config.json').write_text(json.dumps(old))
  assert read(tmp_path, 'evaluate') == config_lib.flat(make_config()) | renamed.ADDED


@pytest.mark.parametrize(
  'damage, told',
  [
    (lambda text: text[:40], 'config.json: found no whole JSON: it is cut off in line'),
    (lambda text: '[]', 'config.json: found list, expected the fields of a config; move it away'),
    (lambda text: text.replace('"lr"', '"rate"'), 'config.json: actor.rate, critic.rate: no such'),
    (lambda text: text.replace('"seed": 0,', ''), 'config.json: seed: missing; expected every'),
    (
      lambda text: text.replace('0.99,', '"high",'),
      "discount is 'high'; expected a value of float.",
    ),
  ],
)
def test_a_config_that_cannot_be_read_is_told_apart(damage, told, tmp_path):
  keep(tmp_path)
  path = tmp_path / 'config.json'
  path.write_text(damage(path.read_text()))
  (line,) = refusal(tmp_path, 'evaluate')
  assert told in line
  assert str(path) in line


@pytest.mark.parametrize('given, told', [(0, False), (1, False), (2, True), (5, True)])
def test_more_iterations_than_a_round_makes_are_said_to_count_as_one(given, told, tmp_path, caplog):
  options = ('--config.sim.task=', "--config.data.episodes=('table',)")
  read(tmp_path, 'train', FILE, *options, f'--config.iterations={given}')
  said = [record.getMessage() for record in caplog.records]
  assert len(said) == told
  assert not told or said[0].startswith(
    f'config.iterations = {given} counts as 1: without a simulator there is one iteration for '
    'every round of episodes.'
  )


@pytest.mark.parametrize('field', ['recap.positive', 'recap.drop'])
@pytest.mark.parametrize('share', [-0.5, 2.0])
def test_a_share_is_one_whatever_the_agent(field, share, tmp_path):
  (told,) = refusal(tmp_path, 'train', FILE, f'--config.{field}={share}')
  assert told == f'error: config.{field} is {share}; expected 0 to 1.'


def test_every_field_of_the_tables_is_one():
  known = config_lib.flat(defaults.paper())
  for fields in changeable.COMMANDS.values():
    for name in (*fields.used, *fields.idle):
      assert any(field == name or field.startswith(f'{name}.') for field in known), name
  assert set(renamed.ADDED) <= set(known)


def test_what_is_left_to_the_data_is_as_the_run_has_it(tmp_path):
  keep(tmp_path, task__proprio_size=14, task__cameras=('head',))
  left = ('--config.task.proprio_size=0', '--config.task.cameras=()')
  for arguments in ((FILE,), left):
    found = read(tmp_path, 'train', *arguments)
    assert (found['task.proprio_size'], found['task.cameras']) == (14, ('head',))
  lines = refusal(tmp_path, 'train', '--config.task.proprio_size=7')
  assert lines[1] == '  the run has task.proprio_size = 14, the command line says 7'


@pytest.mark.parametrize('checkpoint', [None, 0, 1])
def test_what_a_phase_that_is_not_done_learns_by_may_be_changed_until_it_is(checkpoint, tmp_path):
  had = keep(tmp_path)
  if checkpoint is not None:
    saved = checkpoints.Checkpoints(tmp_path / 'checkpoints')
    saved.save(checkpoint, tiny.make_state(tiny.make_learner()), {}, {'architecture': {}})
  for field, value, last in (
    ('actor.warm_start_lr', 1e-5, None),
    ('actor.warm_start_updates', 7, None),
    ('critic.first_updates', 7, 0),
  ):
    given = f'--config.{field}={value}'
    if checkpoint is None or (last is not None and checkpoint <= last):
      assert read(tmp_path, 'train', given) == had | {field: value}
    else:
      assert f'the run has {field} = ' in refusal(tmp_path, 'train', given)[1]
  assert (
    'warm_start_updates' in refusal(tmp_path, 'train', '--config.actor.warm_start_updates=0')[1]
  )


def test_what_an_option_has_learnt_again_may_be_learnt_otherwise(tmp_path):
  had = keep(tmp_path)
  saved = checkpoints.Checkpoints(tmp_path / 'checkpoints')
  for number in range(3):
    saved.save(number, tiny.make_state(tiny.make_learner()), {}, {'architecture': {}})

  def asking(*arguments):
    parser = command_line.parser('aloe_jax.train', '')
    appended.add_options(parser)
    given = command_line.parse(parser, [f'--workdir={tmp_path}', *arguments])
    return config_lib.flat(kept.config(given, 'train'))

  for option, field, value in (
    ('--redo=actor', 'actor.beta', 2.0),
    ('--more=actor', 'data.ratios.demo', 0.5),
    ('--more=critic', 'critic.polyak', 0.5),
    ('--redo=critic', 'actor.clip', 9.0),
  ):
    assert asking(option, f'--config.{field}={value}') == had | {field: value}
  for option, field, remedy in (
    ('--more=critic', 'actor.beta', 'to train anew.'),
    ('--redo=critic', 'critic.width', 'to train anew.'),
    ('', 'actor.beta', 'or give --redo=actor to have the actor learn again with that.'),
    ('', 'critic.polyak', 'or give --redo=critic to have the critic learn again with that.'),
    (
      '--redo=actor',
      'critic.polyak',
      'give --redo=critic to have the critic learn again with that.',
    ),
    ('--redo=actor', 'critic.width', 'to train anew.'),
  ):
    with pytest.raises(SystemExit) as stopped:
      asking(*([option] if option else []), f'--config.{field}=8')
    assert stopped.value.code.endswith(remedy)


def put_checkpoint(workdir, number):
  saved = checkpoints.Checkpoints(workdir / 'checkpoints')
  saved.save(number, tiny.make_state(tiny.make_learner()), {}, {'architecture': {}})


def put_save(workdir, name):
  """A save inside a phase, as far as it tells of itself."""
  (workdir / 'unfinished' / name / 'meta').mkdir(parents=True)
  (workdir / 'unfinished' / name / 'meta' / 'metadata').write_text('{}')


# Learnt by critic and actor, by the critic, by the actor, and by the warm start too.
BY = {
  'critic.pessimism': 'mean',
  'actor.rule': 'paper',
  'actor.beta': 8.0,
  'actor.ema': 0.5,
}


@pytest.mark.parametrize(
  'numbers, save, free',
  [
    ((), None, (True, True, True, True)),
    ((), '0-4', (True, True, True, False)),
    ((0,), None, (True, True, True, True)),
    ((0,), '1-4', (False, False, True, True)),
    ((0, 1), None, (False, False, True, True)),
    ((0, 1), '2-4', (False, False, False, False)),
    ((0, 1, 2), None, (False, False, False, False)),
  ],
)
def test_what_no_phase_has_learnt_by_yet_may_be_changed(numbers, save, free, tmp_path):
  had = keep(tmp_path)
  for number in numbers:
    put_checkpoint(tmp_path, number)
  if save:
    put_save(tmp_path, save)
  for (field, value), may in zip(BY.items(), free, strict=True):
    given = f'--config.{field}={value}'
    if may:
      assert read(tmp_path, 'train', given) == had | {field: value}
    else:
      assert f'  the run has {field} = ' in refusal(tmp_path, 'train', given)[1]
  for field, value in (('critic.width', 32), ('discount', 0.5)):  # what the state is made of
    assert 'is of another config' in refusal(tmp_path, 'train', f'--config.{field}={value}')[0]


def test_what_an_open_iteration_has_learnt_by_changes_once_it_is_finished(tmp_path):
  keep(tmp_path)
  for number in (0, 1):
    put_checkpoint(tmp_path, number)
  assert refusal(tmp_path, 'train', '--config.actor.rule=paper')[-1] == (
    'What was learnt stays as it was; give another --workdir to train anew, or have iteration 1, '
    'which has begun, finish first, and then give --redo=critic to have the critic learn again '
    'with that.'
  )
