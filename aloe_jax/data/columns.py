"""One record of any laboratory as the columns of an episode: what its fields mean here.

Sources and ends come from `steps/source` and `steps/end_reason` where they exist. Elsewhere
the source of every step is that of the episode (demo; rollout or policy; intervention or
human), else a demonstration; and the episode ends by its success, else by a cut: a success is
never guessed. `is_last` and `is_terminal` are not read, since many datasets never set them:
the end of the record is the end of the episode.

Where the dataset says of every step whether a human acts, and the episode is no demonstration,
the other steps are the policy's. A flag that the mapping names may be one of the episode too, and
must not contradict the source of the episode. Without `steps/end_reason`, the last step of the
policy before a human acts ends a fragment by a take-over. With it, a success is read where the
mapping names it: it says how an episode ended that was cut, and may not contradict another end.
"""

from collections.abc import Mapping, Sequence
import dataclasses

import numpy as np

from aloe_jax import types
from aloe_jax.data import field_kinds
from aloe_jax.data import field_names
from aloe_jax.data import field_path
from aloe_jax.data import flags
from aloe_jax.data import fragments
from aloe_jax.data import mapping
from aloe_jax.data import record_fields
from aloe_jax.data import remarks
from aloe_jax.data import schema

SOURCES = {
  'demo': types.Source.DEMO,
  'demonstration': types.Source.DEMO,
  'policy': types.Source.POLICY,
  'rollout': types.Source.POLICY,
  'autonomous': types.Source.POLICY,
  'human': types.Source.HUMAN,
  'intervention': types.Source.HUMAN,
}
END_REASONS = {'': types.EndReason.NONE} | {
  reason.name.lower(): reason for reason in types.EndReason if reason
}


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
  """An episode of T steps.

  Attributes:
    state: [T, n] float32.
    action: [T, A] float32.
    source: [T] int8, `types.Source`.
    end_reason: [T] int8, `types.EndReason`.
    prompt: [T] texts.
    reward: [T] float32, or None.
    features: [T, V, F] float32, or None.
    images: {camera: where the encoded images lie, or uint8 [T, H, W, 3]}.
    metadata: {name: bool, int, float or str}.
    success_lost: a step says that the task was done, and the last one says that it is not; or the
      metadata says so, as it does for recordings that were imported.
  """

  state: np.ndarray
  action: np.ndarray
  source: np.ndarray
  end_reason: np.ndarray
  prompt: list[str]
  reward: np.ndarray | None
  features: np.ndarray | None
  images: dict[str, record_fields.Spans | np.ndarray]
  metadata: dict[str, bool | int | float | str]
  success_lost: bool = False

  def __len__(self) -> int:
    return len(self.action)


def read(
  payload: memoryview | bytes,
  leaves: Mapping[str, schema.Leaf],
  paths: mapping.Resolved,
  where: str,
) -> Columns:
  """Reads the fields that the mapping names.

  Args:
    payload: a serialised `tf.train.Example`.
    leaves: fields of the dataset.
    paths: of the fields to read.
    where: the record is, for messages.

  Raises:
    ValueError: naming where, the step and the field that is wrong.
  """
  record = record_fields.RecordFields(payload, leaves, where)
  length = record.length(field_path.parse(paths.action[0]).name)
  if length == 0:
    raise ValueError(f'{where}: the episode has no steps; remove it.')
  last = paths.last_action
  source = _source(record, paths, length)
  success = _success(record, paths, length)
  metadata = _metadata(record)
  return Columns(
    state=_concatenated(record, paths.state, length),
    action=_concatenated(record, paths.action, length, last),
    source=source,
    end_reason=_end_reason(record, paths, source, success),
    prompt=_prompt(record, paths.prompt, length),
    reward=record.numbers(paths.reward, length, last)[:, 0] if paths.reward else None,
    features=_features(record, paths.features, length),
    images={camera: record.images(path, length) for camera, path in paths.images.items() if path},
    metadata=metadata,
    success_lost=metadata.get(remarks.SUCCESS_LOST) is True
    or (success is not None and flags.lost(success)),
  )


def actions(
  payload: memoryview | bytes,
  leaves: Mapping[str, schema.Leaf],
  paths: mapping.Resolved,
  where: str,
) -> np.ndarray:
  """[T, A] float32 of a record, finite but perhaps for the last; see `read`."""
  record = record_fields.RecordFields(payload, leaves, where)
  length = record.length(field_path.parse(paths.action[0]).name)
  return _concatenated(record, paths.action, length, 'drop')


def _concatenated(
  record: record_fields.RecordFields, paths: Sequence[str], length: int, last_action: str = ''
) -> np.ndarray:
  return np.concatenate([record.numbers(path, length, last_action) for path in paths], axis=1)


def _features(
  record: record_fields.RecordFields, path: str | None, length: int
) -> np.ndarray | None:
  if path is None:
    return None
  return record.numbers(path, length).reshape(length, *record.leaves[path].shape)


def _source(record: record_fields.RecordFields, paths: mapping.Resolved, length: int) -> np.ndarray:
  """[T] int8."""
  source = np.full(length, types.Source.DEMO, np.int8)
  if paths.source:
    source = _enumerated(record, paths.source, SOURCES, length)
  if paths.intervention is None:
    return source
  of_steps = paths.source is not None and record.leaves[paths.source].per_step
  of_demo = paths.source is not None and source[0] == types.Source.DEMO
  if (of_steps or of_demo) and 'intervention' not in paths.named:
    return source
  human = record.flags('intervention', paths.intervention, length)
  assert human is not None
  flag = flags.parse(paths.intervention).name
  if record.leaves[flag].per_step:
    wrong = of_demo and human.any()
  else:
    expected = [types.Source.HUMAN] if human[0] else [types.Source.POLICY, types.Source.DEMO]
    wrong = paths.source is not None and source[0] not in expected
  if wrong and paths.source is not None:
    raise record.error(
      flag,
      f'found that {"a" if human.any() else "no"} human acts, where {paths.source} is '
      f'{record.texts(paths.source, length)[0]!r}; leave one of them out: '
      'config.data.mapping.source=none, or config.data.mapping.intervention=none.',
      step=int(np.argmax(human)) if record.leaves[flag].per_step else None,
    )
  if of_demo:
    return source
  human = np.broadcast_to(human, length)
  return np.where(human, types.Source.HUMAN, types.Source.POLICY).astype(np.int8)


def _success(
  record: record_fields.RecordFields, paths: mapping.Resolved, length: int
) -> np.ndarray | None:
  """[T] bool, or [1] of the episode; None where nothing is said of it."""
  success = record.flags('success', paths.success, length)
  if success is None or paths.success is None or 'success' in paths.named:
    return success
  if record.leaves[paths.success].per_step:
    return success
  for path in field_names.SUCCESS:
    leaf = record.leaves.get(path)
    if leaf is None or not leaf.per_step or not field_kinds.is_outcome(leaf):
      continue
    try:
      beside = record.flags('success', path, length)
    except ValueError:  # it says nothing by itself
      continue
    if beside is not None and beside[-1] != success[-1]:
      raise record.error(
        paths.success,
        f'found {bool(success[-1])}, and {path} {bool(beside[-1])} at the last step; choose one: '
        f'config.data.mapping.success={paths.success} or config.data.mapping.success={path}.',
      )
  return success


def _end_reason(
  record: record_fields.RecordFields,
  paths: mapping.Resolved,
  source: np.ndarray,
  success: np.ndarray | None,
) -> np.ndarray:
  """[T] int8; the last step always ends a fragment unless the dataset says otherwise.

  Args:
    record: of the episode.
    paths: of the fields to read.
    source: [T] int8.
    success: [T] or [1] bool, of which the last counts; None where nothing is to be read of it.
  """
  if paths.end_reason:
    end_reason = _enumerated(record, paths.end_reason, END_REASONS, len(source))
    if paths.success and success is not None:
      end_reason[-1] = _last_end(record, paths.success, end_reason[-1], bool(success[-1]))
    return end_reason
  end_reason = np.full(len(source), types.EndReason.NONE, np.int8)
  end_reason[fragments.takeovers(source)] = types.EndReason.TAKEOVER
  if success is None:
    end_reason[-1] = types.EndReason.CUT
  else:
    end_reason[-1] = types.EndReason.SUCCESS if success[-1] else types.EndReason.FAILURE
  return end_reason


def _last_end(
  record: record_fields.RecordFields, path: str, recorded: int, success: bool
) -> types.EndReason:
  """How an episode ends of which steps say one thing, and a flag that somebody named another.

  Args:
    record: of the episode.
    path: of the flag, with its comparison.
    recorded: `types.EndReason` of the last step.
    success: what the flag says.

  Raises:
    ValueError: they contradict each other.
  """
  found = types.EndReason(recorded)
  if found in (types.EndReason.NONE, types.EndReason.CUT):  # which is to say: nobody knew
    return types.EndReason.SUCCESS if success else types.EndReason.FAILURE
  if success != (found == types.EndReason.SUCCESS):
    raise record.error(
      path,
      f'found {"a success" if success else "no success"}, but the end_reason of the last step is '
      f'{found.name.lower()}; config.data.mapping.end_reason=none reads the flag alone, and '
      'config.data.mapping.success=none the end_reason alone.',
    )
  return found


def _enumerated(
  record: record_fields.RecordFields, path: str, values: Mapping[str, int], length: int
) -> np.ndarray:
  """[T] int8 from texts."""
  texts = record.texts(path, length)
  for step, text in enumerate(texts):
    if text.lower() not in values:
      raise record.error(
        path,
        f'found {text!r}, expected one of {list(values)}; or map the key to none.',
        step=step if record.leaves[path].per_step else None,
      )
  return np.array([values[text.lower()] for text in texts], np.int8)


def _prompt(record: record_fields.RecordFields, paths: Sequence[str], length: int) -> list[str]:
  """[T] texts, of every step the first that is not empty."""
  prompt = [''] * length
  for path in paths:
    if all(prompt):
      break
    others = record.texts(path, length)
    prompt = [text or other for text, other in zip(prompt, others, strict=True)]
  return prompt


def _metadata(record: record_fields.RecordFields) -> dict[str, bool | int | float | str]:
  """Numbers and texts of the episode: those of `episode_metadata`, else those at the top."""
  names = {
    path: leaf
    for path, leaf in record.leaves.items()
    if not leaf.per_step and leaf.kind in ('tensor', 'text', 'label') and leaf.shape in ((), (1,))
  }
  inner = 'episode_metadata/'
  prefix = inner if any(path.startswith(inner) for path in record.leaves) else ''
  return {
    path.removeprefix(prefix): record.scalar(path)
    for path in names
    if path.startswith(prefix) and '/' not in path.removeprefix(prefix)
  }
