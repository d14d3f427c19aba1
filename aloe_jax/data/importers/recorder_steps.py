"""What the steps and chunks of a recorder's episode have to hold, and which checkpoint acted."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from aloe_client import episode_files

_WHO = ('policy', 'human')


@dataclasses.dataclass(frozen=True)
class Acted:
  """Whose chunks were played.

  Attributes:
    checkpoint: where it lay; '' where that is not known or nothing was played; all of them, each
      with its updates, where several acted.
    step: updates of it; -1 likewise, and where several acted.
    count: how many acted.
  """

  checkpoint: str
  step: int
  count: int


def check(found: episode_files.Episode) -> None:
  """Looks at the fields of steps and chunks that an import reads.

  Raises:
    ValueError: naming the file, the step or the chunk, the field, and what was expected.
  """
  file = found.path / episode_files.STEPS
  for number, step in enumerate(found.steps):
    _check(f'{file}, step {number}', step, _STEP)
    if step['step'] != number:
      raise ValueError(
        f'{file}, step {number}: found the step {step["step"]} there, expected them in the order '
        f'in which they happened; {_ADVICE}'
      )
  for number, plan in found.plans.items():
    _check(f'{file}, chunk {number!r:.40}', plan, _PLAN)


def acted(found: episode_files.Episode) -> Acted:
  """Which checkpoints' chunks were played, by what the replies said, else the server's greeting."""
  summary = found.summary
  greeted = summary.get('checkpoint_step'), summary.get('checkpoint') or ''
  played = dict.fromkeys(
    step['plan'] for step in found.steps if step['plan'] is not None and step['who'] == 'policy'
  )
  told: dict[tuple[int | None, str], None] = {}
  for number in played:
    plan = found.plans.get(number, {})
    step, checkpoint = plan.get('checkpoint_step'), plan.get('checkpoint') or ''
    if step is None:
      step, checkpoint = greeted
    elif not checkpoint and step == greeted[0]:
      checkpoint = greeted[1]
    told[step, checkpoint] = None
  if len(told) != 1:
    names = [f'{checkpoint or "one"} ({step} updates)' for step, checkpoint in told]
    return Acted(', '.join(names), -1, len(told))
  ((step, checkpoint),) = told
  return Acted(checkpoint, -1 if step is None else step, 1)


def _check(where: str, record: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
  for field, (fits, expected) in fields.items():
    if field not in record:
      raise ValueError(f'{where}: {field} is missing, expected {expected}; {_ADVICE}')
    if not fits(record[field]):
      raise ValueError(
        f'{where}: {field}: found {record[field]!r:.80}, expected {expected}; {_ADVICE}'
      )


def _is_count(value: Any) -> bool:
  return type(value) is int and 0 <= value < 2**63


def _is_count_or_none(value: Any) -> bool:
  return value is None or _is_count(value)


_ADVICE = 'put it back as it was recorded.'
_COUNT = _is_count_or_none, 'a number or nothing'
_Fields = dict[str, tuple[Callable[[Any], bool], str]]
# {field: (whether a value fits, what is expected)}
_STEP: _Fields = {
  'step': (_is_count, 'its number'),
  'who': (lambda value: isinstance(value, str) and value in _WHO, f'one of {", ".join(_WHO)}'),
  'plan': _COUNT,
  'prompt': (lambda value: isinstance(value, str), 'a text'),
}
_PLAN: _Fields = {
  'checkpoint_step': _COUNT,
  'checkpoint': (lambda value: value is None or isinstance(value, str), 'a text or nothing'),
}
