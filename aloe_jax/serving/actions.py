"""What leaves the server: actions in the robot's units, looked at, and held within limits."""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from aloe_jax import files
from aloe_jax.preprocessing import inputs as inputs_lib

FAR = 2.0  # times as far as 98 % of the actions of training lie, once normalised
_MOST = float(np.finfo(np.float32).max)
_FIELDS = ('low', 'high', 'step')


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a robot is never asked beyond, in its own units.

  Attributes:
    low, high: [A] of every action; None for no such limit.
    step: [A] the most by which a number may change from one action to the next; None for no limit.
      It goes before the other two where a robot is outside of these.
  """

  low: np.ndarray | None = None
  high: np.ndarray | None = None
  step: np.ndarray | None = None

  def hold(self, actions: np.ndarray, before: np.ndarray | None) -> tuple[np.ndarray, list[str]]:
    """Actions [h, A] within the limits, and a sentence on each number that was beyond.

    A robot that is outside of its range is led back into it by `step` at a time: a jump would be
    worse. Until it is there, what is sent lies outside too, and is said.

    Args:
      actions: in the robot's units.
      before: [A] that the first one goes on from; None where that is not known.
    """
    ranged = np.array(actions)
    if self.low is not None:
      ranged = np.maximum(ranged, self.low)
    if self.high is not None:
      ranged = np.minimum(ranged, self.high)
    held = ranged.copy()
    if self.step is not None:
      last = held[0] if before is None else before
      for t in range(len(held)):
        held[t] = last = np.clip(held[t], last - self.step, last + self.step)
    slowed = np.abs(held - ranged) > 1e-6
    outside = slowed & (self._beyond(held) > 1e-6)
    told = [
      f'number {i} asked for {_farthest(actions[:, i], ranged[:, i]):.6g} and was held at '
      f'{ranged[np.abs(actions[:, i] - ranged[:, i]).argmax(), i]:.6g}'
      for i in np.flatnonzero((ranged != actions).any(0) & ~outside.any(0))
    ]
    told += [self._returning(i, held[:, i]) for i in np.flatnonzero(outside.any(0))]
    told += [
      f'number {i} changed faster than {self.step[i]:.6g} a step and was held back'
      for i in np.flatnonzero(slowed.any(0) & ~outside.any(0))
      if self.step is not None
    ]
    return held.astype(np.float32), told

  def _beyond(self, actions: np.ndarray) -> np.ndarray:
    """[h, A] how far each number lies outside of its range."""
    found = np.zeros_like(actions)
    if self.low is not None:
      found = np.maximum(found, self.low - actions)
    if self.high is not None:
      found = np.maximum(found, actions - self.high)
    return found

  def _returning(self, i: int, held: np.ndarray) -> str:
    """Of a number whose robot is outside of its range: what is sent, [h], until it is back."""
    assert self.step is not None
    bounds = [f'{name} {bound[i]:.6g}' for name, bound in self._bounds() if bound is not None]
    return (
      f'number {i} is outside of its range ({", ".join(bounds)}) and is led back by '
      f'{self.step[i]:.6g} a step: {held[0]:.6g} is sent first, {held[-1]:.6g} last'
    )

  def _bounds(self) -> list[tuple[str, np.ndarray | None]]:
    return [('low', self.low), ('high', self.high)]


def read_limits(path: str, size: int) -> Limits:
  """Limits from a JSON file: `low`, `high` and `step`, each a list of A numbers, all optional.

  Raises:
    ValueError: naming the file and what is wrong.
  """
  try:
    content = files.parse_json(pathlib.Path(path).read_text(), each_once=True)
  except (OSError, ValueError) as error:
    raise ValueError(f'--limits names {path}, which cannot be read as JSON: {error}') from error
  if not isinstance(content, dict) or not content or not set(content) <= set(_FIELDS):
    raise ValueError(
      f'--limits names {path}, which holds {str(content)[:80]}; expected an object of '
      f'{", ".join(_FIELDS)}, each a list of {size} numbers.'
    )
  found = {
    key: _list(value, size, f'--limits names {path}: {key}') for key, value in content.items()
  }
  low, high, step = (found.get(key) for key in _FIELDS)
  if low is not None and high is not None and not (low < high).all():
    i = int(np.flatnonzero(low >= high)[0])
    raise ValueError(f'--limits names {path}: number {i} has low {low[i]} and high {high[i]}.')
  if step is not None and not (step > 0).all():
    raise ValueError(f'--limits names {path}: step holds {step.min()}, expected more than 0.')
  return Limits(low, high, step)


def unusual(inputs: inputs_lib.Inputs, chunk: np.ndarray, state: np.ndarray) -> list[str]:
  """A sentence on each number of actions [h, A] that is far from all that was seen in training.

  Args:
    inputs: of the policy, with statistics.
    chunk: in the units that the policy was trained in.
    state: [n] at which it begins.
  """
  seen = np.abs(np.asarray(inputs.chunk(chunk[None], state[None]))[0])
  told = []
  reach = np.array([-1, 1], np.float32) * np.float32(inputs.action.reach)
  ends = np.ones((2, *chunk.shape), np.float32) * reach[:, None, None]
  bounds: Any = None
  for i in np.flatnonzero((seen > FAR * inputs.action.reach).any(0)):
    if bounds is None:
      bounds = np.asarray(inputs.undo_chunk(ends, np.stack([state, state])))
    t = int(seen[:, i].argmax())
    told.append(
      f'number {i} is {chunk[t, i]:.6g} at step {t}; in training 98 % lay within '
      f'{bounds[0, t, i]:.6g} to {bounds[1, t, i]:.6g} from such a state'
    )
  return told


def _farthest(asked: np.ndarray, held: np.ndarray) -> float:
  return float(asked[np.abs(asked - held).argmax()])


def _list(value: Any, size: int, where: str) -> np.ndarray:
  numbers = isinstance(value, Sequence) and all(
    isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) <= _MOST for x in value
  )
  if not numbers or len(value) != size:
    raise ValueError(f'{where} is {str(value)[:80]}; expected a list of {size} numbers.')
  return np.array(value, np.float32)
