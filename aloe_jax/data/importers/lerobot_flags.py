"""What the rows of a LeRobot dataset tell of who acts and how the episode ended.

next.success      the last step's counts: a success or, where it is done, a failure
next.done         set before the last step, it is counted and the episode goes on
next.reward       a success where all are 0 or 1 and a first 1 is the last; a reward of 1 at
                  every step says nothing, and neither do rewards of other sizes; see
                  `lerobot_rewards`
intervention      and names like it: set where a human acts; the other steps are the policy's

What they leave open is as the settings say. A flag that the rows of some files lack is refused
there: what it says of the others it does not say of these.
"""

from collections.abc import Collection, Mapping, Sequence
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa

from aloe_jax import types
from aloe_jax.data import field_names
from aloe_jax.data import flags
from aloe_jax.data import unread_flags
from aloe_jax.data.importers import lerobot_rewards
from aloe_jax.data.importers import lerobot_rows
from aloe_jax.data.importers import settings as settings_lib

_DONE = 'next.done'
_REWARD = 'next.reward'


class Flags:
  """The columns with flags, and what they say of an episode.

  Attributes:
    columns: that are read where a file has them.
    notes: which of them say what, and which look as if they did and are not read.
  """

  def __init__(
    self,
    names: Mapping[str, Mapping[str, Any]],
    settings: settings_lib.Settings,
    path: pathlib.Path,
    files: Sequence[pathlib.Path] = (),
  ):
    """Finds the columns.

    Args:
      names: of the columns that any file has, and the features they are, as far as described.
      settings: which of them to take.
      path: of `info.json`, for messages.
      files: of the rows, of which the rewards are read.

    Raises:
      ValueError: if a column that was asked for is missing, or a comparison is none; or the
        settings say of ends what rewards contradict.
    """
    self._intervention = _find(
      names, 'intervention', settings.intervention, field_names.LEROBOT_INTERVENTION, path
    )
    self._success = _find(names, 'success', settings.success, field_names.LEROBOT_SUCCESS, path)
    # Without an outcome it does not matter where an episode was done.
    self._done = flags.Flag(_DONE) if _DONE in names and settings.success != '' else None
    ends, rewarded = None, settings.success is None and not self._success and _REWARD in names
    if rewarded:
      ends = lerobot_rewards.ends(files, _REWARD)
    self._reward = None if ends is None else _REWARD
    self._default = settings.end_reason
    self._source = settings.source
    wanted = [flag.name for flag in (self._intervention, self._success, self._done) if flag]
    self.columns = tuple(dict.fromkeys([*wanted, *filter(None, [self._reward])]))
    read = {'success': self._success, 'intervention': self._intervention}
    self.notes = [f'flags: {flag} -> {what}' for what, flag in read.items() if flag]
    if ends is not None:
      lerobot_rewards.check(ends, settings.end_reason, path, _REWARD)
      self.notes += lerobot_rewards.notes(ends, settings.end_reason, _REWARD)
    elif rewarded:
      self.notes.append(f'flags: {_REWARD}: not read; no episode has rewards of both 0 and 1 alone')
    unread = unread_flags.find(
      sorted(n for n, feature in names.items() if _is_single(feature)), self.columns
    )
    for name, what in unread.items():
      chosen = unread_flags.choice(name, is_text=names[name].get('dtype') == 'string')
      self.notes.append(f'flags: {name}: not read; --{what}={chosen} reads it')

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
    if self._reward is None:
      return None
    _check_is_there(rows, self._reward, '--success', where)
    values = lerobot_rows.column(rows, self._reward, where)
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
    """[T] bool, or None where there is no such flag."""
    if flag is None:
      return None
    _check_is_there(rows, flag.name, option or '--success', where)

    def refuse(step: int | None, message: str) -> ValueError:
      at = '' if step is None else f', step {step}'
      if not option:  # of next.done, which counts where there is an outcome only
        message = f'{message.rstrip(".")}; or leave the outcome open: --success=none.'
      return ValueError(f'{where}{at}: {flag.name}: {message}')

    values = lerobot_rows.column(rows, flag.name, where)
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


def _check_is_there(rows: pa.Table, name: str, option: str, where: str) -> None:
  if name not in rows.column_names:
    raise ValueError(
      f'{where}: found no column {name} in the file, expected it as in others of this dataset; '
      f'write it there too, leave the flag out of all by {option}=none, or leave such episodes '
      'out by --on-error=skip.'
    )


def _is_single(feature: Mapping[str, Any]) -> bool:
  """Whether a feature has one value a step, as flags have; what is not described may have."""
  shape = feature.get('shape') or []
  return feature.get('dtype') not in ('image', 'video') and all(size == 1 for size in shape)
