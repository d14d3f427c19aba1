"""What the rows of a LeRobot dataset tell of who acts and how the episode ended.

next.success      the last step's counts: a success or, where it is done, a failure
next.done         set before the last step, it is counted and the episode goes on
next.reward       a success where all are 0 or 1 and a first 1 is the last; a reward of 1 at
                  every step says nothing, and neither do rewards of other sizes
intervention      and names like it: set where a human acts; the other steps are the policy's

What they leave open is as the settings say.
"""

from collections.abc import Collection, Sequence
import pathlib

import numpy as np
import pyarrow as pa

from aloe_jax import types
from aloe_jax.data import field_names
from aloe_jax.data import flags
from aloe_jax.data.importers import settings as settings_lib

_DONE = 'next.done'
_REWARD = 'next.reward'


class Flags:
  """The columns with flags, and what they say of an episode.

  Attributes:
    columns: that are read where a file has them.
    notes: which of them say what, and which look as if they did and are not read.
  """

  def __init__(self, names: Collection[str], settings: settings_lib.Settings, path: pathlib.Path):
    """Finds the columns.

    Args:
      names: of the columns there are.
      settings: which of them to take.
      path: of `info.json`, for messages.

    Raises:
      ValueError: if a column that was asked for is missing, or a comparison is none.
    """
    self._intervention = _find(
      names, 'intervention', settings.intervention, field_names.LEROBOT_INTERVENTION, path
    )
    self._success = _find(names, 'success', settings.success, field_names.LEROBOT_SUCCESS, path)
    told = settings.success is None
    # Without an outcome it does not matter where an episode was done.
    self._done = flags.Flag(_DONE) if _DONE in names and settings.success != '' else None
    self._reward = _REWARD if told and self._success is None and _REWARD in names else None
    self._default = settings.end_reason
    self._source = settings.source
    wanted = [flag.name for flag in (self._intervention, self._success, self._done) if flag]
    self.columns = tuple(dict.fromkeys([*wanted, *filter(None, [self._reward])]))
    read = {'success': self._success or self._reward, 'intervention': self._intervention}
    self.notes = [f'flags: {flag} -> {what}' for what, flag in read.items() if flag]
    self.notes += [
      f'flags: {name}: not read; --{what}={name} reads it'
      for what, word in (('success', 'success'), ('intervention', 'interven'))
      for name in sorted(names)
      if word in name.lower() and name not in self.columns
    ]

  def source(self, rows: pa.Table, where: str) -> np.ndarray | types.Source:
    """[T] where every step tells whether a human acts, else that of all steps."""
    human = self._read(rows, self._intervention, '--intervention', where)
    if human is None:
      return self._source
    return np.where(human, types.Source.HUMAN, types.Source.POLICY).astype(np.int8)

  def end(
    self, rows: pa.Table, where: str
  ) -> tuple[types.EndReason, dict[str, bool | int | float | str]]:
    """Why an episode ended, as far as its rows tell, and what is kept of how it got there."""
    success = self._read(rows, self._success, '--success', where, field_names.OUTCOMES)
    done = self._read(rows, self._done, '', where)
    kept: dict[str, bool | int | float | str] = {}
    if self._done is not None:
      kept['done_early'] = done is not None and bool(done[:-1].any())
    if self._success is not None:
      kept['success_lost'] = success is not None and flags.lost(success)
    if success is not None:
      if success[-1]:
        return types.EndReason.SUCCESS, kept
      ended = done is None or done[-1]
      return types.EndReason.FAILURE if ended else types.EndReason.CUT, kept
    rewarded = self._rewarded(rows, where)
    if self._reward is not None:
      kept['success_lost'] = rewarded is not None and flags.lost(rewarded)
    if rewarded is not None and rewarded[-1]:
      return types.EndReason.SUCCESS, kept
    return self._default, kept

  def _rewarded(self, rows: pa.Table, where: str) -> np.ndarray | None:
    """[T] whether the reward is 1, where rewards are 0 and 1 and both are there; else None."""
    if self._reward is None or self._reward not in rows.column_names:
      return None
    values = _values(rows, self._reward, where)
    numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    known = numbers[np.isfinite(numbers)]
    if not np.isin(known, (0, 1)).all() or not (known == 1).any():
      return None
    if len(known) < len(numbers):
      step = int(np.argmin(np.isfinite(numbers)))
      raise ValueError(
        f'{where}, step {step}: {self._reward}: found {values[step]}, expected 0 or 1 as at the '
        'other steps; repair the episode, or leave the outcome open: --success=none.'
      )
    return numbers == 1 if (numbers == 0).any() else None

  def _read(
    self,
    rows: pa.Table,
    flag: flags.Flag | None,
    option: str,
    where: str,
    words: dict[str, bool] = flags.WORDS,
  ) -> np.ndarray | None:
    """[T] bool, or None where there is no such column."""
    if flag is None or flag.name not in rows.column_names:
      return None

    def refuse(step: int | None, message: str) -> ValueError:
      at = '' if step is None else f', step {step}'
      return ValueError(f'{where}{at}: {flag.name}: {message}')

    values = _values(rows, flag.name, where)
    return flags.read(values, flag, option=option, refuse=refuse, words=words)


def _find(
  names: Collection[str],
  what: str,
  wanted: str | None,
  in_use: Sequence[str],
  path: pathlib.Path,
) -> flags.Flag | None:
  """The column that was asked for, else the first with a name in use; None if there is none."""
  if wanted == '':
    return None
  if wanted is None:
    return next((flags.Flag(name) for name in in_use if name in names), None)
  try:
    flag = flags.parse(wanted)
  except ValueError as error:
    raise ValueError(f'--{what}: {error}') from error
  if flag.name not in names:
    raise ValueError(
      f'{path}: features: found {", ".join(sorted(names))}, expected {flag.name}, as asked for by '
      f'--{what}.'
    )
  return flag


def _values(rows: pa.Table, name: str, where: str) -> np.ndarray | list:
  """[T] values of a column of one value a step, alone or in a list; None where one is missing."""
  column = rows[name].combine_chunks()
  while _is_list(column.type):
    lists = column.to_pylist()
    for step, found in enumerate(lists):
      if found is not None and len(found) > 1:
        raise ValueError(
          f'{where}, step {step}: {name}: found {len(found)} values, expected one a step.'
        )
    if not all(lists):  # one is missing, or has none
      column = pa.array([found[0] if found else None for found in lists])
    else:
      column = column.flatten()
  of_numbers = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
  if column.null_count or not of_numbers:
    return column.to_pylist()
  return column.to_numpy(zero_copy_only=False)


def _is_list(kind: pa.DataType) -> bool:
  return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
