"""Whether actions are positions or velocities, as far as the metadata of episodes tell it.

It decides what a robot that holds is sent: the position that it was sent last, or a velocity of
zero. The numbers themselves do not show it.
"""

from collections.abc import Iterable, Mapping

NAME = 'action_kind'  # in the metadata of an episode, and in what is kept beside a checkpoint
KINDS = ('position', 'velocity')


def distinct(metadata: Iterable[Mapping[str, bool | int | float | str]]) -> tuple[str, ...]:
  """The kinds that any of the episodes tell, in order; () where none does."""
  found = {one.get(NAME) for one in metadata}
  return tuple(kind for kind in KINDS if kind in found)
