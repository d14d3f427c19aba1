"""What a run does where its simulator scales numbers otherwise than when it began."""

import json

import gymnasium
from gymnasium import spaces
import numpy as np
import pytest

from aloe_jax.envs import gymnasium_numbers
from aloe_jax.envs import gymnasium_spaces
from aloe_jax.run import ranges_kept

TASK = 'gymnasium:mine:Reach-v0'


class Reach(gymnasium.Env):
  action_space = spaces.Box(np.float32([-1, -1]), np.float32([1, 3]))

  def __init__(self, most):
    self.observation_space = spaces.Dict(
      proprio=spaces.Box(-np.inf, np.inf, (1,)), way=spaces.Box(-most, most, (2,))
    )


class World:
  def __init__(self, most):
    self.ranges = gymnasium_spaces.Spaces(Reach(most), TASK).ranges


def begin(workdir):
  """What is there once a run has its first episodes."""
  ranges_kept.check(World(2.0), TASK, workdir, keeps=True)
  (workdir / 'manifest.json').write_text('[]')


def test_ranges_are_those_of_each_number_in_its_place():
  assert World(2.0).ranges == {
    'observation': [None, (-2.0, 2.0), (-2.0, 2.0)],
    'action': [(-1.0, 1.0), (-1.0, 3.0)],
    'observation_names': [
      f'observation[{name}]' for name in ("'proprio'][0", "'way'][0", "'way'][1")
    ],
    'action_names': ['action[0]', 'action[1]'],
  }


def declared(action=Reach.action_space, **parts):
  return gymnasium_numbers.declared(spaces.Dict(**parts), action)  # in the order given


ARM, WAY = spaces.Box(-1.0, 1.0, (1,)), spaces.Box(-1.0, 1.0, (2, 1))


@pytest.mark.parametrize(
  'other, told',
  [
    (
      declared(way=WAY, arm=ARM),
      "observation['way'][0, 0] as number 0 of the observation, and had ",
    ),
    (
      declared(arm=ARM, ways=WAY),
      "observation['ways'][0, 0] as number 1 of the observation, and ha",
    ),
    (
      declared(arm=ARM, way=spaces.Box(-1.0, 1.0, (1, 2))),
      "observation['way'][0, 1] as number 2 of the observation, and had observation['way'][1, 0]",
    ),
    (
      declared(arm=ARM, way=spaces.MultiDiscrete([1, 1])),
      "observation['way'] (MultiDiscrete([1 1]))[0] as number 1 of the observation, and had ",
    ),
    (
      declared(spaces.Box(np.float32([-1, -5]), np.float32([1, np.inf])), arm=ARM, way=WAY),
      'action[1], -5 or more as number 1 of the action, and had action[1]',
    ),
    (
      declared(spaces.Box(np.array([-1, -1]), np.array([1, 3]), dtype=int), arm=ARM, way=WAY),
      'action[0], a whole number as number 0 of the action, and had action[0]',
    ),
    (
      declared(spaces.Box(np.float32([-1, -1]), np.float32([1, 3.001])), arm=ARM, way=WAY),
      'bounds of -1 to 3.001 for number 1 of the action, and had bounds of -1 to 3',
    ),
  ],
)
def test_a_number_in_the_place_of_another_is_told(other, told):
  assert gymnasium_numbers.changed(declared(arm=ARM, way=WAY), other).startswith(f'has {told}')


def test_rounding_and_files_without_names_are_no_change():
  one = declared(arm=spaces.Box(-0.3, 0.3, (1,), np.float32))
  other = declared(arm=spaces.Box(-0.3, 0.3 + 1e-12, (1,), np.float64))
  assert not gymnasium_numbers.changed(one, other)
  older = {what: one[what] for what in gymnasium_numbers.PARTS}
  assert not gymnasium_numbers.changed(older, declared(way=spaces.Box(-0.3, 0.3, (1,))))
  assert gymnasium_numbers.changed(older, declared(way=spaces.Box(-0.4, 0.3, (1,))))


def test_a_run_goes_on_with_the_ranges_that_it_began_with(tmp_path):
  begin(tmp_path)
  ranges_kept.check(World(2.0), TASK, tmp_path, keeps=True)
  kept = json.loads((tmp_path / ranges_kept.FILE).read_text())
  assert kept['task'] == TASK and kept['observation'][1] == [-2.0, 2.0]
  told = (
    'bounds of -200 to 200 for number 1 of the observation, and had bounds of -2 to 2; expected'
  )
  with pytest.raises(ValueError, match=f'{ranges_kept.FILE}: {TASK} has {told}'):
    ranges_kept.check(World(200.0), TASK, tmp_path)
  with pytest.raises(ValueError, match='has no bounds for number 1'):
    ranges_kept.check(World(1e9), TASK, tmp_path)
  assert json.loads((tmp_path / ranges_kept.FILE).read_text()) == kept


def test_a_run_that_starts_from_anothers_checkpoint_is_told_of_other_ranges(tmp_path, caplog):
  checkpoint = tmp_path / 'checkpoints' / '0'
  ranges_kept.check_start(World(2.0), TASK, checkpoint)
  begin(tmp_path)
  ranges_kept.check_start(World(2.0), TASK, checkpoint)
  assert not caplog.text
  ranges_kept.check_start(World(200.0), TASK, checkpoint)
  assert f'learnt in {TASK}; {TASK} has bounds of -200 to 200 for number 1' in caplog.text
  wider = World(2.0)
  wider.ranges['observation'].append(None)
  with pytest.raises(ValueError, match='has 4 numbers of the observation, and had 3. Expected'):
    ranges_kept.check_start(wider, TASK, checkpoint)


@pytest.mark.parametrize(
  'text', ['[]', 'null', '{"task": "a"}', '{"observation": [[1, "2"]], "action": []}']
)
def test_a_file_of_something_else_is_refused_with_what_to_do(tmp_path, text):
  begin(tmp_path)
  (tmp_path / ranges_kept.FILE).write_text(text)
  with pytest.raises(ValueError, match=f'{ranges_kept.FILE}: found .*, expected a task .* remove'):
    ranges_kept.check(World(2.0), TASK, tmp_path)


def test_another_task_may_have_others_which_is_said(tmp_path, caplog):
  begin(tmp_path)
  ranges_kept.check(World(2.0), 'gymnasium:mine:Other-v0', tmp_path)
  assert not caplog.records
  ranges_kept.check(World(5.0), 'gymnasium:mine:Other-v0', tmp_path)
  assert 'the policy has learnt in gymnasium:mine:Reach-v0' in caplog.text


def test_where_nothing_is_kept_only_a_run_writes_it(tmp_path):
  ranges_kept.check(World(2.0), TASK, tmp_path)
  assert not (tmp_path / ranges_kept.FILE).exists()


def test_a_run_that_has_no_episodes_yet_begins_with_what_the_environment_has_now(tmp_path):
  for most in (2.0, 5.0):
    ranges_kept.check(World(most), TASK, tmp_path, keeps=True)
  kept = json.loads((tmp_path / ranges_kept.FILE).read_text())
  assert kept['observation'][1] == [-5.0, 5.0]
