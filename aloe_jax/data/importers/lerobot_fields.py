"""Fields of LeRobot's files as the types they must have, else named by file, line and field."""

from collections.abc import Mapping
import math
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa

_COPY = 'copy the whole dataset again.'


def integer(value: Any, where: str, at_least: int = 0) -> int:
  """A whole number; a float without a fraction is one, as tables with gaps hold them.

  Args:
    value: as it was read.
    where: the file, the line or row and the field, for messages.
    at_least: the smallest that makes sense.

  Raises:
    ValueError: it is anything else.
  """
  whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
  if isinstance(value, bool) or not whole or value < at_least:
    raise ValueError(
      f'{where}: found {value!r:.80}, expected a whole number of {at_least} or more; {_COPY}'
    )
  return int(value)


def seconds(value: Any, where: str) -> float:
  """A time of 0 or more; raises ValueError likewise."""
  is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
  if not is_number or not 0 <= value < math.inf:
    raise ValueError(f'{where}: found {value!r:.80}, expected seconds, 0 or more; {_COPY}')
  return float(value)


def text(value: Any, where: str) -> str:
  """A text; raises ValueError likewise."""
  if not isinstance(value, str):
    raise ValueError(f'{where}: found {value!r:.80}, expected a text; {_COPY}')
  return value


def features(value: Any, path: pathlib.Path) -> Mapping[str, Mapping[str, Any]]:
  """The features of `info.json`, each with its dtype and a shape that is one, if it has any."""
  where = f'{path}: features'
  if not isinstance(value, dict):
    raise ValueError(f'{where}: found {value!r:.80}, expected an object of features; {_COPY}')
  for name, feature in value.items():
    if not isinstance(feature, dict):
      raise ValueError(
        f'{where}: {name}: found {feature!r:.80}, expected an object with dtype and shape; {_COPY}'
      )
    if 'dtype' not in feature:
      raise ValueError(
        f'{where}: {name}: dtype is missing; found {", ".join(sorted(feature))}; {_COPY}'
      )
    text(feature['dtype'], f'{where}: {name}: dtype')
    shape = feature.get('shape', [])
    if not isinstance(shape, list):
      raise ValueError(f'{where}: {name}: shape: found {shape!r:.80}, expected a list; {_COPY}')
    for size in shape:
      integer(size, f'{where}: {name}: shape', at_least=1)
  return value


def filled(template: str, where: str, **gaps: Any) -> str:
  """A path of `info.json` with its gaps filled.

  Raises:
    ValueError: it has others.
  """
  try:
    return template.format(**gaps)
  except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
    known = ', '.join('{' + name + '}' for name in gaps)
    raise ValueError(
      f'{where}: found {template!r:.200}, expected a path with no gaps but {known}; {_COPY}'
    ) from error


def integers(batch: pa.RecordBatch, name: str, path: pathlib.Path, row: int) -> np.ndarray:
  """[T] int64 of a column.

  Args:
    batch: T rows.
    name: of the column.
    path: of the file, for messages.
    row: of the first one in the file.

  Raises:
    ValueError: naming the file and the row that holds anything else.
  """
  column = batch.column(name)
  if pa.types.is_integer(column.type) and not column.null_count:
    return column.to_numpy(zero_copy_only=False).astype(np.int64)
  values = column.to_pylist()
  return np.array(
    [integer(value, f'{path}, row {row + t}: {name}') for t, value in enumerate(values)], np.int64
  )
