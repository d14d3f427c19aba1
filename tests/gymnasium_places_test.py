"""Places of episodes, in one process or shared out over several: the episodes are the same."""

import flax.struct
import jax
import numpy as np
import pytest

from aloe_jax.envs import gymnasium_place
from aloe_jax.envs import gymnasium_places
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_task

EPISODES, LIMIT = 11, 9  # more than there are places


@flax.struct.dataclass
class Wandering:
  """Acts at random, so that what it does depends on the place and on when it is asked."""

  def act(self, sight, key):
    return jax.random.uniform(key, (len(sight.state), 3, 1), minval=-1.5, maxval=1.0)


@pytest.fixture(scope='module')
def task():
  return gymnasium_task.Task('gymnasium:line_world:Rescued-v0')


def play(task, processes, policy, human):
  setup = gymnasium_rollout.Setup(task, 2, LIMIT, human, processes)
  told = []
  found = setup.run(
    policy, key=jax.random.key(3), episodes=EPISODES, progress=lambda *x: told.append(x)
  )
  return found, told


def test_episodes_do_not_depend_on_the_number_of_processes(task):
  for policy, human in ((Wandering(), 'watching'), (None, 'demonstrating')):
    (here, told), (shared, told_too) = (play(task, n, policy, human) for n in (1, 2))
    jax.tree.map(np.testing.assert_array_equal, here, shared)
    assert told == told_too
    assert len(set(here.lengths)) > 1


def test_processes_are_started_once_for_all_rollouts_of_a_task(task):
  play(task, 2, None, 'demonstrating')
  places = gymnasium_places.make(task, 2)
  play(task, 2, Wandering(), 'none')
  assert gymnasium_places.make(task, 2) is places


def test_what_goes_wrong_in_a_process_is_told_here(task):
  places = gymnasium_places.make(task, 2)
  places.rules(gymnasium_place.Rules(LIMIT, 'none'))
  places.begin({0: 1, 1: 2})
  with pytest.raises(RuntimeError, match='(?s)line_world:Rescued-v0, in a process.*NoneType'):
    places.play({1: None})
  assert places.is_closed


def test_a_process_that_was_killed_is_told_with_what_to_do(task):
  places = gymnasium_places.make(task, 2)
  places.rules(gymnasium_place.Rules(LIMIT, 'none'))
  places._processes[1].kill()
  message = r'Rescued-v0: .* SIGKILL, while it waited for what to do\. .* --config.sim.processes=1'
  with pytest.raises(ValueError, match=message):
    for _ in range(100):
      places.begin({1: 2})


@pytest.mark.parametrize('asked, cores, expected', [(0, 3, 3), (0, 64, 8), (2, 64, 2), (99, 1, 8)])
def test_there_is_a_process_a_core_and_none_without_a_place(asked, cores, expected, monkeypatch):
  started = []
  monkeypatch.setattr(gymnasium_places, 'cores', lambda: cores)
  monkeypatch.setattr(gymnasium_places, 'SharedOut', lambda task, count: started.append(count))
  gymnasium_places.make(gymnasium_task.Task('gymnasium:line_world:Line-v0'), asked)
  assert started == [expected]


def test_one_core_starts_no_process(task, monkeypatch):
  monkeypatch.setattr(gymnasium_places, 'cores', lambda: 1)
  assert isinstance(gymnasium_places.make(task, 0), gymnasium_places.Here)


def test_places_stand_where_their_episodes_are(task):
  places = gymnasium_places.make(task, 1)
  places.rules(gymnasium_place.Rules(LIMIT, 'none'))
  begun = places.begin({0: 5, 4: 6})
  assert {place: (now.steps, now.record) for place, now in begun.items()} == {
    0: (0, None),
    4: (0, None),
  }
  now = places.play({4: np.full((2, 1), -0.5)})[4]
  assert (now.steps, now.record) == (2, None)
  np.testing.assert_allclose(now.sight.state, begun[4].sight.state - 1.0, atol=1e-6)
  now = places.play({4: np.full((9, 1), -1.0)})[4]
  assert len(now.record.action) == now.steps
