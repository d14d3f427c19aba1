"""What is kept of an episode because a person should look at it, and how it is said.

`import` keeps it under these names in the metadata of the episode; `inspect` and `validate` find it
there again.
"""

from collections.abc import Mapping
from typing import Any

SUCCESS_LOST = 'success_lost'
DONE_EARLY = 'done_early'

_TEXTS = {
  SUCCESS_LOST: 'The task was done and then not any more, so the last step counts, in the episodes',
  DONE_EARLY: 'next.done was set before the last step, where nothing was cut, in the episodes',
}
_NAMED = 20  # episodes in a line


def add(told: dict[str, list[int]], episode: int, metadata: Mapping[str, Any]) -> None:
  """Adds the number of an episode to what its metadata tells."""
  for name in _TEXTS:
    if metadata.get(name) is True:
      told.setdefault(name, []).append(episode)


def text(name: str) -> str:
  """What a name says of the episodes that follow."""
  return _TEXTS[name]


def lines(told: Mapping[str, list[int]]) -> list[str]:
  """One line for each thing told."""
  return [f'{text(name)}: {named(episodes)}.' for name, episodes in told.items()]


def named(episodes: list[int] | tuple[int, ...]) -> str:
  """The first numbers of episodes, and how many there are more."""
  more = f' and {len(episodes) - _NAMED} more' if len(episodes) > _NAMED else ''
  return f'{", ".join(map(str, episodes[:_NAMED]))}{more}'
