"""Statistics of datasets on disk, the same that training computes, without its config."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import os
from typing import Any

import rich.table

from aloe_jax.data import index as index_lib
from aloe_jax.data import padding
from aloe_jax.data import replay
from aloe_jax.data import statistics
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer

_PROMPT_LENGTH = 1 << 16  # no prompt is too long to be left out of statistics


def compute(
  directories: Sequence[str | os.PathLike],
  mapping: Mapping[str, Any],
  *,
  split: str,
  cache: str | os.PathLike | None,
  on_error: str,
  chunk: int,
  delta: tuple[int, ...],
  state_size: int | None,
  bar: Callable[[str, int | None, str], contextlib.AbstractContextManager],
  tell: Callable[[str], None],
) -> dict[str, normalize.Stats]:
  """Opens datasets by their indices and goes over all their chunks once.

  Args:
    directories: of the datasets; their actions are of one width.
    mapping: which fields feed which key; see `mapping`.
    split: of each of them.
    cache: where indices are kept; None for the directory that a dataset lies in.
    on_error: 'raise', or 'skip' to leave bad episodes out; see `index.load`.
    chunk: h, steps.
    delta: which numbers of an action are relative to the state; see `inputs.Inputs`.
    state_size: the first numbers of the state that count; None for all, which are of one width.
    bar: such as `progress.bar`.
    tell: is given what a person should know of a dataset, see `index.Index.remarks`.

  Returns:
    Of 'state' [n] and 'actions' [A].

  Raises:
    FileNotFoundError: if a directory or one of its shards is missing.
    ValueError: naming what is wrong, or does not fit together.
  """
  indices = []
  for directory in directories:
    with bar(f'Index {directory}', None, 'steps') as advance:
      found = index_lib.load(
        directory, mapping, split=split, cache=cache, on_error=on_error, progress=advance
      )
    indices.append(found)
    for remark in found.remarks:
      tell(remark)
    for key in ('action', 'state'):
      width, expected = (getattr(index, key).shape[1] for index in (found, indices[0]))
      if width != expected and not (key == 'state' and state_size):
        raise ValueError(
          f'{directory}: {key}: found {width} numbers a step, expected {expected} as in '
          f'{directories[0]}.'
        )
    own = None if state_size else padding.own_size(found.state)
    if own is not None:
      raise ValueError(
        f'{directory}: the state has {padding.WIDTH} numbers a step, of which those after the '
        f'first {own} are 0 at every step: an earlier version filled them up; import the '
        f'recordings again, give --state-size={max(own, 1)}, or --state-size={padding.WIDTH} if '
        f'the robot has {padding.WIDTH} numbers.'
      )
    widest = state_size or found.state.shape[1]
    if widest > padding.WIDTH:
      raise ValueError(
        f'{directory}: state: found {found.state.shape[1]} numbers a step, more than the '
        f'{padding.WIDTH} that training takes; keep joint angles and gripper openings, as with '
        f"--mapping.state='observation/state[0:{padding.WIDTH}]'."
      )
  narrowest = min(index.state.shape[1] for index in indices)
  size = narrowest if state_size is None else state_size
  if size > narrowest:
    raise ValueError(f'the state has {narrowest} numbers, expected the {size} asked for.')
  inputs = inputs_lib.Inputs(
    tokenizer=tokenizer.PromptTokenizer(tokenizer.Words(2), _PROMPT_LENGTH, discrete_state=False),
    state=normalize.Identity(),
    action=normalize.Identity(),
    state_size=size,
    delta=delta,
  )
  # Statistics know no rewards.
  chunking = replay.Chunking(horizon=chunk, critic_horizon=chunk, discount=0.0, fail_cost=0.0)
  steps = steps_lib.Steps(indices)
  with bar('Statistics', len(steps), 'steps') as advance:
    return statistics.compute(steps, inputs, chunking, progress=advance)


def table(key: str, stats: normalize.Stats) -> rich.table.Table:
  """Statistics for a person."""
  shown = rich.table.Table(title=key)
  for column in ('number', 'mean', 'std', 'q01', 'q99'):
    shown.add_column(column, justify='right')
  columns = (stats.mean, stats.std, stats.q01, stats.q99)
  rows = zip(*(column for column in columns if column is not None), strict=True)
  for number, row in enumerate(rows):
    shown.add_row(str(number), *(f'{value:.5g}' for value in row))
  return shown
