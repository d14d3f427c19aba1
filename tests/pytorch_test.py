"""π0.5 in PyTorch: the bits go out and come in, and a file of something else is told what it is."""

import json
import os
import pathlib
import struct

from flax import traverse_util
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import robot

from aloe_jax.pretrained import openpi
from aloe_jax.pretrained import pytorch
from aloe_jax.pretrained import pytorch_names
from aloe_jax.pretrained import safetensors_file
from aloe_jax.run import experiment
from aloe_jax.run import starting_point

GOLDEN = pathlib.Path(__file__).parent / 'golden'
NORM = 'paligemma_with_expert.paligemma.model.language_model.layers.1.input_layernorm.weight'


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN / 'pi05_case_a.npz') as file:
    paths = [key for key in file.files if key.startswith('params/')]
    return {path.removeprefix('params/'): file[path] for path in paths}


@pytest.fixture
def directory(golden, tmp_path):
  """An export to PyTorch, to break."""
  pytorch.write(tmp_path, nested(golden))
  return tmp_path


def flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


def nested(leaves):
  return traverse_util.unflatten_dict(leaves, sep='/')


def like(leaves, dtype=None, sharding=None):
  return nested(
    {
      path: jax.ShapeDtypeStruct(x.shape, dtype or x.dtype, sharding=sharding)
      for path, x in leaves.items()
    }
  )


def read(directory):
  """{name: array} of a file, by the description of its format."""
  content = (directory / 'model.safetensors').read_bytes()
  (length,) = struct.unpack('<Q', content[:8])
  header = json.loads(content[8 : 8 + length])
  types = {'F32': np.float32, 'BF16': ml_dtypes.bfloat16}
  assert header.pop('__metadata__')['format'] == 'pt'
  found, ends = {}, [0]
  for name, entry in header.items():
    start, end = entry['data_offsets']
    assert start == ends[-1] and start % np.dtype(types[entry['dtype']]).itemsize == 0
    ends.append(end)
    numbers = np.frombuffer(content[8 + length :][start:end], types[entry['dtype']])
    found[name] = numbers.reshape(entry['shape'])
  assert len(content) == 8 + length + ends[-1] and (8 + length) % 8 == 0
  return found


def rewrite(directory, change, kept=None):
  """Another file of what `change` makes of the tensors of one."""
  tensors = change(dict(read(directory)))
  shapes = {name: (x.shape, x.dtype) for name, x in tensors.items()}
  path = directory / 'model.safetensors'
  safetensors_file.write(path, shapes, tensors.items(), kept or {})


def assert_same(found, wanted):
  assert sorted(found) == sorted(wanted)
  for path, x in wanted.items():
    assert found[path].dtype == x.dtype, path
    np.testing.assert_array_equal(found[path], x, err_msg=path)


def test_every_bit_comes_back_to_the_host_and_to_a_device(golden, directory):
  assert_same(flat(openpi.restore(directory, openpi.shapes(directory))), golden)
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  found = flat(openpi.restore(directory, like(golden, sharding=place)))
  assert all(isinstance(x, jax.Array) for x in found.values())
  assert_same(found, golden)
  halved = flat(openpi.restore(directory, like(golden, jnp.bfloat16)))
  assert_same(halved, {path: x.astype(jnp.bfloat16) for path, x in golden.items()})


def test_types_are_kept_and_every_number_lies_at_a_multiple_of_its_size(golden, tmp_path):
  odd = golden | {'time_mlp_in/bias': golden['time_mlp_in/bias'].astype(ml_dtypes.bfloat16)}
  pytorch.write(tmp_path, nested(odd))
  assert read(tmp_path)['time_mlp_in.bias'].dtype == ml_dtypes.bfloat16
  assert_same(flat(openpi.restore(tmp_path, openpi.shapes(tmp_path))), odd)


def test_the_file_holds_one_embedding_and_zeros_for_what_is_never_read(golden, directory):
  found = read(directory)
  table = golden['PaliGemma/llm/embedder/input_embedding']
  np.testing.assert_array_equal(found[pytorch_names.EMBEDDING], table)
  assert pytorch_names.ALIAS not in found
  unused = found[pytorch_names.UNUSED]
  assert unused.shape == (1024, 48) and not unused.any()
  assert sum(x.size for x in found.values()) - unused.size == sum(x.size for x in golden.values())


@pytest.mark.parametrize('alias', [False, True])
def test_lerobots_names_and_either_name_of_the_embedding_are_read(alias, golden, directory):
  def change(tensors):
    if alias:
      tensors[pytorch_names.ALIAS] = tensors.pop(pytorch_names.EMBEDDING)
    tensors.pop(pytorch_names.UNUSED)
    return {f'model.{name}': x for name, x in tensors.items()}

  rewrite(directory, change)
  # Nothing in such a file tells the heads of the tower: the model wanted does.
  assert_same(flat(openpi.restore(directory, like(golden))), golden)


def test_without_a_word_on_heads_they_are_as_published(directory):
  rewrite(directory, lambda tensors: tensors)
  found = flat(openpi.shapes(directory))
  attention = 'PaliGemma/img/Transformer/encoderblock/MultiHeadDotProductAttention_0'
  assert found[f'{attention}/query/kernel'].shape == (2, 32, 16, 2)
  assert found['PaliGemma/llm/layers/attn/q_einsum/w'].shape == (3, 4, 64, 16)


def test_the_header_tells_a_model_that_wants_other_heads_of_the_same_width(directory, golden):
  attention = 'PaliGemma/img/Transformer/encoderblock/MultiHeadDotProductAttention_0'
  wanted = dict(golden)
  for name in ('query', 'key', 'value'):
    wanted[f'{attention}/{name}/kernel'] = np.zeros((2, 32, 8, 4), np.float32)
  with pytest.raises(ValueError, match=r'query/kernel: found \[2, 32, 4, 8\], expected \[2, 32, 8'):
    openpi.restore(directory, like(wanted))


@pytest.mark.parametrize('key', ['vision_heads', 'key_value_heads'])
@pytest.mark.parametrize('heads', ['abc', '0', '-1', '1e3', ''])
def test_a_header_whose_heads_are_no_number_is_named(key, heads, directory):
  rewrite(directory, lambda tensors: tensors, {'format': 'pt', key: heads})
  with pytest.raises(ValueError, match=f'model.safetensors: {key} in the header is {heads!r}, exp'):
    openpi.shapes(directory)


def test_weights_that_are_not_finite_are_refused_by_name(directory, golden):
  def spoil(tensors):
    tensors[NORM] = tensors[NORM].copy()
    tensors[NORM][0] = np.nan
    return tensors

  rewrite(directory, spoil)
  with pytest.raises(ValueError, match=f'{NORM} holds NaN or infinity'):
    openpi.restore(directory, like(golden))


def half_of_the_values(tensors):
  name = 'paligemma_with_expert.gemma_expert.model.layers.{}.self_attn.v_proj.weight'
  return tensors | {name.format(i): np.zeros((8, 48), np.float32) for i in range(3)}


def both_embeddings(tensors):
  return tensors | {pytorch_names.ALIAS: tensors[pytorch_names.EMBEDDING] + 1}


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda t: {n: x for n, x in t.items() if n != NORM}, f'{NORM}: missing'),
    (lambda t: t | {NORM: np.zeros(63, np.float32)}, r'found \[63\], expected \[64\] as in'),
    (lambda t: t | {NORM: np.zeros((8, 8), np.float32)}, r'found \[8, 8\], expected \[64\] as in'),
    (lambda t: t | {'more.weight': np.zeros(3, np.float32)}, r'more.weight: unexpected, found \[3'),
    (
      lambda t: t | {'a.lora_A.weight': np.zeros(3, np.float32)},
      'holds 1 tensors of LoRA, such as',
    ),
    (
      lambda t: t | {'state_proj.bias': np.zeros(3, np.float32)},
      'is a π0 checkpoint, expected π0.5',
    ),
    (
      lambda _: {'lm_head.weight': np.zeros(3, np.float32)},
      'of another model: its tensors are lm_h',
    ),
    (lambda _: {}, 'is of another model: its tensors are none'),
    (half_of_the_values, r'v_proj.weight: found \[8, 48\], which does not fit what lies beside it'),
    (both_embeddings, 'differ, expected one embedding'),
  ],
)
def test_a_file_that_is_no_pi05_is_told_what_it_is(change, message, directory, golden):
  rewrite(directory, change)
  with pytest.raises(ValueError, match=message):
    openpi.restore(directory, like(golden))


@pytest.mark.parametrize('size', [0, 5, 300, -1])
def test_a_file_that_was_cut_short_says_so(size, directory):
  path = directory / 'model.safetensors'
  os.truncate(path, size if size >= 0 else path.stat().st_size + size)
  with pytest.raises(ValueError, match='cut short|no header of safetensors') as error:
    openpi.shapes(directory)
  assert 'copy' in str(error.value) and len(str(error.value).splitlines()) == 1


def test_weights_that_share_their_bytes_are_refused_by_name(directory, golden):
  path = directory / 'model.safetensors'
  content = path.read_bytes()
  length = int.from_bytes(content[:8], 'little')
  header = json.loads(content[8 : 8 + length])
  first, second = [name for name in header if name.endswith('mlp.gate_proj.weight')][:2]
  header[second]['data_offsets'] = header[first]['data_offsets']
  header[second]['shape'] = header[first]['shape']
  text = json.dumps(header).encode().ljust(length)
  path.write_bytes(content[:8] + text + content[8 + length :])
  with pytest.raises(ValueError, match='share bytes, as data_offsets say') as error:
    openpi.restore(directory, like(golden))
  assert first in str(error.value) and second in str(error.value)


def test_numbers_of_a_type_without_fractions_are_refused(directory):
  path = directory / 'model.safetensors'
  path.write_bytes(path.read_bytes().replace(b'"dtype": "F32"', b'"dtype": "I32"', 1))
  with pytest.raises(ValueError, match='found numbers of type I32, expected one of F64, F32, F16'):
    openpi.shapes(directory)


def test_a_policy_of_lerobot_of_another_type_is_refused(directory):
  (directory / 'config.json').write_text('{"type": "smolvla"}')
  with pytest.raises(ValueError, match="found a policy of type 'smolvla', expected 'pi05'"):
    openpi.shapes(directory)


def test_a_model_of_another_size_is_told_all_differences(directory, golden):
  wanted = flat(like(golden)) | {'action_in_proj/kernel': jax.ShapeDtypeStruct((14, 48), 'f4')}
  with pytest.raises(ValueError) as error:
    openpi.restore(directory, nested(wanted))
  assert str(error.value).splitlines()[1:] == [
    '  action_in_proj/kernel: found [32, 48], expected [14, 48]'
  ]


def test_parameters_with_adapters_or_holes_are_not_written(golden, tmp_path):
  adapters = golden | {'PaliGemma/llm/layers/attn/q_einsum/lora_a': np.zeros((3, 4, 64, 2))}
  with pytest.raises(ValueError, match='q_einsum/lora_a: unexpected, merge it first'):
    pytorch.write(tmp_path, nested(adapters))
  del adapters['PaliGemma/llm/layers/attn/q_einsum/lora_a'], adapters['time_mlp_in/bias']
  with pytest.raises(ValueError, match='time_mlp_in/bias: missing'):
    pytorch.write(tmp_path, nested(adapters))
  assert not list(tmp_path.iterdir())


def test_the_path_of_the_file_itself_is_refused(directory):
  with pytest.raises(ValueError, match='model.safetensors is a file; give the directory'):
    openpi.shapes(directory / 'model.safetensors')


def test_a_run_starts_from_it_as_from_openpis_own(tmp_path):
  params = robot.make_params(robot.make_config())
  pytorch.write(tmp_path, params)
  described = experiment.Experiment(robot.make_config(actor__checkpoint=str(tmp_path)))
  start = starting_point.find(str(tmp_path))
  starting_point.check(start, described)
  found = starting_point.actor_params(start, described)['params']
  jax.tree.map(np.testing.assert_array_equal, found, params)


def test_adapters_may_be_absent(golden, directory):
  wanted = flat(like(golden)) | {
    'PaliGemma/llm/layers/attn/q_einsum/lora_a': jax.ShapeDtypeStruct((3, 4, 64, 2), 'f4')
  }
  with pytest.raises(ValueError, match='lora_a: missing'):
    openpi.restore(directory, nested(wanted))
  assert_same(flat(openpi.restore(directory, nested(wanted), may_miss=['.*lora_a'])), golden)
