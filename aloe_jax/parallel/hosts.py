"""Several processes that run the same program, one a host: what they tell each other.

What they agree on goes through the service that `joining` found, and not through the devices: so
it has names and time limits, and whoever is waited for is known. With one process nothing here
communicates.
"""

import collections
from collections.abc import Iterator
import contextlib
import json
import socket
import time
from typing import Any

import jax
from jax._src import distributed  # JAX shows its store of keys and values nowhere else
from jax.experimental import multihost_utils
import numpy as np

LIMIT_SECONDS = 1800.0  # that hosts wait for the last of them, unless a command says otherwise
TELL_SECONDS = 60.0  # between two times that it is said who is waited for
_POLL_SECONDS = 0.05
_MEET_SECONDS = 5.0  # between two meetings of a `Vote`
_limit = [LIMIT_SECONDS]
_used: collections.Counter[str] = collections.Counter()  # how often hosts met under a name


def count() -> int:
  """How many processes there are; unlike `jax.process_count` it touches no device."""
  return distributed.global_state.num_processes or 1


def number() -> int:
  """Which of them this is, 0 to `count() - 1`."""
  return distributed.global_state.process_id


def is_first() -> bool:
  """Whether this process is the one that writes what people read."""
  return number() == 0


def set_limit(seconds: float) -> None:
  """Says how long hosts wait for the last of them from here on."""
  _limit[0] = seconds


def client() -> Any:
  """The store that all processes share: keys and values, until the run ends."""
  return distributed.global_state.client


def exchange(what: str, value: Any, seconds: float | None = None) -> list[Any]:
  """What every process has to say, in the order of their numbers, the same on all of them.

  Args:
    what: it is about, as in 'the config is read'; a person reads it who waits.
    value: of this process, that JSON can hold.
    seconds: to wait for the last; by default what `set_limit` said.

  Raises:
    TimeoutError: some did not come; names them.
  """
  if count() == 1:
    return [value]
  _used[what] += 1
  place = f'aloe/met/{what}#{_used[what]}/'
  client().key_value_set(f'{place}{number()}', json.dumps(value))
  limit = _limit[0] if seconds is None else seconds
  start = told = time.monotonic()
  while True:
    found = {int(k.rpartition('/')[2]): v for k, v in client().key_value_dir_get(place)}
    if len(found) == count():
      if _used[what] > 2:  # all have read what was said two times ago, to have come here
        client().key_value_delete(f'aloe/met/{what}#{_used[what] - 2}/{number()}')
      return [json.loads(found[i]) for i in range(count())]
    missing = ', '.join(str(i) for i in range(count()) if i not in found)
    now = time.monotonic()
    if now - start > limit:
      raise TimeoutError(
        f'{what}: waited {limit:.0f} s for process {missing} of {count()}, which did not come. '
        'Look at what it wrote last; if it is only slow, raise --wait_seconds.'
      )
    if now - told > TELL_SECONDS:
      told = now
      _say(f'{what}: has waited {now - start:.0f} s for process {missing} of {count()}.')
    time.sleep(_POLL_SECONDS)


def wait(what: str, seconds: float | None = None) -> None:
  """Returns when every host has got to this `what`; raises what `exchange` does."""
  exchange(what, None, seconds)


def lowest(number: int, what: str = 'the lowest number is agreed on') -> int:
  """The least of the numbers that the hosts give, the same on all of them."""
  return min(exchange(what, int(number)))


class Vote:
  """Asks all hosts for a number again and again, and seldom enough to cost nothing.

  All of them ask equally often. How often they really meet comes out of how fast the last meetings
  followed each other, the same on all.

  Args:
    what: it is about.
  """

  def __init__(self, what: str):
    self._what = what
    self._every = self._left = 1  # calls between two meetings; until the next
    self._met = time.monotonic()

  def lowest(self, number: int, *, otherwise: int) -> int:
    """The least number of all hosts where they meet, `otherwise` where they do not."""
    if count() == 1:
      return number
    self._left -= 1
    if self._left:
      return otherwise
    seconds = time.monotonic() - self._met
    wanted = max(1, round(self._every * _MEET_SECONDS / max(seconds, 1e-3)))
    said = exchange(self._what, [int(number), min(wanted, 4 * self._every)])
    self._every = self._left = min(calls for _, calls in said)
    self._met = time.monotonic()
    return min(lowest for lowest, _ in said)


def agree(what: str, facts: dict[str, Any], advice: str) -> None:
  """Raises on every host, with one message, where something is not the same on all of them.

  Args:
    what: is compared.
    facts: {name: value that JSON can hold} of this host.
    advice: what to do where they differ.

  Raises:
    ValueError: names the first fact that differs, and who holds it for what.
  """
  everyone = exchange(what, [socket.gethostname(), facts])
  host, first = everyone[0]
  for other, (name, found) in enumerate(everyone):
    for fact in [*first, *(fact for fact in found if fact not in first)]:
      if found.get(fact, 'nothing') != first.get(fact, 'nothing'):
        raise ValueError(
          f'{fact} is {found.get(fact, "nothing")!r} on process {other} ({name}), but '
          f'{first.get(fact, "nothing")!r} on process 0 ({host}). {advice}'
        )


@contextlib.contextmanager
def first_then_others(what: str) -> Iterator[None]:
  """Has the first process do something before the others, which then find it done."""
  if not is_first():
    wait(what)
  yield
  if is_first():
    wait(what)


def whole(array: jax.Array | np.ndarray) -> np.ndarray:
  """All of an array, on every host, wherever its parts lie."""
  if isinstance(array, jax.Array) and not array.is_fully_addressable:
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
  return np.asarray(array)


def as_global(tree: Any) -> Any:
  """Copies that every host has of its own as one array that all hosts hold; nothing is copied.

  Orbax writes no other arrays where there are several hosts.
  """
  if count() == 1:
    return tree
  return jax.tree.map(
    lambda x: _one_of_all(x) if isinstance(x, jax.Array) and x.is_fully_addressable else x, tree
  )


def own(tree: Any) -> Any:
  """What `as_global` was made of."""
  if count() == 1:
    return tree
  return jax.tree.map(
    lambda x: x.addressable_data(0) if getattr(x, 'sharding', None) == everywhere() else x, tree
  )


def everywhere() -> jax.sharding.NamedSharding:
  """A copy on the first device of every host."""
  first: dict[int, jax.Device] = {}
  for device in jax.devices():
    first.setdefault(device.process_index, device)
  mesh = jax.sharding.Mesh(np.array(list(first.values())), ('host',))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def _one_of_all(array: jax.Array) -> jax.Array:
  here = jax.device_put(array, jax.local_devices()[0])
  return jax.make_array_from_single_device_arrays(array.shape, everywhere(), [here])


def _say(text: str) -> None:
  print(f'process {number()}: {text}', flush=True)
