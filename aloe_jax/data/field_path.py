"""Names of fields of numbers, or of a part of one: `observation/state[0:14]`.

The brackets hold one slice of a step's numbers, as Python writes it, or one number's place. A
field of more than one dimension counts as its numbers one after another.
"""

import dataclasses
import re

_BRACKETS = re.compile(r'\[\s*(?:(?P<only>\d+)|(?P<start>\d*)\s*:\s*(?P<stop>\d*))\s*\]')
_COMMA = re.compile(r',(?![^\[\]]*\])')  # that does not lie within brackets


@dataclasses.dataclass(frozen=True)
class FieldPath:
  """A field and which of its numbers are meant.

  Attributes:
    name: of the field.
    start: the first number.
    stop: the number after the last one, or None for all that follow.
  """

  name: str
  start: int = 0
  stop: int | None = None

  def __str__(self) -> str:
    if not self.start and self.stop is None:
      return self.name
    return f'{self.name}[{self.start}:{"" if self.stop is None else self.stop}]'

  def columns(self, width: int) -> slice:
    """Which of the numbers of a step of the field are meant.

    Args:
      width: numbers that a step of the field has.

    Returns:
      Between 0 and `width`, never empty.

    Raises:
      ValueError: naming the field and its width, if it has not all of them.
    """
    stop = width if self.stop is None else self.stop
    if not self.start < stop <= width:
      raise ValueError(
        f'{self}: {self.name} has {width} numbers a step, expected a slice within [0:{width}].'
      )
    return slice(self.start, stop)

  def within(self, width: int) -> 'FieldPath':
    """The same with both bounds, or none if all is meant; raises what `columns` does."""
    found = self.columns(width)
    if (found.start, found.stop) == (0, width):
      return FieldPath(self.name)
    return FieldPath(self.name, found.start, found.stop)


def parse(text: str) -> FieldPath:
  """Reads a name with or without brackets after it.

  Args:
    text: such as 'observation/state', 'observation/state[0:14]', '[:7]', '[7:]' or '[6]' after
      a name.

  Raises:
    ValueError: naming the text, where what the brackets hold is no slice with something in it.
  """
  name, bracket, _ = text.partition('[')
  if not bracket:
    if ']' in text:
      raise _unreadable(text)
    return FieldPath(text)
  found = _BRACKETS.fullmatch(text[len(name) :].rstrip())
  if found is None or not name.strip():
    raise _unreadable(text)
  if found['only']:
    return FieldPath(name.rstrip(), int(found['only']), int(found['only']) + 1)
  start, stop = int(found['start'] or 0), int(found['stop']) if found['stop'] else None
  if stop is not None and stop <= start:
    raise ValueError(f'{text}: found a slice without a number in it, expected start < stop.')
  return FieldPath(name.rstrip(), start, stop)


def split(text: str) -> list[str]:
  """The names between the commas of a text; a comma within brackets parts nothing."""
  return [part.strip() for part in _COMMA.split(text)]


def _unreadable(text: str) -> ValueError:
  return ValueError(
    f'{text}: found brackets that cannot be read, expected one slice of whole numbers from 0 on '
    'after the name, as in state[0:7], state[7:], state[:7] or state[6]; commas join several, as '
    'in state[0:7],state[30:37].'
  )
