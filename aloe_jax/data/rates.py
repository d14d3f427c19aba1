"""Steps per second, as far as the metadata of episodes tell it."""

from collections.abc import Iterable, Mapping
import math

NAMES = ('control_hz', 'control_frequency', 'control_freq', 'frequency', 'hz', 'fps')  # best first


def recorded(metadata: Mapping[str, bool | int | float | str]) -> float | None:
  """Steps per second of an episode, or None where it does not tell.

  Args:
    metadata: of the episode. Where it has several of the names in use, that of the control counts:
      cameras may run faster.
  """
  for name in NAMES:
    value = _number(metadata.get(name))
    if 0 < value < math.inf:
      return round(value, 3)  # kept in single precision
  return None


def unusable(metadata: Mapping[str, bool | int | float | str]) -> str:
  """What an episode tells instead of a rate, such as 'fps = 0', or empty."""
  found = [name for name in NAMES if metadata.get(name, '') != '']
  if not found or recorded(metadata) is not None:
    return ''
  return ', '.join(f'{name} = {metadata[name]}' for name in found)


def _number(value: bool | int | float | str | None) -> float:
  """Of a number or of a text that is one; NaN else."""
  if value is None or isinstance(value, bool):
    return math.nan
  try:
    return float(value)
  except ValueError:
    return math.nan


def distinct(metadata: Iterable[Mapping[str, bool | int | float | str]]) -> tuple[float, ...]:
  """The rates that any of the episodes tell, ascending."""
  found = {recorded(one) for one in metadata}
  return tuple(sorted(rate for rate in found if rate is not None))


def shown(found: Iterable[float]) -> str:
  """The rates for a person."""
  return ', '.join(f'{rate:g}' for rate in found) + ' steps a second'
