"""Datasets that are validated together: what differs from the first is noted with its numbers."""

import dataclasses
import json

import command_line
import numpy as np
import pytest
import robot

from aloe_jax import types
from aloe_jax.data.tools import comparison
from aloe_jax.data.tools import validation
from aloe_jax.data.tools import value_range

LENGTH, SIZE = 60, 7


def arm(seed, episodes=6):
  """States [LENGTH, SIZE] of an arm: each joint in a range of its own, and a gripper 0 to 1."""
  rng = np.random.default_rng(seed)
  low = np.array([-2.0, 0.2, -1.5, -3.0, 0.5, -0.1, 0])
  high = np.array([0.1, 1.5, 0.4, -1.0, 2.5, 0.2, 1])
  found = []
  for _ in range(episodes):
    state = rng.uniform(low, high, size=(LENGTH, SIZE))
    start = rng.integers(5, 40)
    state[:, 6] = (np.arange(LENGTH) >= start) & (np.arange(LENGTH) < start + 12)
    found.append(state.astype(np.float32))
  return found


def report(name, episodes):
  """What `validate` keeps of states that are actions too."""
  made = validation.Report(name, 'train')
  for key in ('state', 'action'):
    made.ranges[key] = value_range.ValueRange(episodes[0].shape[1])
    for number, vectors in enumerate(episodes):
      made.ranges[key].update(vectors, number)
  return made


def notes(first, second):
  """What is noted of the state of the second; it is noted of the action too."""
  reports = [report('first', first), report('second', second)]
  comparison.compare(reports)
  assert not reports[0].notes
  assert not reports[1].problems
  found = [str(note) for note in reports[1].notes]
  of_state = [note for note in found if note.startswith('state: ')]
  assert [note.replace('state: ', 'action: ') for note in of_state] == found[len(of_state) :]
  return of_state


def changed(episodes, function):
  return [function(episode.copy()) for episode in episodes]


def test_another_recording_of_the_same_robot_is_not_remarked_on():
  assert not notes(arm(0), arm(1))


def make_random(kind, rng):
  """States of 8 episodes, of different kinds of randomness."""
  size = int(rng.integers(2, 10))
  base, scale = rng.normal(size=size), np.exp(rng.normal(size=size))
  found = []
  for _ in range(8):
    steps = rng.normal(size=(LENGTH, size))
    if kind == 'noise':
      found.append(base + scale * steps)
    elif kind == 'walk':
      found.append(0.05 * steps.cumsum(0))
    elif kind == 'reach':
      share = np.linspace(0, 1, LENGTH)[:, None]
      found.append(base + scale * share * rng.normal(size=size) + 0.01 * steps)
    else:
      found.append((steps > base).astype(float))
  return found


@pytest.mark.parametrize('kind', ['noise', 'walk', 'reach', 'grippers'])
def test_two_halves_of_one_dataset_are_not_remarked_on(kind):
  for seed in range(25):
    episodes = make_random(kind, np.random.default_rng(seed))
    assert not notes(episodes[:4], episodes[4:]), seed


def test_degrees_beside_radians_are_noted_for_every_number():
  def in_degrees(state):
    state[:, :6] *= 57.3
    return state

  found = notes(arm(0), changed(arm(1), in_degrees))
  assert [note[:16] for note in found] == [f'state: number {i} ' for i in range(6)]
  assert ' times what it does in first: ' in found[0]
  times = float(found[0].split('spans ')[1].split(' times')[0])
  assert 50 < times < 65
  assert found[0].endswith(' there; is it in another unit?')


def test_a_gripper_of_0_to_255_is_noted_beside_one_of_0_to_1():
  def in_bytes(state):
    state[:, 6] *= 255
    return state

  assert notes(arm(0), changed(arm(1), in_bytes)) == [
    'state: number 6 spans 255 times what it does in first: 0 to 254.9 here, 0 to '
    '0.9998 there; is it in another unit?'
  ]
  (note,) = notes(changed(arm(0), in_bytes), arm(1))
  assert note.startswith('state: number 6 spans a 255th of what it does in first: ')


def test_an_inverted_sign_is_noted():
  def inverted(state):
    state[:, 2] *= -1
    return state

  (note,) = notes(arm(0), changed(arm(1), inverted))
  assert note.startswith('state: number 2 looks mirrored beside first: -0.3')
  assert note.endswith('; is its sign another one?')
  (copied,) = notes(arm(0, episodes=2), changed(arm(0, episodes=2), inverted))
  assert copied.startswith('state: number 2 looks mirrored')


def test_another_order_is_noted():
  (note,) = notes(arm(0), changed(arm(1), lambda state: state[:, ::-1]))
  assert note.startswith(
    'state: numbers [0, 1, 2, 4, 5, 6] look like the numbers [6, 5, 4, 2, 1, 0] of first (number 0:'
  )
  (swapped,) = notes(arm(0), changed(arm(1), lambda state: state[:, [0, 4, 2, 3, 1, 5, 6]]))
  assert swapped.startswith('state: numbers [1, 4] look like the numbers [4, 1] of first')


def test_an_inverted_gripper_is_noted():
  def inverted(state):
    state[:, 6] = 1 - state[:, 6]
    return state

  assert notes(arm(0), changed(arm(1), inverted)) == [
    'state: number 6 is near its upper end in 80% of the steps, and in 20% in first: 0 to '
    '0.9998 here, 0 to 0.9998 there; is a gripper open at 1 in one, and at 0 in the other?'
  ]


def test_a_joint_that_moves_in_few_episodes_makes_no_unit():
  rng = np.random.default_rng(0)
  still = [1e-3 * rng.normal(size=(LENGTH, 2)) for _ in range(12)]
  moved = [episode.copy() for episode in still]
  moved[3][:, 0] += np.linspace(0, 1, LENGTH)
  assert not notes(still, moved)


def write(directory, cameras=('head',), size=(8, 8), fps=None, width=SIZE):
  end_reason = np.zeros(LENGTH, np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  states = [state[:, :width] for state in arm(0, episodes=2)]
  robot.write_episodes(
    directory,
    *(
      dataclasses.replace(
        robot.make_episode(0),
        state=state,
        action=state.copy(),
        source=np.full(LENGTH, types.Source.DEMO, np.int8),
        end_reason=end_reason,
        images={camera: np.zeros((LENGTH, *size, 3), np.uint8) for camera in cameras},
        metadata={} if fps is None else {'fps': fps},
      )
      for state in states
    ),
  )
  return directory


def test_rates_cameras_and_sizes_are_noted_by_the_command(tmp_path, monkeypatch, capsys):
  first = write(tmp_path / 'first', cameras=('head', 'left_wrist'), fps=30.0)
  second = write(tmp_path / 'second', size=(8, 16), fps=10.0)
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', first, second, '--json')
  assert status == 0
  reports = json.loads(printed)
  assert [report['survey']['rates'] for report in reports] == [{'30': 2}, {'10': 2}]
  assert [note['message'] for note in reports[1]['notes']] == [
    f'10 steps a second, but 30 in {first}: a chunk spans another time.',
    f'Cameras: head, but head, left_wrist in {first}.',
    f'Images of head: 8 x 16, but 8 x 8 in {first}.',
  ]
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', first, second)
  assert f'Note: Cameras: head, but head, left_wrist in {first}.' in printed


def test_other_widths_are_wrong(tmp_path, monkeypatch, capsys):
  first, second = write(tmp_path / 'first'), write(tmp_path / 'second', width=5)
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', first, second, '--json')
  assert status == 1
  assert [problem['message'] for problem in json.loads(printed)[1]['problems']] == [
    f'{second}: {key}: found 5 numbers a step, expected 7 as in {first}.'
    for key in ('state', 'action')
  ]


def test_zeros_that_a_state_was_filled_up_with_are_not_wrong():
  padded = report('padded', [np.pad(state, ((0, 0), (0, 25))) for state in arm(0)])
  padded.ranges['action'] = report('own', arm(0)).ranges['action']
  own = report('own', arm(1))
  for reports in ([padded, own], [own, padded]):
    comparison.compare(reports)
    assert not padded.problems and not own.problems
