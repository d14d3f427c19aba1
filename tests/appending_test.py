"""Which iteration a run is appended, from what it has on disk, and when it is refused."""

import argparse
import json
import re

import pytest

from aloe_jax.run import appended
from aloe_jax.run import appending
from aloe_jax.run import plan
from experiments import laundry


@pytest.fixture
def history(tmp_path):
  """Makes the working directory of a run: what was appended, newest checkpoint, evaluations."""

  def make(entries=(), done=2, played=False, missing=(), **changes):
    config = laundry.get_config('sim_debug')
    config.iterations = 1
    config.sim.task = 'fold_laundry' if played else ''
    config.update_from_flattened_dict({name.replace('__', '.'): x for name, x in changes.items()})
    for number in range((-1 if done is None else done) + 1):
      if number not in missing:
        (tmp_path / 'checkpoints' / str(number)).mkdir(parents=True)
    if entries:
      names = ('iteration', 'asked', 'of', 'begins', 'bank')
      listed = [dict(zip(names, entry, strict=True)) for entry in entries]
      (tmp_path / 'appended.json').write_text(json.dumps(listed))
    return tmp_path, config

  return make


def append(asked, made, agent=''):
  workdir, config = made
  return appending.append(asked, plan.read(config, workdir), workdir, agent)


REDO = (2, 'redo=actor', 1, 1, 1)
CRITIC = (2, 'redo=critic', 1, 0, 1)
MORE = (2, 'more=critic', 1, 2, 2)


@pytest.mark.parametrize(
  'entries, asked, expected',
  [
    ((), 'redo=actor', (2, 'redo=actor', 1, 1, 1)),
    ((), 'redo=critic', (2, 'redo=critic', 1, 0, 1)),
    ((), 'more=actor', (2, 'more=actor', 1, 2, 2)),
    # Where the newest critic phase began is where the one began that it uses, or redoes.
    ((REDO,), 'redo=critic', (3, 'redo=critic', 1, 0, 1)),
    ((CRITIC,), 'redo=critic', (3, 'redo=critic', 1, 0, 1)),
    ((CRITIC,), 'redo=actor', (3, 'redo=actor', 2, 3, 1)),
    ((REDO,), 'redo=actor', (3, 'redo=actor', 2, 3, 1)),
    ((REDO,), 'more=critic,actor', (3, 'more=critic,actor', 2, 4, 3)),
    # The policy has not moved since its bank was drawn.
    ((MORE,), 'more=critic', (3, 'more=critic', 2, 4, 2)),
    ((MORE,), 'redo=actor', (3, 'redo=actor', 2, 3, 2)),
    ((MORE,), 'redo=critic', (3, 'redo=critic', 2, 2, 2)),
  ],
)
def test_an_iteration_begins_where_what_it_learns_again_or_further_does(
  entries, asked, expected, history
):
  made = append(asked, history(entries, done=2 + 2 * len(entries)))
  one = made.appended[-1]
  assert (one.iteration, one.asked, one.of, one.begins, one.bank) == expected
  assert made.last == one.iteration
  assert not made.collects(one.iteration)


def test_without_a_critic_the_actor_begins_from_the_iteration_before(history):
  made = append('redo=actor', history(missing=(1,)), agent='bc')
  assert made.appended[-1].begins == 0
  assert made.origin(2, warms_up=False, has_critic=False) == 0
  assert made.origin(4, warms_up=False, has_critic=False) == 4


def test_what_is_appended_is_counted_beside_the_iterations_that_collect(history):
  workdir, config = history((REDO, (5, 'more=actor', 4, 8, 5)), done=10, played=True)
  for iterations, last in ((1, 5), (3, 5), (4, 6), (6, 8)):
    config.iterations = iterations
    made = plan.read(config, workdir)
    assert made.last == last
    collecting = [number for number in range(1, last + 1) if made.collects(number)]
    assert collecting == [n for n in (1, 3, 4, 6, 7, 8) if n <= last]


def test_a_critic_learns_for_as_long_as_the_one_that_it_stands_for(history):
  sizes = dict(critic__first_updates=7, critic__updates=5, actor__updates=3)
  workdir, config = history((CRITIC, (3, 'more=critic', 2, 4, 3)), done=6, **sizes)
  made = plan.read(config, workdir)
  found = [(made.updates(n, 'critic'), made.updates(n, 'actor')) for n in (1, 2, 3, 4)]
  assert found == [(7, 3), (7, 3), (5, 0), (5, 3)]


@pytest.mark.parametrize(
  'asked, changes, told',
  [
    ('redo=actor', dict(done=None), 'the run of {run} has no checkpoint; expected an iteration'),
    ('more=actor', dict(done=0), 'has nothing but its warm start; expected an iteration that'),
    ('more=critic', dict(done=1), 'iteration 1 of {run} has begun and is not finished; give the'),
    ('redo=critic', dict(agent='bc'), "'bc' learns no critic; expected actor"),
    ('more=critic,actor', dict(agent='bc'), "'bc' learns no critic; expected actor"),
    ('redo=critic', dict(missing=(0,)), 'no warm start of its own'),
    ('redo=actor', dict(missing=(1,), train__keep=1), 'config.train.keep has had it removed'),
    ('redo=actor', dict(actor__updates=0), 'config.actor.updates is 0, so that no actor would'),
    ('redo=critic', dict(critic__first_updates=0), 'config.critic.first_updates is 0, so that no'),
    ('more=critic', dict(critic__updates=0), 'config.critic.updates is 0, so that no critic'),
    ('redo=actor', dict(entries=(MORE,)), 'iteration 2 of {run}, --more=critic, is not finished'),
    ('redo=actor', dict(played=True), 'iteration 1 of {run} has begun and is not finished'),
  ],
)
def test_what_cannot_be_appended_is_refused_with_what_can_be_done(asked, changes, told, history):
  agent = changes.get('agent', '')
  made = history(**{name: x for name, x in changes.items() if name != 'agent'})
  with pytest.raises(ValueError, match=re.escape(told.format(run=made[0]))):
    append(asked, made, agent)


def test_the_rest_of_an_iteration_is_no_further_one(history):
  made = append('more=critic', history((MORE,), done=3))
  assert len(made.appended) == 1


@pytest.mark.parametrize(
  'text',
  [
    '[{"iteration": 2, "asked": "redo=actor"',
    '[{"iteration": 2, "asked": "redo=actor"}]',
    '[{"iteration": "2", "asked": "redo=actor", "of": 1, "begins": 1, "bank": 1}]',
    '[{"iteration": 2, "asked": "redo=all", "of": 1, "begins": 1, "bank": 1}]',
    '[{"iteration": 1, "asked": "redo=actor", "of": 1, "begins": 1, "bank": 1}]',
    '[{"iteration": 2, "asked": "redo=actor", "of": 2, "begins": 1, "bank": 1}]',
    '[{"iteration": 2, "asked": "redo=actor", "of": 1, "begins": 3, "bank": 1}]',
    '[{"iteration": 2, "asked": "redo=actor", "of": 1, "begins": 1, "bank": 3}]',
  ],
)
def test_a_damaged_list_is_named(text, tmp_path):
  (tmp_path / 'appended.json').write_text(text)
  with pytest.raises(ValueError, match=r'appended.json: .*found .*; put back the file as the run'):
    appended.read(tmp_path)


@pytest.mark.parametrize('second', ['--redo=critic', '--more=actor'])
def test_one_iteration_is_asked_for_at_a_time(second):
  parser = argparse.ArgumentParser()
  appended.add_options(parser)
  with pytest.raises(ValueError, match=f'--redo=actor and {second} are 2 iterations'):
    appended.asked(parser.parse_args(['--redo=actor', second]))
