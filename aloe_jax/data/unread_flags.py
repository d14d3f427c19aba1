"""Fields that look like flags of who acts or of how it went, by their names, and are not read."""

from collections.abc import Iterable
import re

from aloe_jax.data import remarks

_SUCCESS = re.compile(r'success|outcome|fail')
_ACTS = re.compile(r'interven|take_?over|teleop|(^|_)human(_|$)')
_WHO = ('source', 'control_mode', 'control_source', 'action_source')
_OURS = (remarks.SUCCESS_LOST, remarks.DONE_EARLY)  # what an import has noted itself


def find(names: Iterable[str], read: Iterable[str | None]) -> dict[str, str]:
  """The names that look like flags.

  Args:
    names: of fields of one value, with dots or slashes between their words.
    read: those that are read.

  Returns:
    {name: 'success' or 'intervention', whichever it may tell}, in the order of the names.
  """
  read = set(read)
  found = {}
  for name in names:
    last = re.split(r'[./]', name.lower())[-1]
    if name in read or last in _OURS:
      continue
    if _SUCCESS.search(last):
      found[name] = 'success'
    elif _ACTS.search(last) or last in _WHO:
      found[name] = 'intervention'
  return found


def choice(name: str, *, is_text: bool) -> str:
  """What an option that reads such a field is given, so that yes means success or a human."""
  last = re.split(r'[./]', name.lower())[-1]
  if 'fail' in last and not is_text:
    return f"'{name}==0'"
  return f"'{name}==VALUE'" if is_text or last in _WHO else name
