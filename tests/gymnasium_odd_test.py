"""Gymnasium environments that do what they should not: each is one error that says what and when.

No error may leave a person without the environment's name, nor a wrong number pass for a right one.
"""

import logging
import re

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax import config as config_lib
from aloe_jax import types
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import stage as stage_lib
from aloe_jax.envs import worlds
from experiments import laundry


@flax.struct.dataclass
class Constant:
  """Plays one number in all joints."""

  number: float = 0.0

  def act(self, sight, key):
    return jnp.full((len(sight.state), 3, 2), self.number)


def setup_of(kind, human='none', processes=1):
  task = gymnasium_task.Task(f'gymnasium:odd_world:{kind}-v0')
  return gymnasium_rollout.Setup(task, 2, 5, human, processes)


def play(kind, human='none', *, number=0.0, processes=1, episodes=1):
  setup = setup_of(kind, human, processes)
  policy = None if human == 'demonstrating' else Constant(number)
  return setup.run(policy, key=jax.random.key(0), episodes=episodes)


def refusal(kind, human='none', **options):
  """What a person is told, one line that begins with the environment and when it was."""
  with pytest.raises(ValueError) as caught:
    play(kind, human, **options)
  told = str(caught.value)
  assert told.startswith(f'gymnasium:odd_world:{kind}-v0'), told
  assert '\n' not in told
  return told


def test_what_is_right_is_played_without_a_word(caplog):
  for human in ('none', 'watching', 'demonstrating'):
    found = play('Right', human)
    assert found.first_end.tolist() == [types.EndReason.SUCCESS]
  assert 'odd_world' not in caplog.text
  np.testing.assert_array_equal(found.action[0], np.float32([[0.1, 0.2]] * 3))


@pytest.mark.parametrize('processes', [1, 2])
def test_what_was_sent_is_recorded_though_the_environment_changes_it(processes):
  by_human = play('ScalesInPlace', 'demonstrating', processes=processes)
  np.testing.assert_array_equal(by_human.action[0], np.float32([[0.1, 0.2]] * 3))
  by_policy = play('ScalesInPlace', number=0.5, processes=processes)
  np.testing.assert_array_equal(by_policy.action[0], np.full((3, 2), 0.5, np.float32))


@pytest.mark.parametrize(
  'kind, found',
  [
    ('SuccessIsText', "'False'"),
    ('SuccessIsNan', 'nan'),
    ('SuccessIsNone', 'None'),
    ('SuccessIsHalf', '0.5'),
    ('SuccessIsTwo', 'array([ True, True])'),
  ],
)
def test_a_success_that_is_neither_yes_nor_no_is_refused(kind, found):
  told = refusal(kind)
  assert ', step 3 (seed ' in told
  assert f"info['success'] is {found}; expected True or False (or one number, 0 or 1)." in told


@pytest.mark.parametrize(
  'kind, end',
  [('SuccessIsOne', types.EndReason.SUCCESS), ('SuccessIsZero', types.EndReason.FAILURE)],
)
def test_a_success_may_be_one_number(kind, end):
  assert play(kind).first_end.tolist() == [end]


@pytest.mark.parametrize(
  'kind, found',
  [
    ('RewardIsNan', 'nan'),
    ('RewardIsNone', 'None'),
    ('RewardIsTwo', 'array([1., 1.])'),
    ('RewardIsText', "'1.0'"),
  ],
)
def test_a_reward_that_says_how_it_ended_is_one_finite_number(kind, found):
  told = refusal(kind)
  assert ', step 1 (seed ' in told
  assert f"the reward is {found} and info has no 'success'; expected one finite number." in told


def test_a_reward_may_be_an_array_of_one():
  assert play('RewardIsArray').first_end.tolist() == [types.EndReason.SUCCESS]


@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize(
  'kind, paid, end',
  [('Fallen', '1', types.EndReason.SUCCESS), ('Lost', '-0.5', types.EndReason.FAILURE)],
)
def test_success_that_is_read_off_the_reward_is_said_once(kind, paid, end, processes, caplog):
  with caplog.at_level(logging.WARNING):
    found = play(kind, processes=processes, episodes=9)
  assert set(found.first_end) == {end}
  (told,) = [text for text in caplog.messages if 'odd_world' in text]
  assert told.startswith(f'gymnasium:odd_world:{kind}-v0: success is read off the reward, as info')
  assert f"This first end paid {paid}. Say info['success'] in every step" in told


def test_a_success_by_another_name_is_named(caplog):
  with caplog.at_level(logging.WARNING):
    play('OtherName', episodes=2)
  assert [text.partition(': ')[2][:50] for text in caplog.messages if 'odd_world' in text] == [
    "info has no 'success' but 'Success', which is not ",
    "success is read off the reward, as info has no 'su",
  ]


def test_two_signs_of_success_that_differ_are_refused():
  told = refusal('TwoSigns')
  assert ', step 3 (seed ' in told
  assert "info['success'] is True and info['is_success'] is False; expected one answer" in told
  assert play('TwoEqualSigns').first_end.tolist() == [types.EndReason.SUCCESS]


def test_success_is_told_at_all_ends_or_at_none():
  told = refusal('SignUpToTheEnd')
  assert 'step 3 (seed ' in told
  assert "info has no 'success' in this step and had one before; expected it at every end" in told
  told = refusal('SignOfSome', episodes=9)
  assert "info has a 'success' in this step and had none at an earlier end; expected it" in told


@pytest.mark.parametrize(
  'kind, message',
  [
    ('SeesNan', "observation['room'] holds nan; expected finite numbers"),
    ('SeesInfinity', "observation['proprio'] holds -inf; expected finite numbers"),
    ('SeesMoreThanFloat32', "observation['room'] holds 1e+300; expected finite numbers that float"),
    ('SeesText', "observation['room'] is ['far']; expected numbers of shape (1,)"),
    ('SeesNothing', "observation['room'] is None; expected numbers of shape (1,)"),
    ('SeesMore', 'of shape (3,); expected numbers of shape (2,), as its space has'),
    ('SeesAside', 'of shape (1, 2); expected numbers of shape (2,), as its space has'),
    (
      'LacksRoom',
      "observation lacks 'room' (it has 'proprio', 'rooms'); expected a dict with 'proprio', 'ro",
    ),
  ],
)
def test_an_observation_that_cannot_be_read_is_named_with_its_key(kind, message):
  for human in ('none', 'demonstrating'):
    told = refusal(kind, human)
    assert ', step 2 (seed ' in told
    assert message in told


@pytest.mark.parametrize(
  'kind, message',
  [
    ('SeesAList', 'observation is [0.0, 0.0, 0.0], of shape (3,); expected a dict with'),
    ('SeesNoSuchChoice', "observation['choice'] is -1; expected what is in its space Discrete(3)"),
    ('ResetWithoutInfo', 'reset returned dict {'),
    ('ResetWithoutInfo', 'expected 2 values, observation and info (a dict).'),
    ('ResetFails', 'reset raised OSError: no display :0 (odd_world.py:'),
    ('ResetExits', 'reset raised SystemExit: 0 (odd_world.py:'),
  ],
)
def test_what_goes_wrong_at_the_start_of_an_episode_is_told_with_its_seed(kind, message):
  told = refusal(kind)
  assert re.search(r', the start of an episode \(seed \d+\): ', told)
  assert message in told


def test_an_observation_may_be_lists_of_numbers():
  found = play('SeesLists')
  np.testing.assert_array_equal(found.state[0], np.float32([[0, 0], [0, 0], [0.5, 0.5]]))


@pytest.mark.parametrize('processes', [1, 2])
def test_observations_out_of_bounds_are_said_once_and_played(processes, caplog):
  with caplog.at_level(logging.WARNING):
    found = play('SeesFar', processes=processes, episodes=9)
  assert set(found.first_end) == {types.EndReason.SUCCESS}
  told = [record.getMessage() for record in caplog.records]
  (told,) = [message for message in told if 'odd_world' in message]
  assert told.startswith(
    "gymnasium:odd_world:SeesFar-v0: observation['proprio'] holds 1e+09, outside of its bounds "
    '-1 to 1.'
  )


@pytest.mark.parametrize('processes', [1, 2])
def test_seeds_that_begin_different_scenes_are_said_once(processes, caplog):
  with caplog.at_level(logging.WARNING):
    found = play('BeginsElsewhere', processes=processes, episodes=9)
  assert set(found.first_end) == {types.EndReason.SUCCESS}
  (told,) = [text for text in caplog.messages if 'odd_world' in text]
  assert re.match(
    r'gymnasium:odd_world:BeginsElsewhere-v0: two calls of reset\(seed=\d+\) began with diff', told
  )
  # The first episode of a process, place by place, is its environment's second reset.
  room = np.round(np.expm1(found.features[:8, 0, 2]) * 100)
  assert room.ravel().tolist() == [2] * processes + [1] * (8 - processes)


def world_of(kind, **task):
  config = laundry.get_config('sim_debug')
  config.sim.task = f'gymnasium:odd_world:{kind}-v0'
  config.task.update(action_size=0, proprio_size=0, **task)
  return worlds.make(config, None, False)


def test_an_environment_made_for_other_episodes_is_told_with_the_settings_for_its_own(caplog):
  with caplog.at_level(logging.WARNING):
    world_of('Short', max_steps=10_000, control_hz=0.0)
  name = 'gymnasium:odd_world:Short-v0: its '
  limit, rate = [text for text in caplog.messages if 'odd_world' in text]
  assert limit.startswith(f'{name}max_episode_steps is 5, but episodes last up to 10000 steps,')
  assert '--config.task.max_steps=5 ' in limit
  assert rate.startswith(f'{name}render_fps is 10, but 30 steps pass for a second')
  assert '--config.task.control_hz=10,' in rate


@pytest.mark.parametrize(
  'kind, max_steps, control_hz', [('Short', 5, 10.0), ('Right', 10_000, 0.0)]
)
def test_settings_that_fit_an_environment_are_not_spoken_of(kind, max_steps, control_hz, caplog):
  with caplog.at_level(logging.WARNING):
    world_of(kind, max_steps=max_steps, control_hz=control_hz)
  assert 'odd_world' not in caplog.text


def test_bounds_that_are_missed_by_rounding_are_not_spoken_of(caplog):
  with caplog.at_level(logging.WARNING):
    play('SeesRounded')
  assert 'bounds' not in caplog.text


@pytest.mark.parametrize(
  'kind, message',
  [
    ('StepOfFour', 'step returned 4 values (dict, float, bool, dict); expected 5 values: obs'),
    ('StepWithoutInfo', 'step returned 5 values (dict, float, bool, bool, NoneType); expected 5'),
    ('StepOfNothing', 'step returned NoneType None; expected 5 values: observation, reward, term'),
    ('TerminatedIsText', "terminated is 'False'; expected True or False"),
    ('StepFails', "step raised KeyError: 'gripper' (odd_world.py:"),
    ('StepExits', 'step raised SystemExit: 0 (odd_world.py:'),
  ],
)
def test_a_step_that_is_none_is_told_with_its_number(kind, message):
  told = refusal(kind)
  assert ', step 1 (seed ' in told
  assert message in told


@pytest.mark.parametrize(
  'kind, message',
  [
    ('ActsNothing', "the human's action is None; expected an array of shape (2,)"),
    ('ActsOne', "the human's action is [0.1], of shape (1,); expected an array of shape (2,)"),
    ('ActsOneNumber', "the human's action is 0.1, of shape (); expected an array of shape (2,)"),
    ('ActsThree', 'of shape (3,); expected an array of shape (2,), as the action space has'),
    ('ActsNan', "the human's action is [0.1, nan]; expected finite numbers"),
    ('ActsText', "the human's action is ['left', 'right']; expected an array of shape (2,)"),
    ('ActFails', 'the human raised OSError: no joystick (odd_world.py:'),
  ],
)
def test_what_a_human_does_is_a_number_for_every_joint(kind, message):
  told = refusal(kind, 'demonstrating')
  assert ', step 1 (seed ' in told
  assert message in told


@pytest.mark.parametrize('kind, is_said', [('ActsFar', True), ('ActsRounded', False)])
def test_what_a_human_does_beyond_the_action_space_is_said_once(kind, is_said, caplog):
  with caplog.at_level(logging.WARNING):
    found = play(kind, 'demonstrating', episodes=2)
  np.testing.assert_array_equal(found.action[0], [[0.5, 1.0]] * 3)
  told = [text for text in caplog.messages if 'odd_world' in text]
  assert len(told) == is_said
  expected = "the human's action has 3 as number 1, outside of its bounds -1 to 1. The nearest"
  assert all(expected in text for text in told)


@pytest.mark.parametrize(
  'kind, message',
  [
    ('Nobody', 'make_human returned None, which has no act and no alarmed; expected a person'),
    ('NotAPerson', 'which has no act and no alarmed; expected a person with act(observation'),
    ('HumanFails', 'make_human raised OSError: no joystick'),
    ('AlarmedIsText', "the human's alarmed(observation, info) is 'no'; expected True or False"),
    ('AlarmFails', 'the human raised ZeroDivisionError: division by zero'),
    ('RecoverOfNothing', 'recover returned NoneType None; expected 2 values, observation and'),
  ],
)
def test_who_stands_beside_is_a_person(kind, message):
  assert message in refusal(kind, 'watching')


def test_what_a_policy_does_is_finite_too():
  assert "the policy's action is array([nan, nan]" in refusal('Right', number=np.nan)


@pytest.mark.parametrize(
  'kind, message',
  [
    ('NoActions', 'of 0 numbers; expected at least 1. Declare an action_space'),
    ('NoObservations', 'observations are Dict(), of 0 numbers; expected at least 1.'),
    ('EmptyObservations', 'of 0 numbers; expected at least 1. Declare an observation_space'),
    ('EmptyProprio', "called 'proprio' has 0 numbers; expected at least 1."),
    ('SpacesAreNone', 'observations are None, expected a Box or Dict'),
    ('MakingFails', 'making it raised OSError: no display :0 (odd_world.py:'),
    ('MakingExits', 'making it raised SystemExit: 0 (odd_world.py:'),
  ],
)
def test_environments_that_nobody_can_play_are_refused_as_they_are_made(kind, message):
  assert message in refusal(kind)


@pytest.mark.parametrize(
  'kind, processes, message',
  [
    ('DrawsRange', 1, 'has bounds of -1 to 2 for number 2 of the observation, and had bounds of '),
    ('DrawsReach', 1, 'has bounds of -2 to 2 for number 0 of the action, and had bounds of -1 to '),
    ('IsElsewhere', 2, 'has bounds of -2 to 2 for number 0 of the action, and had bounds of -1 to'),
    ('IsOrderedElsewhere', 2, "has observation['room'][0] as number 0 of the observation, and had"),
    ('SpaceFails', 1, 'observation_space raised RuntimeError: call reset first; expected a space'),
    ('SwapsSpace', 1, 'a space is Discrete(4); expected Box(-1.0, 1.0, (2,), float32), as when'),
  ],
)
def test_spaces_are_the_same_in_every_instance_and_episode(kind, processes, message):
  assert message in refusal(kind, processes=processes, episodes=2)


def test_the_error_of_a_simulator_is_kept_as_the_cause_and_one_line_is_shown():
  with pytest.raises(SystemExit) as caught, config_lib.user_errors():
    play('ResetFails')
  assert str(caught.value).startswith('error: gymnasium:odd_world:ResetFails-v0, the start of an')
  cause = caught.value.__context__.__cause__
  assert isinstance(cause, OSError) and str(cause) == 'no display :0'


@pytest.mark.parametrize('kind', ['StepFails', 'SeesNan', 'SuccessIsText'])
def test_errors_come_through_from_processes_as_they_are(kind):
  told = refusal(kind)
  setup = setup_of(kind, processes=2)
  with pytest.raises(ValueError) as caught:
    setup.run(Constant(), key=jax.random.key(0), episodes=2)
  assert str(caught.value) == told
  assert f'{kind}-v0, in a process of its own: Traceback' in str(caught.value.__cause__)


def test_one_robot_step_by_step_is_told_the_same():
  stage = stage_lib.make(setup_of('SeesNan', 'watching'))
  stage.begin(7)
  stage.step(stage.human_action())
  with pytest.raises(ValueError, match=r'SeesNan-v0, step 2 \(seed 7\): .*room.* holds nan'):
    stage.step(stage.still())
  stage = stage_lib.make(setup_of('ActsOne', 'watching'))
  stage.begin(7)
  with pytest.raises(ValueError, match=r'ActsOne-v0, step 1 \(seed 7\): the human.s action is'):
    stage.human_action()
