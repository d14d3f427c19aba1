"""Checkpoints of a run: one directory per finished phase, written by Orbax, atomic."""

from collections.abc import Iterable, Mapping
import json
import numbers
import pathlib
import re
from typing import Any

from aloe_jax import config as config_lib
from aloe_jax import disk
from aloe_jax import files
from aloe_jax import renamed
from aloe_jax.buckets import patience
from aloe_jax.buckets import twin
from aloe_jax.learning.train_state import TrainState
from aloe_jax.parallel import hosts
from aloe_jax.pretrained import arrays_on_disk
from aloe_jax.pretrained import one_error
from aloe_jax.run import padded_state
from aloe_jax.run import removal
from aloe_jax.run import state_items
from aloe_jax.run import writing
from aloe_jax.run import written_files

_META = 'meta/metadata'
_OURS = re.compile(r'\.(\d+\.(writing\b.*|removed)|\.\d+\.writing.*\.removed)')
_TYPES: dict[str, type | tuple[type, ...]] = {  # of what is read of the JSON about a checkpoint
  'architecture': dict,
  'config': dict,
  'phase': str,
  'iteration': int,
  'fail_cost': (numbers.Real, type(None)),  # null: not known yet
}


class Checkpoints:
  """The numbered checkpoints of one run.

  Args:
    directory: holds one directory a checkpoint; created by the first save. Of a working directory
      in a bucket they lie there.
  """

  def __init__(self, directory: pathlib.Path):
    self._directory = twin.there(directory)

  @property
  def directory(self) -> pathlib.Path:
    """That holds them."""
    return self._directory

  def numbers(self) -> list[int]:
    """Of all checkpoints, the newest last."""
    if files.is_url(self._directory):
      found = [name for name in removal.whole_there(self._directory) if name.isdecimal()]
    elif self._directory.exists():
      found = [p.name for p in self._directory.iterdir() if p.name.isdecimal() and p.is_dir()]
    else:
      return []
    return sorted(int(name) for name in found if name == str(int(name)))

  def latest(self) -> int | None:
    """Number of the newest checkpoint, or None."""
    return max(self.numbers(), default=None)

  def newest(self) -> pathlib.Path:
    """Directory of the newest checkpoint.

    Raises:
      FileNotFoundError: there is none.
    """
    latest = self.latest()
    if latest is None:
      raise FileNotFoundError(
        f'{self._directory} holds no checkpoint; expected the --workdir of a run that has '
        'finished its warm start.'
      )
    return self.path(latest)

  def path(self, number: int) -> pathlib.Path:
    """Directory of a checkpoint."""
    return self._directory / str(number)

  def others(self) -> list[str]:
    """Names in the directory that no save here has made; nothing of them is ever removed."""
    if not self._directory.exists():
      return []
    names = {path.name for path in self._directory.iterdir()} - set(map(str, self.numbers()))
    if files.is_url(self._directory):
      names -= set(removal.unfinished_there(self._directory))
    return sorted(name for name in names if not _OURS.fullmatch(name))

  def check_free(self) -> None:
    """Looks whether a name is taken that a checkpoint is yet to have.

    Raises:
      ValueError: by a file, or in a bucket by a checkpoint whose last file is not there.
    """
    for name in self.others():
      if name.isdecimal() and name == str(int(name)):
        lacks = f'no {written_files.NAME}' if files.is_url(self._directory) else 'no directory'
        raise ValueError(
          f'{self._directory / name}: found {lacks}, expected a whole checkpoint, or nothing of '
          'that name: its phase could not be saved. Put back a copy, or remove it.'
        )

  def remove(self, numbers: Iterable[int]) -> None:
    """Removes checkpoints, of which those without a description are left: they are not ours."""
    for number in numbers:
      if (self.path(number) / _META).exists():
        removal.remove(self.path(number))

  def sweep(self) -> None:
    """Removes what a process that was killed left of checkpoints that it wrote or removed."""
    if self._directory.exists():
      here = not files.is_url(self._directory)
      for left in self._directory.glob('.*.writing*') if here else ():
        if _OURS.fullmatch(left.name):
          removal.remove(left)
      removal.sweep(self._directory)

  def save(
    self,
    number: int,
    state: TrainState,
    encoder: Any,
    meta: dict[str, Any],
    unchanged: Mapping[str, pathlib.Path] | None = None,
  ) -> None:
    """Writes a checkpoint; on return it is whole on disk.

    Args:
      number: its directory's name.
      state: one global copy.
      encoder: parameters of the frozen encoder that the critic was trained on; {} for none.
      meta: JSON about it; `architecture` is what `restore` compares.
      unchanged: {item: checkpoint of this run that holds the same}; its files are not written
        again but get a second name.
    """
    items = state_items.of_fields({name: getattr(state, name) for name in state_items.FIELDS})
    if encoder:
      items[state_items.ENCODER] = encoder
    shared = {name: path for name, path in (unchanged or {}).items() if name in items}
    changed = {name: tree for name, tree in items.items() if name not in shared}
    with disk.writing(f'checkpoint {number}', self._directory), one_error.raised():
      if not files.is_url(self._directory):  # Orbax waits long where it cannot be
        self._directory.mkdir(parents=True, exist_ok=True)
      writer = writing.Writer()
      try:
        with patience.waiting(self.path(number), 'written'):
          writer.start(self.path(number), changed, meta, shared).result()
      finally:
        writer.close()
    hosts.wait(f'checkpoint {number} is whole')


def is_one(path: pathlib.Path) -> bool:
  """Whether there is a checkpoint of a run at `path`."""
  return (path / _META).exists() or state_items.is_there(path)


def find(path: pathlib.Path) -> pathlib.Path:
  """The checkpoint of a run that a path names: itself, or the newest of a working directory.

  Raises:
    FileNotFoundError: there is none.
  """
  if is_one(path):
    return path
  for directory in (path / 'checkpoints', path):
    kept = Checkpoints(directory)
    if directory.is_dir() and kept.latest() is not None:
      return kept.newest()
  what = 'holds no checkpoint of a run' if path.exists() else 'does not exist'
  raise FileNotFoundError(
    f'{path} {what}; expected the working directory of a run that has finished its warm start, '
    'such as runs/laundry, or one of its checkpoints, such as runs/laundry/checkpoints/4.'
  )


def read_meta(path: pathlib.Path, *needed: str) -> dict[str, Any]:
  """What `save` was told about a checkpoint.

  Args:
    path: of the checkpoint.
    *needed: names without which it is of no use to the caller.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: it is damaged, or lacks one of the names.
  """
  file, advice = path / _META, _advice(path)
  if files.is_url(path) and writing.mark(path).exists():
    raise ValueError(
      f'{path} is not whole: it was begun and not ended, or is being removed; {advice}'
    )
  if is_one(path) and not file.exists():
    raise ValueError(f'{file} is missing; {advice}')
  if not is_one(path):
    raise FileNotFoundError(
      f'{path} is not a checkpoint: expected a directory such as '
      'runs/laundry/checkpoints/4, holding "state" and "meta"'
      + (f'; {advice}' if path.exists() else '.')
    )
  meta = files.read_json(file, advice)
  if not isinstance(meta, dict):
    raise ValueError(f'{file}: found {type(meta).__name__}, expected an object; {advice}')
  if missing := [name for name in needed if name not in meta]:
    raise ValueError(
      f'{file}: found {", ".join(sorted(meta)) or "nothing"}, expected {", ".join(missing)} too; '
      f'{advice}'
    )
  for name in meta.keys() & _TYPES.keys():
    expected = _TYPES[name]
    if not isinstance(meta[name], expected):
      wanted = expected[0] if isinstance(expected, tuple) else expected
      raise ValueError(
        f'{file}: {name}: found {meta[name]!r:.80}, expected {wanted.__name__}; {advice}'
      )
  return meta


def restore(path: pathlib.Path, like: TrainState, architecture: dict[str, Any]) -> TrainState:
  """Reads a checkpoint back, bit for bit.

  Args:
    path: of the checkpoint.
    like: a state of the shapes wanted, or their `jax.eval_shape`; leaves that say where they
      lie are read straight there.
    architecture: of the networks wanted, compared with the checkpoint's before any read.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: it is of another architecture; see `check`.
  """
  check(path, architecture)
  fields = {name: getattr(like, name) for name in state_items.FIELDS}
  return TrainState(**state_items.read(path, fields, _advice(path)))


def restore_parts(path: pathlib.Path, like: dict[str, Any]) -> dict[str, Any]:
  """Reads back some fields of a checkpoint's train state, and nothing else.

  Whoever acts or judges needs the moving average, and at most the critic: a sixth of what a
  checkpoint of a whole π0.5 holds.

  Args:
    path: of the checkpoint.
    like: {field of `TrainState`: shapes wanted}; leaves say where they are to lie.

  Raises:
    ValueError: what is on the disk is not what was written.
  """
  return state_items.read(path, like, _advice(path))


def restore_encoder(path: pathlib.Path, like: Any) -> Any:
  """Reads back the frozen encoder of a checkpoint; `like` as for `restore`."""
  return state_items.read_encoder(path, like, _advice(path))


def _advice(path: pathlib.Path) -> str:
  """What is to be done about a damaged checkpoint: that of a run can be done without."""
  others = Checkpoints(files.absolute(path).parent).numbers() if path.name.isdecimal() else []
  number = int(path.name) if path.name.isdecimal() else 0
  earlier = max((other for other in others if other < number), default=None)
  if earlier is not None:
    return (
      f'put back a copy of it, or remove {path}: its run then goes on from checkpoint {earlier}.'
    )
  return 'use another checkpoint, or put back a copy of this one.'


def check(path: pathlib.Path, architecture: dict[str, Any]) -> None:
  """Compares a checkpoint's architecture with the one wanted; reads no parameters.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: it is of another architecture; lists every field that differs. Or its policy was
      told numbers that its robot does not have, see `padded_state`.
      Or it is not whole.
  """
  meta = read_meta(path, 'architecture')
  if 'done' in meta:
    raise ValueError(
      f'{path} is a save inside a phase, which its run goes on from by itself; expected a '
      'checkpoint that a phase has left, such as runs/laundry/checkpoints/4.'
    )
  padded_state.check(path, meta)
  found = renamed.fields(meta['architecture'])
  different = config_lib.differences(found, json.loads(json.dumps(architecture)))
  if different:
    raise ValueError(
      f'{path} is a checkpoint of another architecture:\n  '
      + '\n  '.join(different)
      + '\nGive the config it was trained with, or another checkpoint.'
    )
  check_files(path)


def check_files(path: pathlib.Path) -> None:
  """Looks whether all files of a checkpoint are there and as long as they were; reads no arrays.

  Raises:
    ValueError: naming one that is missing, cut or damaged.
  """
  for item in state_items.names(path):
    try:
      arrays_on_disk.check(files.absolute(path / item), ('_METADATA', 'array_metadatas/*'))
    except ValueError as error:
      raise ValueError(
        f'{path} is damaged: in {item}, {str(error).rstrip(".")}; {_advice(path)}'
      ) from error
  written_files.check_sizes(path, _advice(path))
