"""One step function, run on one device or many: replicas by pmap, or a sharded mesh by jit.

Both layouts take and give the same global values, so nothing else in the program knows which
of them runs. Sharding is derived from shapes; models carry no mesh and no axis names.

What a compiled step is given lies on its devices already: an array that is not is refused, for to
copy it would hold the devices up at every call.
"""

from collections.abc import Callable, Sequence
import contextlib
import functools
from typing import Any, Protocol

import jax
from jax.sharding import AxisType
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
from jax.sharding import SingleDeviceSharding
import numpy as np

from aloe_jax import types
from aloe_jax.parallel import activations

AXIS = 'replica'  # the name that a step averages over under pmap
TABLE_ROWS = 2**16  # an axis as long as this numbers the rows of a table that are looked up
MIN_SHARDED_SIZE = 2**20  # smaller arrays are replicated: moving them costs more than it saves

Step = Callable[..., Any]


class Layout(Protocol):
  """Where state and batches live, and how a step is compiled for it."""

  def compile(self, step: Step) -> Step:
    """Compiles `step(state, *batches, axis_name=...)`; the state is donated.

    State and batches must have been placed; JAX refuses those of the host.
    """

  def create(self, function: Callable[..., Any], *donated: Any) -> Any:
    """Compiles and runs what makes a state, or part of one; its arguments are used up.

    The result is one global copy that no device holds more of than it has to.
    """

  def shapes(self, function: Callable[..., Any], *arguments: Any) -> Any:
    """What `create` would return, as `jax.ShapeDtypeStruct`s that say where the leaves lie."""

  def traced(self) -> contextlib.AbstractContextManager[None]:
    """Inside it programs of rows [B, ...] are traced for these devices, and called."""

  def lower(self, step: Step, state: Any, *batches: Any) -> jax.stages.Lowered:
    """The program that `compile` makes for shapes, without a device that could run it.

    Args:
      step: as for `compile`.
      state: `jax.ShapeDtypeStruct`s of one global copy.
      batches: those of global batches [n, B, ...], or None.
    """

  def place_state(self, state: Any) -> Any:
    """Puts a state where a compiled step wants it."""

  def place_rows(self, rows: Any) -> Any:
    """Puts this host's rows [B, ...] on its devices, for use with parameters from `fetch`."""

  def row_shapes(self, rows: Any) -> Any:
    """Where `place_rows` puts the rows [B, ...] of all hosts, as `jax.ShapeDtypeStruct`s."""

  def fetch_rows(self, rows: jax.Array) -> np.ndarray:
    """What was computed of this host's rows, [B, ...]."""

  def place_batches(self, batches: Any) -> Any:
    """Splits batches [n, B, ...] over the devices along B."""

  def fetch(self, tree: Any) -> Any:
    """One global copy of a state or of metrics that a compiled step returned."""


class Pmap:
  """A full copy of the state on every device; gradients are averaged by `lax.pmean`.

  Args:
    devices: those to use; all of them by default.
  """

  def __init__(self, devices: Sequence[jax.Device] | None = None):
    self._devices = list(devices or jax.devices())
    self._own = [d for d in self._devices if d.process_index == jax.process_index()]
    self._replicas = NamedSharding(Mesh(np.array(self._own), (AXIS,)), PartitionSpec(AXIS))

  def compile(self, step: Step) -> Step:
    return guarded(self._program(step))

  def lower(self, step: Step, state: Any, *batches: Any) -> jax.stages.Lowered:
    count = len(self._own)

    def copied(x: Any) -> jax.ShapeDtypeStruct:
      return jax.ShapeDtypeStruct((count, *x.shape), x.dtype)

    def split(x: Any) -> jax.ShapeDtypeStruct:
      _check_divisible(x.shape[1], len(self._devices))
      size = x.shape[1] // len(self._devices)
      return jax.ShapeDtypeStruct((count, x.shape[0], size, *x.shape[2:]), x.dtype)

    placed = jax.tree.map(copied, state), *(jax.tree.map(split, b) for b in batches)
    return self._program(step).lower(*placed)

  def traced(self) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()

  def _program(self, step: Step) -> Any:
    step = functools.partial(step, axis_name=AXIS)
    return jax.pmap(step, axis_name=AXIS, devices=self._devices, donate_argnums=0)

  def create(self, function: Callable[..., Any], *donated: Any) -> Any:
    return _create(function, donated, self.shapes(function, *donated))

  def shapes(self, function: Callable[..., Any], *arguments: Any) -> Any:
    sharding = SingleDeviceSharding(self._own[0])
    shapes = jax.eval_shape(function, *arguments)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)

  def place_state(self, state: Any) -> Any:
    # By pmap itself: what it returns lies as the step's own results do, so that the step is
    # compiled once, and no device ever holds the copies of the others.
    copy = functools.partial(jax.pmap, axis_name=AXIS, devices=self._devices, in_axes=(0, None))
    replicas = jax.device_put(np.arange(len(self._own)), self._replicas)
    return copy(lambda _, state: state)(replicas, state)

  def place_rows(self, rows: Any) -> Any:
    return jax.device_put(rows, self._own[0])  # where parameters from `fetch` lie

  def row_shapes(self, rows: Any) -> Any:
    sharding = SingleDeviceSharding(self._own[0])
    return _shapes_at(rows, jax.tree.map(lambda _: sharding, rows))

  def fetch_rows(self, rows: jax.Array) -> np.ndarray:
    return np.asarray(rows)

  def place_batches(self, batches: Any) -> Any:
    count = len(self._own)

    def split(x: types.Array) -> np.ndarray:
      x = np.asarray(x)
      _check_divisible(x.shape[1], count)
      shards = x.reshape(x.shape[0], count, x.shape[1] // count, *x.shape[2:])
      return np.swapaxes(shards, 0, 1)

    return jax.device_put(jax.tree.map(split, batches), self._replicas)

  def fetch(self, tree: Any) -> Any:
    return jax.tree.map(lambda x: x.addressable_data(0)[0], tree)


class Fsdp:
  """State split over the devices by `shard_rule`, batches over all of them; one `jax.jit`.

  Args:
    fsdp: devices that share one copy of the state; all of them by default.
    devices: those to use; all of them by default.
  """

  def __init__(self, fsdp: int | None = None, devices: Sequence[jax.Device] | None = None):
    devices = list(devices or jax.devices())
    fsdp = fsdp or len(devices)
    _check_divisible(len(devices), fsdp, 'devices', 'parallel.fsdp')
    self._mesh = jax.make_mesh(
      (len(devices) // fsdp, fsdp),
      activations.AXES,
      axis_types=(AxisType.Auto, AxisType.Auto),
      devices=devices,
    )
    self._rows = NamedSharding(self._mesh, PartitionSpec(activations.AXES))
    self._batches = NamedSharding(self._mesh, PartitionSpec(None, activations.AXES))

  def compile(self, step: Step) -> Step:
    programs: dict[Any, Any] = {}

    def run(state: Any, *batches: Any) -> Any:
      signature = jax.tree.structure(state)
      if signature not in programs:
        programs[signature] = self._program(step, state)
      with self.traced():
        return programs[signature](state, *batches)

    return guarded(run)

  def lower(self, step: Step, state: Any, *batches: Any) -> jax.stages.Lowered:
    for leaf in jax.tree.leaves(batches):
      _check_divisible(leaf.shape[1], self._mesh.size)
    placed = (
      _shapes_at(state, self._state_sharding(state)),
      *(_shapes_at(b, jax.tree.map(lambda _: self._batches, b)) for b in batches),
    )
    with self.traced():
      return self._program(step, state).lower(*placed)

  def traced(self) -> contextlib.AbstractContextManager[None]:
    return activations.split_over(self._mesh)

  def _program(self, step: Step, state: Any) -> Any:
    out_shardings = (self._state_sharding(state), NamedSharding(self._mesh, PartitionSpec()))
    return jax.jit(step, donate_argnums=0, out_shardings=out_shardings)

  def create(self, function: Callable[..., Any], *donated: Any) -> Any:
    return _create(function, donated, self.shapes(function, *donated))

  def shapes(self, function: Callable[..., Any], *arguments: Any) -> Any:
    shapes = jax.eval_shape(function, *arguments)
    return _shapes_at(shapes, self._state_sharding(shapes))

  def place_state(self, state: Any) -> Any:
    return jax.device_put(state, self._state_sharding(state))

  def place_rows(self, rows: Any) -> Any:
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(self._rows, np.asarray(x)), rows
    )

  def row_shapes(self, rows: Any) -> Any:
    for leaf in jax.tree.leaves(rows):
      _check_divisible(leaf.shape[0], self._mesh.size)
    return _shapes_at(rows, jax.tree.map(lambda _: self._rows, rows))

  def fetch_rows(self, rows: jax.Array) -> np.ndarray:
    shards = jax.device_put(rows, self._rows).addressable_shards
    return np.concatenate([x.data for x in sorted(shards, key=lambda x: x.index[0].start or 0)])

  def place_batches(self, batches: Any) -> Any:
    for leaf in jax.tree.leaves(batches):
      _check_divisible(leaf.shape[1] * jax.process_count(), self._mesh.size)
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(self._batches, np.asarray(x)), batches
    )

  def fetch(self, tree: Any) -> Any:
    return tree

  def _state_sharding(self, state: Any) -> Any:
    size = self._mesh.shape['fsdp']
    return jax.tree.map(lambda x: NamedSharding(self._mesh, shard_rule(np.shape(x), size)), state)


def guarded(function: Step) -> Step:
  """A compiled function that refuses arguments of the host instead of copying them in silence."""

  @functools.wraps(function)
  def run(*arguments: Any, **named: Any) -> Any:
    with jax.transfer_guard_host_to_device('disallow'):
      return function(*arguments, **named)

  return run


def _shapes_at(tree: Any, shardings: Any) -> Any:
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree, shardings
  )


def _create(function: Callable[..., Any], donated: Sequence[Any], shapes: Any) -> Any:
  shardings = jax.tree.map(lambda x: x.sharding, shapes)
  compiled = jax.jit(function, out_shardings=shardings, donate_argnums=tuple(range(len(donated))))
  return compiled(*donated)


def shard_rule(shape: Sequence[int], count: int) -> PartitionSpec:
  """Which axis of an array is split over `count` devices: the largest that divides evenly.

  Of a table of tokens that is the other one: each device then looks all tokens up in its columns,
  where otherwise it would have to be sent the rows that others hold.

  Args:
    shape: of the array.
    count: devices to split it over.

  Returns:
    The spec; of small arrays and of those that no axis divides, that of a replica.
  """
  if count == 1 or np.prod(shape, dtype=np.int64) < MIN_SHARDED_SIZE:
    return PartitionSpec()
  axes = [axis for axis, size in enumerate(shape) if size % count == 0]
  if not axes:
    return PartitionSpec()
  largest = max(axes, key=lambda axis: (shape[axis] < TABLE_ROWS, shape[axis]))
  return PartitionSpec(*('fsdp' if axis == largest else None for axis in range(len(shape))))


def beside(tree: Any, like: Any) -> Any:
  """A tree with a whole copy on every device of another one, where a program takes both.

  What the program returns of it lies there too. So it is compiled once, not again for its results.

  Args:
    tree: of arrays, whole on one device.
    like: of arrays that `Layout.fetch` returned; others leave the tree where it is.
  """
  placed = getattr(next(iter(jax.tree.leaves(like)), None), 'sharding', None)
  if not isinstance(placed, NamedSharding):
    return tree
  return jax.device_put(tree, NamedSharding(placed.mesh, PartitionSpec()))


def make_layout(
  mode: str, fsdp: int | None = None, devices: Sequence[jax.Device] | None = None
) -> Layout:
  """The layout that `parallel.mode` names, 'pmap' or 'fsdp', over all devices or those given."""
  if mode == 'pmap':
    return Pmap(devices)
  if mode == 'fsdp':
    return Fsdp(fsdp, devices)
  raise ValueError(f"parallel.mode is {mode!r}; expected 'pmap' or 'fsdp'.")


def _check_divisible(
  size: int, count: int, what: str = 'rows of a batch', over: str = 'the number of devices'
) -> None:
  if size % count:
    raise ValueError(
      f'{size} {what} do not divide by {over} ({count}); choose a multiple of {count}.'
    )
