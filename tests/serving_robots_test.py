"""Conventions of robots: openpi's presets, one's own declarations, ALOHA's joints and grippers."""

import json

import numpy as np
import pytest

from aloe_jax.serving import actions
from aloe_jax.serving import aloha
from aloe_jax.serving import robots

DECLARED = {
  'cameras': {'top': 'head'},
  'state': ['joints', 'gripper'],
  'action_size': 7,
  'unit': 'rad',
  'kind': 'position',
}


def test_two_joints_of_each_arm_turn_the_other_way():
  state = np.arange(1.0, 15.0)
  state[[6, 13]] = 0.5
  found = aloha.state_to_policy(state)
  expected = [1, -2, -3, 4, 5, 6, 0, 8, -9, -10, 11, 12, 13, 0]
  joints = [i for i in range(14) if i not in (6, 13)]
  np.testing.assert_allclose(found[joints], np.array(expected, float)[joints])


@pytest.mark.parametrize(
  'opening, angle',
  [  # by hand: metres 0.01844 + opening * 0.03956, the crank's angle, 0.5476 to 1.6296 as 0 to 1
    (0.0, -1.0799),
    (0.5, -0.1401),
    (1.0, 0.9457),
  ],
)
def test_a_gripper_is_told_as_the_angle_of_its_crank(opening, angle):
  metres = 0.01844 + opening * (0.058 - 0.01844)
  sine = (0.022**2 + metres**2 - 0.036**2) / (2 * 0.022 * metres)
  by_hand = (np.arcsin(np.clip(sine, -1, 1)) - 0.5476) / (1.6296 - 0.5476)
  found = aloha.state_to_policy(np.full(14, opening))[6]
  np.testing.assert_allclose(found, by_hand, rtol=1e-6)
  np.testing.assert_allclose(found, angle, atol=1e-4)


def test_actions_come_back_to_what_they_were():
  rng = np.random.default_rng(0)
  chunk = rng.normal(size=(5, 14)).astype(np.float32)
  robots_own = aloha.action_to_robot(chunk)
  np.testing.assert_allclose(aloha.action_to_policy(robots_own), chunk, atol=1e-6)
  # By hand: a gripper's 0 is 0.5476 rad, which lies there between -0.6213 and 1.4910.
  shut = aloha.action_to_robot(np.zeros((1, 14), np.float32))[0, 6]
  np.testing.assert_allclose(shut, (0.5476 + 0.6213) / (1.4910 + 0.6213), rtol=1e-6)


@pytest.mark.parametrize('name', robots.PRESETS)
def test_a_preset_names_every_key_once(name):
  preset = robots.find(name)
  keys = [*preset.cameras, *preset.state, *preset.ignored, preset.prompt]
  assert preset.name == name and len(set(keys)) == len(keys)
  assert len(preset.names) in (0, preset.action_size)


def test_a_declaration_is_read(tmp_path):
  path = tmp_path / 'mine.json'
  path.write_text(json.dumps(DECLARED))
  found = robots.find(str(path))
  assert (found.name, found.action_size, found.state) == ('mine', 7, ('joints', 'gripper'))
  assert found.cameras == {'top': 'head'}


@pytest.mark.parametrize(
  'changes, said',
  [
    ({'camera': {}}, "there is no field 'camera'; did you mean 'cameras'?"),
    ({'cameras': {'top': 'roof'}}, 'of the cameras head, left_wrist, right_wrist'),
    ({'cameras': {'a': 'head', 'b': 'head'}}, 'cameras names a camera twice'),
    ({'state': 'joints'}, "state is 'joints'; expected a list of texts"),
    ({'state': []}, 'state is []; expected the key of at least one'),
    ({'state': ['top', 'joints']}, 'a key is named twice'),
    ({'action_size': 7.5}, 'action_size is 7.5; expected a number'),
    ({'kind': 'torque'}, "kind is 'torque'; expected one of position, velocity"),
    ({'adapts': True}, 'adapts is of 14 numbers, found 7'),
    ({'adapts': 1}, 'adapts is 1; expected true or false'),
    ({'cameras': {'top': ['head']}}, "cameras is {'top': ['head']}; expected {key of a request"),
    ({'cameras': {'top': {'a': 1}}}, 'of the cameras head, left_wrist, right_wrist'),
    ({'names': ['a', 'b']}, 'names has 2 entries and action_size is 7; expected a name for each'),
    ({'unit': 3}, 'unit is 3; expected a text'),
    ({'prompt': 'aloe'}, "'aloe' among"),
    ({'state': ['aloe/joints']}, 'is the key of the options of a request'),
    ({'prompt': ''}, 'a key is empty among'),
    ({'cameras': {'': 'head'}}, 'a key is empty among'),
    (
      {'state': ['seen/joints'], 'ignored': ['seen']},
      "'seen' is the whole map that 'seen/joints' is an entry of; expected one of the two",
    ),
    (
      {'adapts': True, 'action_size': 14, 'kind': 'velocity'},
      "adapts is of positions of joints, found kind 'velocity'",
    ),
  ],
)
def test_what_is_wrong_in_a_declaration_is_named(changes, said):
  with pytest.raises(ValueError) as error:
    robots.read(DECLARED | changes, 'mine.json')
  assert said in str(error.value)


def test_a_robot_that_is_not_there_is_named(tmp_path):
  with pytest.raises(ValueError, match="--robot is 'alohaa'.*did you mean aloha"):
    robots.find('alohaa')
  (tmp_path / 'bad.json').write_text('{')
  with pytest.raises(ValueError, match='which cannot be read as JSON'):
    robots.find(str(tmp_path / 'bad.json'))
  (tmp_path / 'bad.json').write_text('{"cameras": {"top": "head", "top": "left_wrist"}}')
  with pytest.raises(ValueError, match="'top' is told twice"):
    robots.find(str(tmp_path / 'bad.json'))
  (tmp_path / 'bad.json').write_text('{"a":' * 200_000)
  with pytest.raises(ValueError, match='cannot be read as JSON: it is nested too deep'):
    robots.find(str(tmp_path / 'bad.json'))


def test_actions_are_held_within_limits_and_it_is_said():
  limits = actions.Limits(np.float32([-1, -1]), np.float32([1, 1]), np.float32([0.5, 9]))
  wanted = np.float32([[0.2, 0.0], [2.0, -3.0], [0.4, 0.0]])
  held, told = limits.hold(wanted, np.float32([0.0, 0.0]))
  np.testing.assert_allclose(held, [[0.2, 0], [0.7, -1], [0.4, 0]], atol=1e-6)
  assert told == [
    'number 0 asked for 2 and was held at 1',
    'number 1 asked for -3 and was held at -1',
    'number 0 changed faster than 0.5 a step and was held back',
  ]
  free, nothing = actions.Limits().hold(wanted, None)
  np.testing.assert_array_equal(free, wanted)
  assert not nothing


def test_a_robot_outside_of_its_range_is_led_back_and_what_is_sent_is_said():
  limits = actions.Limits(None, np.float32([1.5, 1.5]), np.float32([0.05, 0.05]))
  held, told = limits.hold(np.full((3, 2), 1.9, np.float32), np.float32([2.5, 1.5]))
  np.testing.assert_allclose(held, [[2.45, 1.5], [2.4, 1.5], [2.35, 1.5]], atol=1e-6)
  assert told == [
    'number 1 asked for 1.9 and was held at 1.5',
    'number 0 is outside of its range (high 1.5) and is led back by 0.05 a step: 2.45 is sent '
    'first, 2.35 last',
  ]
  wide = np.full(2, 9, np.float32)
  held, _ = actions.Limits(-wide, np.float32([1.5, 1.5])).hold(held, np.float32([2.5, 1.5]))
  np.testing.assert_allclose(held, 1.5)


@pytest.mark.parametrize(
  'content, said',
  [
    ('{', 'cannot be read as JSON'),
    ('{}', 'expected an object of low, high, step'),
    ('{"lo": [1, 2]}', 'expected an object of low, high, step'),
    ('{"low": [1]}', 'low is [1]; expected a list of 2 numbers'),
    ('[' * 200_000, 'cannot be read as JSON: it is nested too deep'),
    ('{"low": [1, 1' + 400 * '0' + ']}', 'low is [1, 1000'),
    ('{"low": [1, 1e39]}', 'low is [1, 1e+39]; expected a list of 2 numbers'),
    ('{"low": [1, Infinity]}', 'expected a list of 2 numbers'),
    ('{"low": [1, NaN]}', 'expected a list of 2 numbers'),
    ('{"low": [1, 2], "high": [2, 2]}', 'number 1 has low 2.0 and high 2.0'),
    ('{"step": [1, 0]}', 'step holds 0.0, expected more than 0'),
    ('{"high": [1, 1], "high": [9, 9]}', "cannot be read as JSON: 'high' is told twice"),
  ],
)
def test_what_is_wrong_in_limits_is_named(content, said, tmp_path):
  (tmp_path / 'limits.json').write_text(content)
  with pytest.raises(ValueError) as error:
    actions.read_limits(str(tmp_path / 'limits.json'), 2)
  assert said in str(error.value)
