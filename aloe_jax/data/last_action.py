"""The action of an episode's last step, where a dataset leaves it undefined.

By RLDS's own definition a step holds a state and the action taken in it, and the last step only
the state that was reached: its action, reward and discount mean nothing, and hold zeros, NaN or
another filler. Open X-Embodiment and LeRobot leave that step out, so that the last action is as
real as the others. Nothing on disk says which was meant; `judge` goes by the actions.

Legend of shapes: T steps of an episode, A numbers of an action.
"""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from aloe_jax import types
from aloe_jax.data import columns as columns_lib

EPISODES = 64  # that are looked at
RULE = 2  # changes with what `judge` finds

_NEARLY_ALL = 0.9  # of the episodes
_SUSPECT = 0.5  # of the episodes, at least
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


@dataclasses.dataclass(frozen=True)
class Judgement:
  """What last actions seem to be.

  Attributes:
    is_filler: they mean nothing.
    seen: what speaks for it, for a person; of actions that are not taken for fillers it is what
      makes them suspect, and empty where nothing does.
  """

  is_filler: bool = False
  seen: str = ''


def judge(actions: Sequence[np.ndarray]) -> Judgement:
  """Whether something stands in for the last action of every episode.

  NaN in nearly all last actions and nowhere else is a filler. So is one vector that is the last
  action of nearly all episodes and follows another in nearly all, unless the robot may mean it:

  * it is not rare elsewhere, as where a robot of relative actions stands still;
  * it differs from the action before in no more than grippers do;
  * it goes on smoothly, as a planned path that ends at its goal, or is what the actions come ever
    nearer to, as one that slows down.

  One that is not zero must also come after different actions in several episodes, be more than a
  command to a gripper, and lie elsewhere than at the bounds, where actions are clipped to. Where it
  is not, is found in half of the episodes only, or leaves the grippers out, it is suspect.

  Args:
    actions: [T, A] of each episode that is looked at.
  """
  episodes = [a for a in actions if len(a) > 1 and np.isfinite(a[:-1]).all()]
  if not episodes:
    return Judgement()
  last = np.stack([a[-1] for a in episodes])
  undefined = ~np.isfinite(last).all(axis=1)
  if undefined.mean() >= _NEARLY_ALL:
    return Judgement(True, f'NaN in {_of(np.count_nonzero(undefined), len(episodes))}')
  others = np.concatenate([a[:-1] for a in episodes])
  moves = np.array([len(np.unique(numbers)) > _FEW_VALUES for numbers in others.T])
  moves |= not moves.any()
  vector, agreeing = _usual(last, episodes)
  where = _of(len(agreeing), len(episodes))
  usual = len(agreeing) >= _SUSPECT * len(episodes)
  grips = vector.any() and not vector[moves].any()  # is told below
  if usual and not grips and not _is_meant(vector, agreeing, others, moves):
    nearly_all = len(agreeing) >= _NEARLY_ALL * len(episodes)
    if not vector.any():
      return Judgement(nearly_all, f'the same zeros in {where}')
    different = len(np.unique([a[-2] for a in agreeing], axis=0)) > len(agreeing) / 2
    if len(agreeing) < 2 or not different:
      return Judgement()
    clipped = ((vector == others.min(axis=0)) | (vector == others.max(axis=0)))[moves].all()
    gripper = np.count_nonzero(vector) <= _GRIPPERS and not vector.all()
    certain = nearly_all and len(agreeing) >= _CONSTANT_EPISODES and not (clipped or gripper)
    numbers = ', '.join(f'{number:g}' for number in vector)
    return Judgement(certain, f'the same {numbers} in {where}')
  if 0 < np.count_nonzero(~moves) <= _GRIPPERS:
    still = [a[:, moves] for a in episodes if not a[-1, moves].any()]
    if len(still) >= _SUSPECT * len(episodes):
      zeros, all_move = np.zeros(still[0].shape[1]), np.ones(still[0].shape[1], bool)
      if not _is_meant(zeros, still, others[:, moves], all_move):
        where = _of(len(still), len(episodes))
        return Judgement(False, f'zeros in all numbers but those of a gripper in {where}')
  return Judgement()


def _usual(last: np.ndarray, episodes: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
  """The vector that most episodes end in, and these episodes."""
  vectors, of, counts = np.unique(last + 0.0, axis=0, return_inverse=True, return_counts=True)
  most = int(np.argmax(counts))
  found = [a for a, number in zip(episodes, of.reshape(-1), strict=True) if number == most]
  return vectors[most], found


def _is_meant(
  vector: np.ndarray, episodes: Sequence[np.ndarray], others: np.ndarray, moves: np.ndarray
) -> bool:
  """Whether a robot may have been told a vector that these episodes end in.

  Args:
    vector: [A].
    episodes: [T, A] of each.
    others: [N, A], all actions but the last ones.
    moves: [A], which of the numbers do more than to switch.
  """
  changed = [(a[-2] != vector)[moves].sum() >= math.ceil(moves.sum() / 4) for a in episodes]
  if (others == vector).all(axis=1).mean() > _RARE or np.mean(changed) < _NEARLY_ALL:
    return True
  paths = [(a[:, moves], others[:, moves]) for a in episodes]
  return any(np.mean([goes_on(*path) for path in paths]) > 0.5 for goes_on in (_is_smooth, _slows))


def _slows(action: np.ndarray, others: np.ndarray) -> bool:
  """Whether the action before the last is the nearest to it there was, and near."""
  spread = others.std(axis=0)
  apart = (action[:-1] - action[-1]) / np.where(spread > 0, spread, 1)
  sizes = np.sqrt((apart**2).mean(axis=1))
  return len(sizes) > 3 and sizes[-1] < _SMOOTH and sizes[-1] <= sizes.min()


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
