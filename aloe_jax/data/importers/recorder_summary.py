"""What a recorder's episode.json has to hold: a field that a person edited is named."""

from collections.abc import Callable, Iterator, Mapping
import math
import pathlib
from typing import Any

from aloe_client import episode_files
from aloe_jax.data import action_kinds


def check(folder: pathlib.Path, summary: Mapping[str, Any]) -> None:
  """Looks at the fields of a summary that an import reads.

  Args:
    folder: of the episode.
    summary: of its episode.json, or of header.json where it was never finished.

  Raises:
    ValueError: naming the file, the field, what was found and what was expected.
  """
  file = folder / episode_files.SUMMARY
  if not file.is_file():
    file = folder / episode_files.HEADER
  for field, (fits, expected, optional) in _FIELDS.items():
    if field not in summary:
      if optional:
        continue
      raise ValueError(f'{file}: {field} is missing, expected {expected}; {_ADVICE}')
    if not fits(summary[field]):
      raise ValueError(
        f'{file}: {field}: found {summary[field]!r:.80}, expected {expected}; {_ADVICE}'
      )


def check_pictures(folder: pathlib.Path, summary: Mapping[str, Any]) -> None:
  """Raises ValueError, naming the file, where one of the episode's cameras has no pictures."""
  for camera in summary['cameras']:
    file = folder / f'{camera}{episode_files.IMAGES}'
    if not file.is_file():
      raise ValueError(
        f'{file} is missing, but the episode was recorded with the camera {camera!r}; {_ADVICE}'
      )


class SameRobot:
  """Holds every episode of a directory against the first: two robots are no data of one."""

  def __init__(self) -> None:
    self._first: tuple[pathlib.Path, Mapping[str, Any]] | None = None

  def check(self, folder: pathlib.Path, summary: Mapping[str, Any]) -> None:
    """Compares what was told of state and action; what one of two does not say is not compared.

    Args:
      folder: of the episode.
      summary: of it, once `check` has looked at it.

    Raises:
      ValueError: naming both episodes, what differs and what to do.
    """
    if self._first is None:
      self._first = folder, summary
    first, there = self._first
    for what, found, expected in _differences(summary, there):
      raise ValueError(
        f'{folder}: {what}: found {found!r:.120}, and {expected!r:.120} in {first}: they are of '
        'two robots, or of one whose numbers mean something else since; keep and import those of '
        'each in a directory of its own.'
      )


def _differences(
  summary: Mapping[str, Any], first: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
  """What is told otherwise of the same thing: its name, as found and as it was first."""
  states = [list(told.get('state') or {}) for told in (summary, first)]
  if all(states) and states[0] != states[1]:
    yield 'keys of the state', states[0], states[1]
  pairs = [('action', summary.get('action'), first.get('action'))]
  for key in states[0]:
    pairs.append((f'state {key!r}', summary['state'][key], (first.get('state') or {}).get(key)))
  for name, found, expected in pairs:
    for field in _TOLD:
      told = [(part or {}).get(field) for part in (found, expected)]
      if all(told) and told[0] != told[1]:
        yield f'{field} of the {name}', told[0], told[1]


def _is_number(value: Any) -> bool:
  is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
  return is_one and abs(value) < 1e15 and math.isfinite(value)


def _is_rate(value: Any) -> bool:
  return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
  return type(value) is int and 0 <= value < 2**31


def _are_texts(value: Any) -> bool:
  return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _are_names(value: Any) -> bool:
  return _are_texts(value) and all(pathlib.PurePath(name).name == name for name in value)


def _is_action(value: Any) -> bool:
  kinds = (None, '', *action_kinds.KINDS)
  return isinstance(value, Mapping) and any(value.get('kind') == kind for kind in kinds)


def _or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
  return lambda value: value is None or fits(value)


def _is_part(value: Any) -> bool:
  return value is None or isinstance(value, dict)


def _are_parts(value: Any) -> bool:
  return isinstance(value, dict) and all(map(_is_part, value.values()))


_TOLD = ('size', 'names', 'unit', 'kind')  # of a state's part, or of an action
_ADVICE = 'put it back as it was recorded.'
# {field: (whether a value fits, what is expected, whether the field may be missing)}
_FIELDS: dict[str, tuple[Callable[[Any], bool], str, bool]] = {
  'action': (
    _or_null(_is_action),
    f'null or a map whose kind is {" or ".join(action_kinds.KINDS)}',
    True,
  ),
  'cameras': (_are_names, 'a list of the names of cameras', False),
  'hz': (_is_rate, 'steps a second, more than 0', False),
  'real_hz': (_or_null(_is_rate), 'steps a second, more than 0, or null', False),
  'end_reason': (
    lambda value: isinstance(value, str) and value in episode_files.ENDS,
    f'one of {", ".join(episode_files.ENDS)}',
    False,
  ),
  'exportable': (lambda value: isinstance(value, bool), 'true or false', False),
  'flags': (_are_texts, 'a list of texts', False),
  'started': (_is_number, 'seconds since 1970', False),
  'steps_held': (_is_count, 'a number of steps', False),
  'steps_changed': (_is_count, 'a number of steps', False),
  'state': (_are_parts, 'the parts of the state', True),
  'checkpoint': (_or_null(lambda value: isinstance(value, str)), 'a text or null', True),
  'checkpoint_step': (_or_null(_is_count), 'a number or null', True),
}
