"""Flags of recordings: whether it succeeded, whether it is done, whether a human acts.

A flag is true or false, a number that is exactly 0 or 1, or a word for one of them. All else is
refused: NaN, null, -1 for "unknown", a probability, a code of several values. Who knows what such
a value means says it by a comparison after the name of the field:

    is_intervention>=0.5      a probability
    intervention==2           a code
    outcome==completed        a word

A value that is missing or NaN is refused under every comparison.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import operator
import re
from typing import Any

import numpy as np

WORDS = {'1': True, 'true': True, 'yes': True, '0': False, 'false': False, 'no': False}

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
  '==': operator.eq,
  '!=': operator.ne,
  '>=': operator.ge,
  '<=': operator.le,
  '>': operator.gt,
  '<': operator.lt,
}
_COMPARISON = re.compile(r'^(.*?)\s*(==|!=|>=|<=|>|<|=)\s*(.*?)$')
_SHOWN = 40  # characters of a value in a message

# Makes the error about a value: its step, or None for all of the episode, and what is wrong.
Refusal = Callable[[int | None, str], ValueError]


@dataclasses.dataclass(frozen=True)
class Flag:
  """A field, and the comparison that makes a flag of its values.

  Attributes:
    name: of the field.
    comparison: such as '>=0.5'; empty where the values are flags themselves.
  """

  name: str
  comparison: str = ''

  def __str__(self) -> str:
    return self.name + self.comparison


def parse(text: str) -> Flag:
  """Reads `NAME`, or `NAME` and a comparison with a number or a word.

  Raises:
    ValueError: if what follows the name is no comparison.
  """
  found = _COMPARISON.match(text)
  if found is None:
    return Flag(text)
  name, sign, value = found.groups()
  ordered = sign in ('>=', '<=', '>', '<')
  number = _number(value)
  wrong = sign == '=' or not name or not value or re.match('[=!<>]', value)
  if wrong or (number is not None and math.isnan(number)) or (ordered and number is None):
    raise ValueError(
      f'{text!r}: found no comparison, expected the name of a field, one of '
      f'{" ".join(_OPERATORS)}, and a number (after == and != also a word), such as '
      f"'{name or 'intervention'}>=0.5'."
    )
  return Flag(name, f'{sign}{value}')


def read(
  values: np.ndarray | Sequence[Any],
  flag: Flag,
  *,
  option: str,
  refuse: Refusal,
  words: Mapping[str, bool] = WORDS,
  per_step: bool = True,
) -> np.ndarray:
  """The flags that values stand for.

  Args:
    values: [T] booleans, numbers or texts; None where one is missing.
    flag: how they are read.
    option: that says what the values mean, such as '--intervention', for messages; empty if there
      is none.
    refuse: makes the error about a step.
    words: that stand for true and false, in lower case.
    per_step: there is one value a step; else they are of the episode.

  Returns:
    [T] bool.

  Raises:
    ValueError: made by `refuse`, at the first step whose value says neither yes nor no; or a reward
      says yes at every step.
  """
  found = _found(values, flag, option, refuse, words, per_step)
  if per_step and len(found) > 1 and found.all() and 'reward' in flag.name.lower():
    # One for every step that the robot is alive, or a constant: no word of how it went.
    raise refuse(
      None,
      f'found a reward of {flag.comparison or 1} at every step, which tells nothing of '
      f'success, expected 0 before the task is done; leave the outcome open: {option}=none, or '
      'name another field there, or leave the episode out.',
    )
  return found


def _found(
  values: np.ndarray | Sequence[Any],
  flag: Flag,
  option: str,
  refuse: Refusal,
  words: Mapping[str, bool],
  per_step: bool,
) -> np.ndarray:
  """[T] bool; see `read`."""
  compare = _comparer(flag.comparison, values) if flag.comparison else None
  numbers = isinstance(values, np.ndarray) and values.dtype.kind in 'biuf'
  if compare is None and numbers and np.isin(values, (0, 1)).all():  # nearly always, and fast
    return np.asarray(values) == 1
  found = np.zeros(len(values), bool)
  for step, value in enumerate(_plain(values)):
    known = _compared(value, compare) if compare else _exactly(value, words)
    if known is None:
      message = _message(value, flag, option, words)
      raise refuse(step if per_step else None, message)
    found[step] = known
  return found


def lost(flags: np.ndarray) -> bool:
  """Whether a flag [T] was set and is not at the last step."""
  return bool(flags.any()) and not flags[-1]


def _plain(values: np.ndarray | Sequence[Any]) -> list[Any]:
  """As Python values: numbers of numpy print as the type that holds them."""
  return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _number(text: str) -> float | None:
  try:
    return float(text)
  except ValueError:
    return None


def _exactly(value: Any, words: Mapping[str, bool]) -> bool | None:
  """What a value says by itself; None where that is neither yes nor no."""
  if isinstance(value, bytes):
    value = value.decode(errors='replace')
  if isinstance(value, str):
    word = value.strip().lower()
    if word in words:
      return words[word]
    value = _number(word)
  if isinstance(value, bool | int | float) and value in (0, 1):
    return bool(value)
  return None


def _comparer(comparison: str, values: np.ndarray | Sequence[Any]) -> Callable[[Any], bool | None]:
  """A function of one value; None where it cannot be compared."""
  sign = comparison[:2] if comparison[:2] in _OPERATORS else comparison[:1]
  compare, text = _OPERATORS[sign], comparison.removeprefix(sign)
  threshold = _number(text)
  if threshold is not None and isinstance(values, np.ndarray) and values.dtype.kind == 'f':
    # 0.9 in single precision is less than 0.9: who writes 0.9 means the number that is stored.
    threshold = float(values.dtype.type(threshold))

  def compared(value: Any) -> bool | None:
    if isinstance(value, bytes):
      value = value.decode(errors='replace')
    if isinstance(value, str):
      if not value.strip():  # as a label that is missing
        return None
      number = _number(value)
      if threshold is None or number is None:
        word = sign in ('==', '!=') and threshold is None
        return compare(value.strip().lower(), text.lower()) if word else None
      value = number
    if not isinstance(value, bool | int | float) or threshold is None or math.isnan(value):
      return None
    return bool(compare(value, threshold))

  return compared


def _compared(value: Any, compare: Callable[[Any], bool | None]) -> bool | None:
  return None if value is None else compare(value)


def _message(value: Any, flag: Flag, option: str, words: Mapping[str, bool]) -> str:
  number = value if isinstance(value, float | int) else None
  if value is None:
    shown = 'no value'
  else:
    shown = f'{value!r:.{_SHOWN}}' if number is None else f'{number:g}'
  without = f'leave the field out: {option}=none' if option else 'leave out the episode'
  if value is None or (number is not None and math.isnan(number)):
    what = f'what {flag.comparison} can be asked of' if flag.comparison else 'true or false'
    return f'found {shown}, expected {what}; repair it, or {without}.'
  if flag.comparison:
    return (
      f'found {shown}, which {flag.comparison} cannot be asked of; compare it otherwise, or '
      f'{without}.'
    )
  expected = 'true, false, 0 or 1'
  if number is None:
    expected += f', or one of {", ".join(sorted(words))}'
    example = f'=={value}' if isinstance(value, str) and value.isidentifier() else '==done'
  elif math.isinf(number) or number != int(number):
    example = '>=0.5'
  else:
    example = '==1'
  remedy = f"say what it means, such as {option}='{flag.name}{example}'" if option else 'repair it'
  return f'found {shown}, expected {expected}; {remedy}, or {without}.'
