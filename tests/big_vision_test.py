"""Weights of big_vision: every layout of its files gives the same arrays.

The golden files were written by big_vision's own models at a tiny size, with random numbers:
`siglip_case_a.npz` layer by layer, `paligemma_case_a.npz` with stacked layers, and
`paligemma_case_a.bf16.npz` with the latter's numbers in bfloat16, as NumPy stores them.
"""

import pathlib

from flax import traverse_util
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.pretrained import big_vision

GOLDEN = pathlib.Path(__file__).parent / 'golden'
SIGLIP = GOLDEN / 'siglip_case_a.npz'
PALIGEMMA = GOLDEN / 'paligemma_case_a.npz'
BLOCK = 'Transformer/encoderblock'
KERNEL = 'MlpBlock_0/Dense_0/kernel'


def flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


def stored(path, prefix='params/'):
  with np.load(path) as arrays:
    return {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}


def assert_same(found, wanted):
  assert sorted(found) == sorted(wanted)
  for path, array in wanted.items():
    assert found[path].dtype == array.dtype, path
    np.testing.assert_array_equal(found[path], array, err_msg=path)


def layers_of(count):
  """A tower whose layer i holds the number i."""
  arrays = {f'img/{BLOCK}_{i}/{KERNEL}': np.full((2, 3), i, np.float32) for i in range(count)}
  return arrays | {'img/embedding/bias': np.float32([7])}


def test_a_stacked_file_loads_as_it_is_and_nothing_but_its_weights():
  assert_same(flat(big_vision.load(PALIGEMMA)), stored(PALIGEMMA))


def test_a_file_of_single_layers_loads_stacked():
  found, wanted = flat(big_vision.load(SIGLIP)), stored(SIGLIP)
  for i in range(2):
    np.testing.assert_array_equal(
      found[f'img/{BLOCK}/{KERNEL}'][i], wanted[f'img/{BLOCK}_{i}/{KERNEL}']
    )
  np.testing.assert_array_equal(found['t'], wanted['t'])
  assert not any('encoderblock_' in path for path in found)
  assert len(found) == len(wanted) - 16  # two layers of 16 leaves became one


def test_twelve_layers_are_stacked_by_number_not_by_name(tmp_path):
  np.savez(tmp_path / 'a.npz', **layers_of(12))
  found = flat(big_vision.load(tmp_path / 'a.npz'))
  assert found[f'img/{BLOCK}/{KERNEL}'].shape == (12, 2, 3)
  np.testing.assert_array_equal(found[f'img/{BLOCK}/{KERNEL}'][:, 0, 0], np.arange(12))


def test_a_subtree_loads_alone():
  wanted = {k.removeprefix('llm/'): v for k, v in stored(PALIGEMMA).items() if k.startswith('llm/')}
  assert_same(flat(big_vision.load(f'{PALIGEMMA}:llm')), wanted)
  attention = flat(big_vision.load(f'{PALIGEMMA}:llm/layers/attn'))
  assert sorted(attention) == ['attn_vec_einsum/w', 'kv_einsum/w', 'q_einsum/w']


def test_two_bytes_of_no_type_are_the_bfloat16_that_they_spell():
  found = flat(big_vision.load(GOLDEN / 'paligemma_case_a.bf16.npz'))
  wanted = {path: array.astype(jnp.bfloat16) for path, array in stored(PALIGEMMA).items()}
  assert_same(found, wanted)


@pytest.mark.parametrize('prefix', ['params/', 'opt/target/', ''])
def test_weights_are_found_under_any_prefix_and_the_optimizer_state_is_left(prefix, tmp_path):
  arrays = {f'{prefix}{path}': array for path, array in layers_of(2).items()}
  other = {'opt/0/mu/x': np.zeros(1), 'chrono/step': np.zeros(())}
  np.savez(tmp_path / 'a.npz', **arrays, **other)
  wanted = {
    f'img/{BLOCK}/{KERNEL}': np.stack([np.full((2, 3), i, np.float32) for i in range(2)]),
    'img/embedding/bias': np.float32([7]),
  }
  assert_same(flat(big_vision.load(tmp_path / 'a.npz')), wanted)


@pytest.mark.parametrize(
  'ending, error, complaint',
  [
    ('absent.npz', FileNotFoundError, 'absent.npz: there is no such file'),
    ('a.npz:image', ValueError, "there is no subtree 'image'; there are img, txt"),
    ('a.npz:t', ValueError, "there is no subtree 't'; there are img, txt"),  # one array
    ('a.ckpt', ValueError, "expected a file 'NAME.npz'"),
  ],
)
def test_a_wrong_path_is_answered_with_what_there_is(ending, error, complaint, tmp_path):
  np.savez(tmp_path / 'a.npz', **layers_of(1), **{'txt/bias': np.zeros(1), 't': np.zeros(1)})
  with pytest.raises(error, match=complaint):
    big_vision.load(tmp_path / ending)


@pytest.mark.parametrize('kept', [0, 0.5, 0.99])
def test_a_file_that_was_cut_short_says_so(kept, tmp_path):
  content = SIGLIP.read_bytes()
  (tmp_path / 'a.npz').write_bytes(content[: int(kept * len(content))])
  with pytest.raises(ValueError, match='a.npz is no .npz file, or was cut short'):
    big_vision.load(tmp_path / 'a.npz')


def test_a_file_with_a_changed_byte_says_so(tmp_path):
  content = bytearray(PALIGEMMA.read_bytes())
  content[len(content) // 2] ^= 0xFF
  (tmp_path / 'a.npz').write_bytes(content)
  with pytest.raises(ValueError, match='a.npz is damaged'):
    big_vision.load(tmp_path / 'a.npz')


def test_layers_that_are_missing_are_named(tmp_path):
  arrays = layers_of(12)
  del arrays[f'img/{BLOCK}_3/{KERNEL}'], arrays[f'img/{BLOCK}_10/{KERNEL}']
  np.savez(tmp_path / 'a.npz', **arrays)
  with pytest.raises(ValueError, match=rf'a.npz: img/{BLOCK}: layer 3, 10 of 12 is missing'):
    big_vision.load(tmp_path / 'a.npz')


def test_a_layer_that_lacks_one_of_its_arrays_is_named():
  arrays = layers_of(3) | {f'img/{BLOCK}_{i}/LayerNorm_0/bias': np.zeros(2) for i in range(2)}
  with pytest.raises(ValueError, match=r'layer 2 of 3 is missing \(it has no LayerNorm_0/bias\)'):
    big_vision.stack_layers(traverse_util.unflatten_dict(arrays, sep='/'))


def test_layers_of_different_shapes_are_refused():
  arrays = layers_of(2) | {f'img/{BLOCK}_1/{KERNEL}': np.zeros((2, 4))}
  with pytest.raises(ValueError, match=rf'{KERNEL}: \[\(2, 3\), \(2, 4\)\]'):
    big_vision.stack_layers(traverse_util.unflatten_dict(arrays, sep='/'))


@pytest.mark.parametrize('old, new', [(2, 3), (4, 7), (7, 4), (3, 5)])
def test_positions_are_interpolated_between_corners_that_stay(old, new):
  positions = np.random.default_rng(0).normal(size=(1, old * old, 5)).astype(np.float32)
  grid = positions.reshape(old, old, 5)
  where = np.linspace(0, old - 1, new)
  expected = np.zeros((new, new, 5))
  for i, y in enumerate(where):
    for j, x in enumerate(where):
      top, left = min(int(y), old - 2), min(int(x), old - 2)
      down, right = y - top, x - left
      expected[i, j] = (
        (1 - down) * (1 - right) * grid[top, left]
        + (1 - down) * right * grid[top, left + 1]
        + down * (1 - right) * grid[top + 1, left]
        + down * right * grid[top + 1, left + 1]
      )
  found = big_vision.resample_positions(positions, new * new)
  np.testing.assert_allclose(found, expected.reshape(1, new * new, 5), atol=1e-5)


def test_positions_of_the_same_resolution_keep_their_bits():
  positions = flat(big_vision.load(f'{PALIGEMMA}:img'))['pos_embedding']
  np.testing.assert_array_equal(big_vision.resample_positions(positions, 16), positions)


def test_resampled_positions_keep_their_type():
  positions = np.arange(4).reshape(1, 4, 1).astype(jnp.bfloat16)
  found = big_vision.resample_positions(positions, 9)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_array_equal(
    found[0, :, 0].astype(np.float32), [0, 0.5, 1, 1, 1.5, 2, 2, 2.5, 3]
  )


@pytest.mark.parametrize('old, new', [(16, 15), (15, 16)])
def test_positions_off_a_square_grid_are_refused(old, new):
  with pytest.raises(ValueError, match=f'found {old} positions, expected {new}'):
    big_vision.resample_positions(np.zeros((1, old, 2), np.float32), new)
