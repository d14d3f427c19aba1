"""D_i of Algorithm 1 as a list on disk: the datasets that each iteration added, with digests."""

from collections.abc import Callable, Mapping, Sequence
import hashlib
import json
import pathlib

from aloe_jax import files
from aloe_jax.parallel import hosts

_NAMES = ('path', 'content', 'iteration')
_ADVICE = (
  'put back the file as the run wrote it, or start another --workdir: without it nothing tells '
  'which data the run was trained on.'
)


class Manifest:
  """The datasets of a run, in the order they came; entries are added, and change their path alone.

  Args:
    path: of the JSON file; created by the first `extend`.

  Raises:
    ValueError: the file is damaged.
  """

  def __init__(self, path: pathlib.Path):
    self._path = path
    self._entries = read(path)

  def check(self, content: Callable[[str], str]) -> None:
    """Compares every dataset of the run with what it held when it was added.

    Args:
      content: the digest of what a dataset holds now, by its path; a FileNotFoundError where
        there is none.

    Raises:
      ValueError: one of them has changed or vanished.
    """
    for entry in self._entries:
      try:
        problem = '' if content(entry['path']) == entry['content'] else 'holds other episodes now'
      except FileNotFoundError:
        problem = 'is no longer there'
      if problem:
        raise ValueError(
          f'{entry["path"]} {problem}; iteration {entry["iteration"]} added it ({self._path}), and '
          'a run goes on only with the data it was trained on: put it back, name with '
          'config.data.episodes where it lies now, or start another --workdir.'
        )

  @property
  def is_empty(self) -> bool:
    """Whether nothing has been added yet."""
    return not self._entries

  @property
  def entries(self) -> list[dict]:
    """What is listed: path, content and iteration of each dataset, in the order they came."""
    return [dict(entry) for entry in self._entries]

  def follow(
    self, given: Sequence[str], content: Callable[[str], str], is_own: Callable[[str], bool]
  ) -> tuple[dict[str, str], list[str]]:
    """Finds the datasets that the run was given where they lie now: what they hold counts.

    Args:
      given: their paths now: those that are listed in the order in which the run was given them,
        then those that are new.
      content: the digest of what a dataset holds, by its path.
      is_own: whether the run itself made the dataset at a path.

    Returns:
      {path before: path now} of those that have moved; and the new ones, none in a run that has
      listed nothing yet.

    Raises:
      ValueError: in the place of one there is another, or a new one holds what is listed or what
        another new one holds; names both.
    """
    former = [entry for entry in self._entries if not is_own(entry['path'])]
    if not self._entries:
      _check_differ(given, content)
      return {}, []
    if len(former) > len(given):
      listed = ', '.join(entry['path'] for entry in former)
      raise ValueError(
        f'config.data.episodes names {", ".join(given) or "none"}; expected the datasets that the '
        f'run was trained on, in their order: {listed} ({self._path}). They may lie elsewhere now, '
        'and new ones may follow.'
      )
    moved, new = {}, list(given[len(former) :])
    for entry, path in zip(former, given, strict=False):
      if place(entry['path']) == place(path):
        continue
      if content(path) != entry['content']:
        raise ValueError(
          f'{path} holds other episodes than {entry["path"]}, in whose place config.data.episodes '
          f'names it; iteration {entry["iteration"]} added that one ({self._path}), and a run goes '
          'on only with the data it was trained on, in their order: name where it lies now, and '
          'new ones after all of them, or start another --workdir.'
        )
      moved[entry['path']] = path
    for path in new:
      for entry in self._entries:
        if content(path) == entry['content']:
          raise ValueError(
            f'{path} adds nothing: it holds the same episodes as {entry["path"]}, which iteration '
            f'{entry["iteration"]} added ({self._path}), and they would count double; leave it out '
            'of config.data.episodes.'
          )
    _check_differ(new, content)
    for entry in former:
      entry['path'] = moved.get(entry['path'], entry['path'])
    if moved:
      self._keep()
    return moved, new

  def digest(self, iteration: int) -> str:
    """Of the datasets that have joined up to an iteration: another one whenever one joins."""
    joined = [entry for entry in self._entries if entry['iteration'] <= iteration]
    return hashlib.sha256(json.dumps(joined).encode()).hexdigest()[:16]

  def extend(self, iteration: int, found: Mapping[str, str]) -> None:
    """Appends the datasets that are not listed yet.

    Args:
      iteration: that adds them.
      found: {path: content digest}, in order.
    """
    listed = {entry['path'] for entry in self._entries}
    added = [
      {'path': path, 'content': content, 'iteration': iteration}
      for path, content in found.items()
      if path not in listed
    ]
    if added:
      self._entries += added
      self._keep()

  def _keep(self) -> None:
    if hosts.is_first():
      files.write_text(self._path, json.dumps(self._entries, indent=2))


def _check_differ(new: Sequence[str], content: Callable[[str], str]) -> None:
  """Raises ValueError if two new datasets hold the same; names both."""
  first: dict[str, str] = {}
  for path in new:
    other = first.setdefault(content(path), path)
    if place(other) != place(path):
      raise ValueError(
        f'{path} adds nothing: it holds the same episodes as {other}, and they would count double; '
        'leave one of the two out of config.data.episodes.'
      )


def place(path: str) -> str:
  """A path as all its spellings are: without `~` and `..`, and absolute; a bucket's as it is."""
  return path if '://' in path else str(files.absolute(path))


def read(path: pathlib.Path) -> list[dict]:
  """The entries of a manifest; [] where there is none yet.

  Raises:
    ValueError: the file is damaged; names it.
  """
  entries = files.read_entries(path, _NAMES, _ADVICE)
  for index, entry in enumerate(entries):
    kinds = [type(entry[name]) for name in _NAMES]
    if kinds != [str, str, int] or entry['iteration'] < 0:
      raise ValueError(
        f'{path}: entry {index}: found {json.dumps(entry):.200}, expected two texts and the number '
        f'of an iteration; {_ADVICE}'
      )
  return entries


def check_any(path: pathlib.Path, entries: Sequence[Mapping]) -> None:
  """Raises ValueError if a run that has learnt lists no dataset; names its manifest's path."""
  if not entries:
    found = 'no dataset in it' if path.exists() else 'no such file'
    raise ValueError(f'{path}: found {found}, expected those of the run; {_ADVICE}')
