"""Run by openpi_test.py: a checkpoint to eight devices and from them."""

import pathlib
import tempfile

from flax import traverse_util
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
import numpy as np

from aloe_jax.parallel import sharding
from aloe_jax.pretrained import openpi

GOLDEN = pathlib.Path(__file__).parent / 'golden'
FSDP = 4


def load_golden():
  with np.load(GOLDEN / 'pi05_case_a.npz') as arrays:
    paths = [key for key in arrays.files if key.startswith('params/')]
    return {path.removeprefix('params/'): arrays[path] for path in paths}


def check_restore(directory, dtype, wanted):
  """Restores to a mesh of 2 x 4 devices and compares each device's share; returns the arrays."""
  mesh = jax.make_mesh((2, FSDP), ('data', 'fsdp'))

  def place(leaf):
    spec = sharding.shard_rule(leaf.shape, FSDP)
    return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=NamedSharding(mesh, spec))

  like = jax.tree.map(place, openpi.shapes(directory))
  restored = openpi.restore(directory, like)
  placed = traverse_util.flatten_dict(like, sep='/')
  found = traverse_util.flatten_dict(restored, sep='/')
  assert sorted(found) == sorted(wanted)
  split = 0
  for path, array in found.items():
    assert array.dtype == dtype, path
    assert array.sharding == placed[path].sharding, path
    for shard in array.addressable_shards:
      np.testing.assert_array_equal(shard.data, wanted[path][shard.index].astype(dtype), path)
    split += array.addressable_shards[0].data.size * FSDP == array.size
  assert split >= 30, f'{split} of {len(found)} arrays are split'
  return restored


if __name__ == '__main__':
  assert len(jax.devices()) == 8
  sharding.MIN_SHARDED_SIZE = 128  # so that a tiny model has something to shard
  golden = load_golden()
  check_restore(GOLDEN / 'pi05_case_a_orbax_trainrun' / '7', jnp.bfloat16, golden)
  params = check_restore(GOLDEN / 'pi05_case_a_orbax', jnp.float32, golden)
  with tempfile.TemporaryDirectory() as directory:
    exported = pathlib.Path(directory) / 'exported'
    openpi.export(exported, params, stats={}, asset='trossen')
    again = traverse_util.flatten_dict(openpi.restore(exported, openpi.shapes(exported)), sep='/')
  assert sorted(again) == sorted(golden)
  for name, value in golden.items():
    np.testing.assert_array_equal(again[name], value, name)
