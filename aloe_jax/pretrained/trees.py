"""Whether parameters fit a model: every leaf, its shape, and nothing else."""

from collections.abc import Mapping, Sequence
import re
from typing import Protocol


class Shaped(Protocol):
  """An array or its `jax.ShapeDtypeStruct`."""

  @property
  def shape(self) -> tuple[int, ...]: ...


def check(
  found: Mapping[str, Shaped],
  wanted: Mapping[str, Shaped],
  *,
  where: str,
  may_miss: Sequence[str] = (),
) -> None:
  """Compares the leaves found with those wanted, both by path, such as 'img/embedding/kernel'.

  Args:
    found: what a checkpoint holds.
    wanted: what the model has.
    where: what the message begins with: the checkpoint's path.
    may_miss: regular expressions; a path that one of them matches as a whole may be absent.

  Raises:
    ValueError: lists every leaf that is missing, unexpected or of another shape.
  """
  problems = []
  for path in sorted({*found, *wanted}):
    if path not in wanted:
      problems.append(f'{path}: unexpected, found {list(found[path].shape)}')
    elif path not in found:
      if not any(re.fullmatch(pattern, path) for pattern in may_miss):
        problems.append(f'{path}: missing, expected {list(wanted[path].shape)}')
    elif tuple(found[path].shape) != tuple(wanted[path].shape):
      problems.append(
        f'{path}: found {list(found[path].shape)}, expected {list(wanted[path].shape)}'
      )
  if problems:
    raise ValueError(
      f'{where}: these parameters do not fit the model ({len(problems)}):\n  '
      + '\n  '.join(problems)
    )
