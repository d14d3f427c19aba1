"""Episodes dealt out to hosts: each plays some, by their numbers, and all get what came of all."""

import dataclasses
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from aloe_jax.parallel import hosts
from aloe_jax.parallel import sharding


@dataclasses.dataclass(frozen=True)
class Share:
  """The episodes that this host plays.

  Attributes:
    episodes: how many all hosts play.
    number: [n] int32, of each that this host plays, as many on every host and a multiple of its
      devices. Past the end, where it need not play, it is the last one's.
    spare: [n] bool, which those are.
    layout: of the policy's parameters; None where no policy acts.
  """

  episodes: int
  number: np.ndarray
  spare: np.ndarray
  layout: sharding.Layout | None

  def place(self, rows: Any) -> Any:
    """This host's rows [n, ...] where a program takes them together with the parameters."""
    return rows if self.layout is None else self.layout.place_rows(rows)

  def fetch(self, rows: Any) -> Any:
    """The rows [n, ...] of this host of what a program returned, as NumPy arrays."""
    return jax.tree.map(np.asarray if self.layout is None else self.layout.fetch_rows, rows)

  def finished(self, finished: np.ndarray, steps: int) -> tuple[int, int]:
    """Episodes that are over and steps that were played, by all hosts.

    Args:
      finished: [n] bool, of this host's; where all play, all have to ask equally often.
      steps: of this host.
    """
    own = int((finished & ~self.spare).sum()), steps
    told = hosts.exchange('episodes are played', own)
    return sum(count for count, _ in told), sum(played for _, played in told)

  def together(self, rows: Any) -> Any:
    """All episodes [episodes, ...] in the order of their numbers, from each host's [n, ...]."""
    place = self.number + np.where(self.spare, self.episodes, 0)
    gathered = jax.tree.map(_gathered, (place, rows))
    order = np.argsort(gathered[0], kind='stable')[: self.episodes]
    return jax.tree.map(lambda x: x[order], gathered[1])


def share(episodes: int, layout: sharding.Layout | None) -> Share:
  """What this host plays of some episodes."""
  devices = jax.local_device_count()
  size = -(-episodes // (hosts.count() * devices)) * devices
  number = np.arange(size, dtype=np.int32) + hosts.number() * size
  spare = number >= episodes
  return Share(episodes, np.minimum(number, episodes - 1), spare, layout)


def _gathered(rows: np.ndarray) -> np.ndarray:
  return np.asarray(multihost_utils.process_allgather(rows, tiled=True))
