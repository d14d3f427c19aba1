"""Checkpoints of openpi: the bits go in and come out, and what is none is refused by name.

The golden directories were written by openpi itself, from a π0.5 of a tiny size with random
numbers: `pi05_case_a_orbax` in the layout of a release, `pi05_case_a_orbax_trainrun/7` by the
save of its training loop. `pi05_case_a.npz` holds the same numbers.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore

from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import openpi

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN = ROOT / 'tests' / 'golden'
RELEASED = GOLDEN / 'pi05_case_a_orbax'
TRAINED = GOLDEN / 'pi05_case_a_orbax_trainrun' / '7'
BOTH = pytest.mark.parametrize('directory', [RELEASED, TRAINED], ids=['released', 'trained'])
STATS = {'state': normalize.Stats(np.float64([1, 2]), np.float64([3, 4]))}
VALUE = 'PaliGemma/img/Transformer/encoderblock/MultiHeadDotProductAttention_0/value/kernel'


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN / 'pi05_case_a.npz') as arrays:
    paths = [key for key in arrays.files if key.startswith('params/')]
    return {path.removeprefix('params/'): arrays[path] for path in paths}


@pytest.fixture
def copy(tmp_path):
  """A copy of the released checkpoint, to break."""
  return pathlib.Path(shutil.copytree(RELEASED, tmp_path / 'pi05'))


def flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


def nested(leaves):
  return traverse_util.unflatten_dict(leaves, sep='/')


def like(directory, dtype=None, sharding=None):
  """What to restore: everything, in another dtype or somewhere else than it is stored."""
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype or leaf.dtype, sharding=sharding),
    openpi.shapes(directory),
  )


def export(directory, leaves, asset='trossen'):
  openpi.export(directory, nested(leaves), stats=STATS, asset=asset)
  return directory


def assert_same(found, wanted):
  assert sorted(found) == sorted(wanted)
  for path, array in wanted.items():
    assert found[path].dtype == array.dtype, path
    np.testing.assert_array_equal(found[path], array, err_msg=path)


@BOTH
def test_the_shapes_and_types_of_all_leaves_are_known_before_any_is_read(directory, golden):
  found = flat(openpi.shapes(directory))
  assert len(found) == 51
  assert {path: (leaf.shape, leaf.dtype) for path, leaf in found.items()} == {
    path: (array.shape, array.dtype) for path, array in golden.items()
  }


@BOTH
def test_every_bit_is_restored_to_the_host(directory, golden):
  found = flat(openpi.restore(directory, like(directory)))
  assert all(isinstance(array, np.ndarray) for array in found.values())
  assert_same(found, golden)


@BOTH
def test_every_bit_is_restored_to_a_device(directory, golden):
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  found = flat(openpi.restore(directory, like(directory, sharding=device)))
  assert all(isinstance(array, jax.Array) for array in found.values())
  assert_same(found, golden)


@pytest.mark.parametrize('on_device', [False, True])
def test_numbers_are_rounded_to_the_type_wanted(on_device, golden):
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0]) if on_device else None
  found = flat(openpi.restore(RELEASED, like(RELEASED, jnp.bfloat16, place)))
  assert_same(found, {path: array.astype(jnp.bfloat16) for path, array in golden.items()})


def test_eight_devices_get_their_shares_and_give_them_back():
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': '8',
    'PYTHONPATH': str(ROOT),
  }
  done = subprocess.run(
    [sys.executable, '-W', 'error', ROOT / 'tests' / 'openpi_check.py'],
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr


def test_a_relative_path_will_do(golden, monkeypatch):
  monkeypatch.chdir(GOLDEN)
  directory = pathlib.Path('pi05_case_a_orbax')
  assert_same(flat(openpi.restore(directory, like(directory))), golden)


def test_leaves_that_may_be_absent_are_left_out(golden):
  wanted = flat(like(RELEASED)) | {'adapter/kernel': jax.ShapeDtypeStruct((2, 3), np.float32)}
  with pytest.raises(ValueError, match=r'adapter/kernel: missing, expected \[2, 3\]'):
    openpi.restore(RELEASED, nested(wanted))
  found = openpi.restore(RELEASED, nested(wanted), may_miss=['adapter/.*'])
  assert_same(flat(found), golden)


def test_a_model_that_the_checkpoint_does_not_fit_is_told_all_differences():
  wanted = flat(like(RELEASED))
  del wanted['time_mlp_in/bias']
  wanted['action_in_proj/kernel'] = jax.ShapeDtypeStruct((14, 48), np.float32)
  with pytest.raises(ValueError) as error:
    openpi.restore(RELEASED, nested(wanted))
  assert str(error.value).splitlines()[1:] == [
    '  action_in_proj/kernel: found [32, 48], expected [14, 48]',
    '  time_mlp_in/bias: unexpected, found [48]',
  ]


@pytest.mark.parametrize(
  'stored, found',
  [
    (['a/value', 'b/value'], ['a', 'b']),  # as a training run writes
    (['a/value', 'b'], ['a/value', 'b']),  # modules that happen to have the name
    (['value/kernel', 'b/value'], ['value/kernel', 'b/value']),
  ],
)
def test_the_ending_value_is_dropped_only_where_all_paths_have_it(stored, found, tmp_path):
  arrays = [np.float32([1, 2]), np.float32([3, 4])]
  directory = export(tmp_path / 'a', dict(zip(stored, arrays, strict=True)))
  assert sorted(flat(openpi.shapes(directory))) == sorted(found)
  assert_same(
    flat(openpi.restore(directory, like(directory))), dict(zip(found, arrays, strict=True))
  )


@BOTH
def test_the_statistics_are_found_by_their_asset(directory):
  assert openpi.assets(directory) == {
    'trossen': directory / 'assets' / 'trossen' / 'norm_stats.json'
  }


def test_an_asset_may_be_a_path_and_there_may_be_many_or_none(tmp_path):
  assert openpi.assets(tmp_path) == {}
  for asset in ('trossen', 'physical-intelligence/libero'):
    normalize.write(tmp_path / 'assets' / asset / 'norm_stats.json', STATS)
  found = openpi.assets(tmp_path)
  assert sorted(found) == ['physical-intelligence/libero', 'trossen']
  np.testing.assert_array_equal(normalize.read(found['trossen'])['state'].mean, [1, 2])


def test_openpi_reads_what_is_exported_bit_for_bit(golden, tmp_path):
  leaves = {
    path: jnp.asarray(array, jnp.bfloat16) if path.startswith('PaliGemma/img') else array
    for path, array in golden.items()
  }
  directory = export(tmp_path / 'runs' / 'exported', leaves)
  item = directory / 'params'
  with ocp.PyTreeCheckpointer() as checkpointer:  # the calls that openpi makes
    stored = checkpointer.metadata(item).item_metadata.tree
    restored = checkpointer.restore(
      item,
      ocp.args.PyTreeRestore(
        item={'params': stored['params']},
        restore_args=jax.tree.map(
          lambda _: ocp.ArrayRestoreArgs(restore_type=np.ndarray), {'params': stored['params']}
        ),
      ),
    )
  assert list(restored) == ['params']
  assert_same(flat(restored['params']), leaves)


def test_what_is_exported_lies_where_a_release_has_it(golden, tmp_path):
  directory = export(tmp_path / 'a', golden, asset='physical-intelligence/libero')
  assert sorted(p.name for p in directory.iterdir()) == ['assets', 'params']
  assert list(openpi.assets(directory)) == ['physical-intelligence/libero']
  stats = normalize.read(openpi.assets(directory)['physical-intelligence/libero'])
  np.testing.assert_array_equal(stats['state'].std, [3, 4])
  names = [
    set(json.loads((d / 'params' / '_METADATA').read_text())['tree_metadata'])
    for d in (RELEASED, directory)
  ]
  assert names[0] == names[1]
  assert_same(flat(openpi.restore(directory, like(directory))), golden)


def test_nothing_is_overwritten(golden, tmp_path):
  directory = export(tmp_path / 'a', {'x': golden['action_in_proj/bias']})
  with pytest.raises(FileExistsError, match='a exists'):
    export(directory, golden)
  assert list(flat(openpi.shapes(directory))) == ['x']


def test_an_export_that_fails_leaves_nothing(golden, tmp_path):
  with pytest.raises(TypeError):
    openpi.export(tmp_path / 'a', nested(golden), stats={'state': None}, asset='trossen')
  assert not list(tmp_path.iterdir())


def test_a_directory_that_is_not_there_is_told_where_releases_are(tmp_path):
  for read in (openpi.shapes, lambda directory: openpi.restore(directory, {})):
    with pytest.raises(FileNotFoundError, match='absent: there is no such directory.*gcloud'):
      read(tmp_path / 'absent')


def test_a_directory_without_a_checkpoint_is_told_what_was_expected(tmp_path):
  (tmp_path / 'model.npz').touch()
  with pytest.raises(ValueError, match=r"expected params/ and assets/ in it, found \['model.npz'"):
    openpi.shapes(tmp_path)


def test_the_newest_step_of_a_training_run_is_named(tmp_path):
  for step in ('9', '10', 'assets'):
    (tmp_path / step / 'params').mkdir(parents=True)
  with pytest.raises(ValueError, match=f'give one, the newest is {tmp_path / "10"}'):
    openpi.shapes(tmp_path)


@pytest.mark.parametrize(
  'path, complaint',
  [
    ('state_proj/kernel', 'is a π0 checkpoint, expected π0.5.*state_proj/kernel'),
    ('PaliGemma/llm/layers/attn/qkv_einsum/w', 'as many key as query heads.*qkv_einsum/w'),
  ],
)
def test_checkpoints_of_other_models_are_refused_by_what_they_hold(
  path, complaint, golden, tmp_path
):
  leaves = {name: golden[name] for name in (VALUE, 'action_in_proj/bias')}
  directory = export(tmp_path / 'a', leaves | {path: np.zeros((1, 2), np.float32)})
  with pytest.raises(ValueError, match=complaint):
    openpi.restore(directory, like(RELEASED))


def test_an_item_of_another_program_is_refused(tmp_path):
  with ocp.PyTreeCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / 'params', {'model': {'x': np.zeros(2)}, 'step': np.zeros(1)})
  with pytest.raises(ValueError, match=r"holds \['model', 'step'\], expected 'params'"):
    openpi.shapes(tmp_path)


@pytest.mark.parametrize('name', ['_METADATA', 'manifest.ocdbt'])
def test_a_missing_index_is_named(name, copy):
  (copy / 'params' / name).unlink()
  with pytest.raises(ValueError, match=f'is not whole: params/{name} is missing'):
    openpi.shapes(copy)


@pytest.mark.parametrize('name', ['_METADATA', 'manifest.ocdbt', '_sharding', 'd/*'])
def test_an_index_that_was_cut_short_says_so(name, copy):
  [file] = (copy / 'params').glob(name)
  os.truncate(file, file.stat().st_size // 2)
  with pytest.raises(ValueError, match='pi05/params was cut short or is damaged'):
    openpi.shapes(copy)


def test_metadata_of_another_checkpoint_is_refused(golden, tmp_path):
  one, other = (export(tmp_path / name, {name: golden['time_mlp_in/kernel']}) for name in 'ab')
  shutil.copy(other / 'params' / '_METADATA', one / 'params')
  with pytest.raises(ValueError, match='a lacks arrays that params/_METADATA names'):
    openpi.shapes(one)


def test_arrays_that_were_cut_short_or_are_missing_are_found_before_any_is_read(copy, golden):
  file = max((copy / 'params').rglob('d/*'), key=lambda file: file.stat().st_size)
  name = str(file.relative_to(copy / 'params'))
  os.truncate(file, 1000)
  with pytest.raises(ValueError, match=f'{name} has 1000 bytes, expected .* or more') as error:
    openpi.shapes(copy)
  end = int(re.search(r'expected (\d+) or', str(error.value))[1])
  shutil.copy(RELEASED / 'params' / name, file)
  os.truncate(file, end - 1)
  with pytest.raises(ValueError, match='pi05/params was cut short or is damaged; copy it again'):
    openpi.shapes(copy)
  shutil.copy(RELEASED / 'params' / name, file)
  os.truncate(file, end)  # what follows is no array
  assert_same(flat(openpi.restore(copy, like(copy))), golden)
  file.unlink()
  with pytest.raises(ValueError, match=f'{name} has 0 bytes, expected {end} or more'):
    openpi.shapes(copy)


def test_a_deep_index_is_searched_to_its_leaves(copy):
  shutil.rmtree(copy / 'params')
  base = {'driver': 'file', 'path': f'{copy}/params/'}
  config = {'max_decoded_node_bytes': 300}
  store = tensorstore.KvStore.open({'driver': 'ocdbt', 'base': base, 'config': config}).result()
  for i in range(40):
    store.write(f'params.{i}', bytes(2000)).result()
  (copy / 'params' / '_METADATA').write_text('{}')
  (first, *_) = sorted((copy / 'params' / 'd').iterdir(), key=lambda file: file.stat().st_mtime_ns)
  first.unlink()
  with pytest.raises(ValueError, match=f'damaged; copy it again. d/{first.name} has 0 bytes'):
    openpi.shapes(copy)


@pytest.mark.parametrize('on_device', [False, True])
def test_an_array_whose_bytes_are_damaged_is_named(on_device, golden, tmp_path):
  # With one array: Orbax drops other reads in flight, and Python warns of these.
  directory = export(tmp_path / 'pi05', {'time_mlp_in/kernel': golden['time_mlp_in/kernel']})
  largest = max((directory / 'params').rglob('d/*'), key=lambda file: file.stat().st_size)
  largest.write_bytes(bytes(largest.stat().st_size))
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0]) if on_device else None
  wanted = like(directory, sharding=place)  # the metadata is whole
  with pytest.raises(ValueError, match='pi05: an array cannot be read.*time_mlp_in.k') as error:
    openpi.restore(directory, wanted)
  assert 'tensorstore_spec' not in str(error.value)
