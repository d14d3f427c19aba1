"""Rounds on a robot: more episodes in the same working directory are the next iteration."""

import json
import shutil

import pytest
import rounds

from aloe_jax import checkpoints
from aloe_jax import report


@pytest.fixture(scope='module', autouse=True)
def quick(tmp_path_factory):
  with rounds.quick(tmp_path_factory):
    yield


@pytest.fixture(scope='module')
def second(after_one_round, robots_rounds):
  """The same run after the second."""
  workdir = after_one_round.parent / 'two'
  shutil.copytree(after_one_round, workdir)
  rounds.go_on(workdir, rounds.given(robots_rounds, 'one', 'two'), '--config.critic.updates=10')
  return workdir


def listed(workdir):
  return [
    (entry['path'].rpartition('/')[2], entry['iteration'])
    for entry in json.loads((workdir / 'manifest.json').read_text())
  ]


def test_a_second_round_is_iteration_2_of_the_same_run(
  after_one_round, second, robots_rounds, tmp_path, capsys
):
  first, data = after_one_round, robots_rounds
  assert rounds.numbers(second) == [0, 1, 2, 3, 4]
  assert listed(first) == [('one', 0)]
  assert listed(second) == [('one', 0), ('two', 2)]
  for number in range(3):
    rounds.assert_same_bits(rounds.state(second, number), rounds.state(first, number))
  lines = rounds.metrics(second)
  assert lines[: len(rounds.metrics(first))] == rounds.metrics(first)
  steps = [(line['phase'], line['step']) for line in lines[len(rounds.metrics(first)) :]]
  assert [step for phase, step in steps if phase == 'critic'] == [65, 70]  # critic.updates
  assert [step for phase, step in steps if phase == 'actor'] == [75, 80, 85, 90]
  metas = [json.loads((second / f'checkpoints/{n}/meta/metadata').read_text()) for n in (2, 4)]
  assert [meta['iteration'] for meta in metas] == [1, 2]
  assert metas[0]['action_kind'] == 'velocity'  # as the episodes tell
  for name in ('action_kind', 'norm_stats', 'fail_cost', 'return_range'):
    assert metas[0][name] == metas[1][name]
  workdir = tmp_path / 'run'
  shutil.copytree(second, workdir)
  skipped = [f'--config.{part}.updates=0' for part in ('critic', 'actor')]
  rounds.go_on(workdir, rounds.given(data, 'one', 'two', 'three'), *skipped)
  printed = ' '.join(capsys.readouterr().out.split())
  assert (
    'Iteration 3: 2 new episodes of three join 7; critic.updates = 0, actor.updates = 0.' in printed
  )
  assert f'aloe_jax.serve --workdir={workdir} --robot=simulator' in printed
  assert 'after those of before' in printed and "/three', 'DIRECTORY')" in printed
  assert listed(workdir)[2:] == [('three', 3)]
  rounds.go_on(workdir)  # knows them by now, and that all is done
  assert 'Critic' not in capsys.readouterr().out


def test_a_round_that_was_not_finished_ends_on_its_own_episodes_before_the_next(
  second, robots_rounds, tmp_path
):
  """Bit for bit where one after the other ends, the statistics of before too."""
  data = robots_rounds
  workdir = tmp_path / 'run'
  with rounds.killed_in('Warm start'):
    rounds.begin(workdir, rounds.given(data, 'one'))
  assert rounds.numbers(workdir) == []
  with rounds.killed_in('Critic 2'):
    rounds.go_on(workdir, rounds.given(data, 'one', 'two'), '--config.critic.updates=10')
  rounds.go_on(workdir)
  rounds.assert_same_run(workdir, second)


def test_the_first_round_after_imitation_alone_is_iteration_1(
  robots_rounds, tmp_path, capsys, caplog
):
  """Its critic learns from the policy's episodes too, and not from demonstrations alone before."""
  workdir = tmp_path / 'run'
  rounds.begin(workdir, rounds.given(robots_rounds, 'one'), iterations=0)
  assert rounds.numbers(workdir) == [0]
  rounds.go_on(workdir, rounds.given(robots_rounds, 'one', 'two'), '--config.iterations=2')
  told = [r.getMessage() for r in caplog.records if 'iterations' in r.getMessage()]
  unheeded, said = told
  assert unheeded.startswith('config.train.critic_updates_per_call = 5 does nothing')
  assert said.startswith('config.iterations = 2 counts as 1: without a simulator there is one')
  assert rounds.numbers(workdir) == [0, 1, 2]
  assert listed(workdir) == [('one', 0), ('two', 1)]
  printed = ' '.join(capsys.readouterr().out.split())
  assert (
    'Iteration 1: 3 new episodes of two join 4; critic.first_updates = 20, actor.updates = 20.'
    in printed
  )
  rounds.go_on(workdir, rounds.given(robots_rounds, 'one', 'two', 'three'))
  assert listed(workdir)[2:] == [('three', 2)]


def test_report_and_list_know_the_rounds(second, capsys):
  report.main([f'--workdir={second}', '--iteration=1'])
  found = json.loads((second / 'report.json').read_text())
  # On what came after it was trained.
  assert (found['iteration'], found['held_out'], found['episodes']) == (1, True, 3)
  capsys.readouterr()
  checkpoints.main([f'--workdir={second}'])
  rows = [line.split('│')[1:4] for line in capsys.readouterr().out.splitlines() if '│' in line]
  shown = [tuple(cell.strip() for cell in row) for row in rows]
  assert shown == [
    ('0', 'warm_start', '0'), ('1', 'critic', '1'), ('2', 'actor', '1'), ('3', 'critic', '2'),
    ('4', 'actor', '2'),
  ]  # fmt: skip


@pytest.mark.parametrize(
  'names, arguments, told',
  [
    (('two',), (), 'two holds other episodes than {data}/one, in whose place'),
    (('two', 'one'), (), 'two holds other episodes than {data}/one, in whose place'),
    ((), (), 'learnt from 1: expected all of those first, in their order'),
    (('one', 'two', 'two'), (), 'config.data.episodes holds {data}/two twice'),
    (('one', 'copy'), (), '{data}/copy adds nothing: it holds the same episodes as {data}/one'),
    (('one', 'missing'), (), '{data}/missing, which does not exist'),
    (('one', 'arm'), (), '{data}/arm: state: found 3 numbers a step, expected config.task.'),
    (('one', 'places'), (), '{data}/one: velocity\n{data}/places: position'),
    (('one', 'two'), ('--config.iterations=0',), 'config.iterations is 0: nothing would learn'),
    (('one', 'two'), ('--redo=actor',), '--redo=actor collects nothing, and config.data.episodes'),
  ],
)
def test_what_is_no_further_round_is_refused_by_name_and_nothing_is_changed(
  names, arguments, told, after_one_round, robots_rounds
):
  first, data = after_one_round, robots_rounds
  kept = {name: (first / name).read_text() for name in ('manifest.json', 'config.json')}
  found = rounds.refusal(first, rounds.given(data, *names), *arguments)
  assert told.format(data=data) in found, found
  assert {name: (first / name).read_text() for name in kept} == kept


@pytest.mark.parametrize('asked, of', [('redo=critic', 2), ('more=critic', 3)])
def test_the_first_critics_updates_are_of_no_later_one_that_learns(asked, of, second):
  told = rounds.refusal(second, f'--{asked}', '--config.critic.first_updates=5')
  assert told == (
    f'error: config.critic.first_updates is of the critic of iteration 1, and --{asked} teaches '
    f'that of iteration {of}; expected config.critic.updates.'
  )


@pytest.mark.parametrize('more', [(), ('--config.critic.first_updates=4', '--config.iterations=0')])
def test_later_critics_updates_are_not_of_the_first_that_is_taught_again(more, after_one_round):
  told = rounds.refusal(after_one_round, '--redo=critic', '--config.critic.updates=5', *more)
  assert told == (
    'error: config.critic.updates is of critics after the one of iteration 1, which --redo=critic '
    'teaches again, and none of them is to learn; leave it out, and give '
    'config.critic.first_updates.'
  )
