"""The action of an episode's last step, where a dataset leaves it undefined.

By RLDS's own definition a step holds a state and the action taken in it, and the last step only
the state that was reached: its action, reward and discount mean nothing, and hold zeros, NaN or
another filler. Open X-Embodiment and LeRobot leave that step out, so that the last action is as
real as the others. Nothing on disk says which was meant; `filler` judges by the actions.

Legend of shapes: T steps of an episode, A numbers of an action.
"""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from aloe_jax import types
from aloe_jax.data import columns as columns_lib

EPISODES = 64  # that are looked at

_NEARLY_ALL = 0.9  # of the episodes
_RARE = 0.05  # of the other actions
_FEW_VALUES = 3  # of a number that switches, such as a gripper's, rather than moves
_SMOOTH = 0.25  # standard deviations that a number moves a step on a path, at most
_GRIPPERS = 2  # of a robot, at most
_CONSTANT_EPISODES = 3  # that must agree on a filler that is not zero


def left_out(columns: columns_lib.Columns) -> columns_lib.Columns:
  """An episode whose last action means nothing, without it.

  After a terminal end the last state is not needed: the action before is the one that ended the
  episode, so that its step becomes the last one, with that end and, where it is not zero, the
  reward recorded beyond it. A cut is not terminal, and its last state is bootstrapped from: it
  stays, starts no chunk and is in none; the action before stands in for its own. An episode of
  one step is one state without an action, whatever its end, and becomes such a cut. A timeout
  loses its last state too, though `data.timeout=bootstrap` could have used it: its last action
  then starts no chunk.
  """
  action, end_reason = columns.action.copy(), columns.end_reason.copy()
  reward = None if columns.reward is None else columns.reward.copy()
  if reward is not None:
    reward[~np.isfinite(reward)] = 0  # of the last step: elsewhere it was refused
  end = end_reason[-1]
  if len(columns) == 1 or end in (types.EndReason.CUT, types.EndReason.NONE):
    action[-1] = action[-2] if len(action) > 1 else 0
    if len(columns) == 1 and end:
      end_reason[-1] = types.EndReason.CUT
    return dataclasses.replace(columns, action=action, end_reason=end_reason, reward=reward)
  if not end_reason[-2]:  # else the last step is a fragment of its own, of which nothing is left
    end_reason[-2] = end
    if reward is not None and reward[-1]:
      reward[-2] = reward[-1]
  return dataclasses.replace(
    columns,
    state=columns.state[:-1],
    action=action[:-1],
    source=columns.source[:-1],
    end_reason=end_reason[:-1],
    prompt=columns.prompt[:-1],
    reward=None if reward is None else reward[:-1],
    features=None if columns.features is None else columns.features[:-1],
    images={camera: images[:-1] for camera, images in columns.images.items()},
  )


def filler(actions: Sequence[np.ndarray]) -> str:
  """What stands in for the last action of every episode, for a person; '' where it is real.

  NaN in nearly all last actions and nowhere else is a filler. So is one vector that is the last
  action of all episodes and follows another in nearly all, unless it is one the robot may mean:

  * it is not rare elsewhere, as where a robot of relative actions stands still;
  * it differs from the action before in no more than grippers do;
  * it goes on smoothly, as a planned path that ends at its goal.

  One that is not zero must also come after different actions in several episodes, be more than a
  command to a gripper, and lie elsewhere than at the bounds, where actions are clipped to.

  Args:
    actions: [T, A] of each episode that is looked at.
  """
  episodes = [a for a in actions if len(a) > 1 and np.isfinite(a[:-1]).all()]
  if not episodes:
    return ''
  last, before = (np.stack([a[step] for a in episodes]) for step in (-1, -2))
  undefined = ~np.isfinite(last).all(axis=1)
  if undefined.mean() >= _NEARLY_ALL:
    return f'NaN in {_of(np.count_nonzero(undefined), len(episodes))}'
  vector = last[0]
  if undefined.any() or (last != vector).any():
    return ''
  others = np.concatenate([a[:-1] for a in episodes])
  moves = np.array([len(np.unique(numbers)) > _FEW_VALUES for numbers in others.T])
  moves |= not moves.any()
  changed = (before != vector)[:, moves].sum(axis=1) >= math.ceil(moves.sum() / 4)
  if (
    (others == vector).all(axis=1).mean() > _RARE
    or changed.mean() < _NEARLY_ALL
    or np.mean([_is_smooth(a[:, moves], others[:, moves]) for a in episodes]) > 0.5
  ):
    return ''
  if not vector.any():
    return f'the same zeros in {_of(len(episodes), len(episodes))}'
  clipped = ((vector == others.min(axis=0)) | (vector == others.max(axis=0)))[moves].all()
  gripper = np.count_nonzero(vector) <= _GRIPPERS and not vector.all()
  different = len(np.unique(before, axis=0)) > len(episodes) / 2
  if len(episodes) < _CONSTANT_EPISODES or clipped or gripper or not different:
    return ''
  numbers = ', '.join(f'{number:g}' for number in vector)
  return f'the same {numbers} in {_of(len(episodes), len(episodes))}'


def _is_smooth(action: np.ndarray, others: np.ndarray) -> bool:
  """Whether an episode's actions follow a path to the end, in units of their own spread."""
  spread = others.std(axis=0)
  steps = np.diff(action / np.where(spread > 0, spread, 1), axis=0)
  sizes = np.sqrt((steps**2).mean(axis=1))
  if len(sizes) < 4:  # too few to tell
    return False
  *earlier, jump = sizes.tolist()
  return np.median(earlier) < _SMOOTH and jump <= 1.5 * max(earlier)


def _of(found: int, total: int) -> str:
  if total == 1:
    return 'the one episode there is to look at'
  number = f'all {total}' if found == total else f'{found} of {total}'
  return f'{number} episodes looked at'
