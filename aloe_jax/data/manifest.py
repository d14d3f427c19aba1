"""D_i of Algorithm 1 as a list on disk: the datasets that each iteration added, with digests."""

from collections.abc import Callable, Mapping
import hashlib
import json
import pathlib

from aloe_jax import files

_NAMES = ('path', 'content', 'iteration')
_ADVICE = (
  'put back the file as the run wrote it, or start another --workdir: without it nothing tells '
  'which data the run was trained on.'
)


class Manifest:
  """The datasets of a run, in the order they came; entries are added and never changed.

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
          'a run goes on only with the data it was trained on: put it back, or start another '
          '--workdir.'
        )

  @property
  def digest(self) -> str:
    """Another one whenever a dataset joins."""
    return hashlib.sha256(json.dumps(self._entries).encode()).hexdigest()[:16]

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
      files.write_text(self._path, json.dumps(self._entries, indent=2))


def read(path: pathlib.Path) -> list[dict]:
  """The entries of a manifest; [] where there is none yet.

  Raises:
    ValueError: the file is damaged; names it.
  """
  return files.read_entries(path, _NAMES, _ADVICE)
