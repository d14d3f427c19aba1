"""π0.5 agrees with the reference program, number for number, on recorded random weights."""

import functools
import json
import pathlib

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax import defaults
from aloe_jax import losses
from aloe_jax import types
from aloe_jax.models import flow
from aloe_jax.models import grouped_attention
from aloe_jax.models import pi05

GOLDEN = pathlib.Path(__file__).parent / 'golden'
THEIRS = ('base_0_rgb', 'left_wrist_0_rgb', 'right_wrist_0_rgb')
CAMERAS = dict(zip(types.CAMERAS, THEIRS, strict=True))
TOLERANCE = dict(atol=2e-4, rtol=1e-3)


@pytest.fixture(scope='module')
def case():
  with np.load(GOLDEN / 'pi05_case_a.npz') as file:
    return dict(file)


@pytest.fixture(scope='module', autouse=True)
def highest_precision():
  with jax.default_matmul_precision('highest'):
    yield


def make_actor(case, **changes):
  """The actor of the case's sizes, under the names that the reference gives them."""
  config = json.loads(str(case['config_json']))
  names = {'num_heads': 'heads', 'num_kv_heads': 'kv_heads', 'patch_size': 'patch'}
  named = {
    part: {names.get(name, name): x for name, x in config[part].items()}
    for part in ('sig', 'pal', 'exp')
  }
  sizes = dict(
    vision=named['sig'] | {'patch': named['sig']['patch'][0]},
    language=named['pal'],
    expert={name: named['exp'][name] for name in ('width', 'mlp_dim')},
    vocab_size=config['vocab'],
    action_size=config['action_dim'],
    image_size=224,
  )
  return pi05.make(sizes, horizon=config['action_horizon'], **changes)


def make_params(case):
  flat = {name.removeprefix('params/'): x for name, x in case.items() if name.startswith('params/')}
  return {'params': traverse_util.unflatten_dict(flat, sep='/')}


def make_observation(case):
  return types.Observation(
    proprio=case['inputs/state'],
    prompt_tokens=case['inputs/tokenized_prompt'],
    prompt_mask=case['inputs/tokenized_prompt_mask'],
    images={ours: case[f'inputs/image_uint8/{theirs}'] for ours, theirs in CAMERAS.items()},
    image_masks={ours: case[f'inputs/image_mask/{theirs}'] for ours, theirs in CAMERAS.items()},
  )


def apply(case, actor, method, *inputs):
  call = jax.jit(functools.partial(actor.apply, method=method))
  return call(make_params(case), *inputs)


@pytest.fixture(scope='module')
def prefix(case):
  """Output tokens and cache of the prefix."""
  return apply(case, make_actor(case), 'run_prefix', make_observation(case))


def test_the_prefix_is_cameras_then_prompt(case):
  actor, observation = make_actor(case), make_observation(case)
  tokens, valid = apply(case, actor, 'embed_prefix', observation)
  np.testing.assert_allclose(tokens, case['outputs/prefix_tokens'], **TOLERANCE)
  np.testing.assert_array_equal(valid, case['outputs/prefix_mask'])
  for number, camera in enumerate(CAMERAS.values()):
    one = tokens[:, 256 * number : 256 * (number + 1)]
    np.testing.assert_allclose(one, case[f'outputs/image_tokens/{camera}'], **TOLERANCE)
  words = tokens[:, 3 * 256 :]
  np.testing.assert_allclose(words, case['outputs/language_embedding'], **TOLERANCE)


def test_the_prefix_pass_leaves_the_recorded_tokens_and_cache(case, prefix):
  out, cache = prefix
  valid = case['outputs/prefix_mask']
  np.testing.assert_allclose(out[valid], case['outputs/prefix_out'][valid], **TOLERANCE)
  np.testing.assert_allclose(cache.layers.key, case['outputs/kv_cache/k'], **TOLERANCE)
  np.testing.assert_allclose(cache.layers.value, case['outputs/kv_cache/v'], **TOLERANCE)


def test_a_prefix_for_sampling_leaves_the_cache_of_the_whole_pass_bit_for_bit(case, prefix):
  short = apply(case, make_actor(case), 'prefix', make_observation(case))
  jax.tree.map(np.testing.assert_array_equal, short, prefix[1])


def test_action_tokens_and_condition_are_the_recorded_ones(case):
  actor = make_actor(case)
  tokens, condition = apply(case, actor, 'embed_suffix', case['outputs/x_t'], case['inputs/time'])
  np.testing.assert_allclose(tokens, case['outputs/suffix_tokens'], **TOLERANCE)
  np.testing.assert_allclose(condition, case['outputs/adarms_cond'], **TOLERANCE)
  embedded = flow.time_embedding(case['inputs/time'], actor.expert.width)
  np.testing.assert_allclose(embedded, case['outputs/time_sincos'], **TOLERANCE)


def test_the_joint_mask_is_the_recorded_one(case):
  valid = np.concatenate([case['outputs/prefix_mask'], case['outputs/suffix_mask']], axis=1)
  blocks = np.concatenate([case['outputs/prefix_ar_mask'], case['outputs/suffix_ar_mask']])
  mask = grouped_attention.attention_mask(jnp.asarray(valid), jnp.asarray(blocks))
  packed = case['outputs/attn_mask_packed']
  expected = np.unpackbits(packed, axis=-1)[..., : valid.shape[1]].astype(bool)
  np.testing.assert_array_equal(mask, expected)
  np.testing.assert_array_equal(np.cumsum(valid, axis=1) - 1, case['outputs/positions'])


def test_one_joint_pass_of_both_experts_gives_what_prefix_and_suffix_give_apart(case):
  actor, params = make_actor(case), make_params(case)

  @jax.jit
  def joint(params, observation, x, time):
    bound = actor.bind(params)
    tokens, valid = bound.embed_prefix(observation)
    actions, condition = bound.embed_suffix(x, time)
    valid = jnp.concatenate([valid, jnp.ones(actions.shape[:2], bool)], axis=1)
    starts = jnp.arange(valid.shape[1]) == tokens.shape[1]
    mask, positions = grouped_attention.attention_mask(valid, starts), jnp.cumsum(valid, axis=1) - 1
    outputs, _ = bound.PaliGemma.llm((tokens, actions), positions, mask, (None, condition))
    return outputs

  prefix_out, suffix_out = joint(
    params, make_observation(case), case['outputs/x_t'], case['inputs/time']
  )
  valid = case['outputs/prefix_mask']
  np.testing.assert_allclose(prefix_out[valid], case['outputs/prefix_out'][valid], **TOLERANCE)
  np.testing.assert_allclose(suffix_out, case['outputs/suffix_out'], **TOLERANCE)


def error(case, actor, params):
  """[B, h]: openpi's loss before its mean, which padding counts in."""
  x, noise, eta = case['inputs/actions'], case['inputs/noise'], 1 - case['inputs/time']
  noisy = losses.noised_action(x, noise, eta)
  velocity = actor.apply(params, make_observation(case), noisy, case['inputs/time'])
  return jnp.square(noise - x - velocity).mean(axis=2), velocity


def test_velocity_and_loss_are_the_recorded_ones(case):
  actor = make_actor(case)
  found, velocity = jax.jit(functools.partial(error, case, actor))(make_params(case))
  np.testing.assert_allclose(velocity, case['outputs/v_t'], **TOLERANCE)
  np.testing.assert_allclose(found, case['outputs/loss'], **TOLERANCE)
  np.testing.assert_allclose(found.mean(), case['outputs/mean_loss'], **TOLERANCE)


@pytest.mark.parametrize('remat', ['none', 'full', 'dots'])
def test_gradients_are_the_recorded_ones_whatever_is_recomputed(case, remat):
  actor = make_actor(case, remat=remat)

  def loss(params):
    return error(case, actor, params)[0].mean()

  gradients = traverse_util.flatten_dict(
    jax.jit(jax.grad(loss))(make_params(case))['params'], sep='/'
  )
  assert len(gradients) == 51
  for path, gradient in gradients.items():
    norm = np.linalg.norm(gradient)
    np.testing.assert_allclose(
      norm, case[f'outputs/grad_norm/{path}'], rtol=1e-2, atol=1e-7, err_msg=path
    )
  for path in ('time_mlp_in/kernel', 'action_out_proj/kernel'):
    np.testing.assert_allclose(gradients[path], case[f'outputs/grad/{path}'], rtol=1e-2, atol=1e-5)
  total = np.sqrt(sum(np.square(np.linalg.norm(x)) for x in gradients.values()))
  np.testing.assert_allclose(total, case['outputs/global_grad_norm'], rtol=1e-2)


@pytest.mark.parametrize('steps, name', [(10, 'sample_actions'), (1, 'sample_actions_1step')])
def test_samples_are_the_recorded_ones(case, steps, name):
  actor = make_actor(case)
  noise = np.stack([case['inputs/sample_noise'], case['inputs/noise']], axis=1)
  sample = jax.jit(functools.partial(flow.sample_actions, actor, flow_steps=steps))
  found = sample(make_params(case), make_observation(case), noise)
  np.testing.assert_allclose(found[:, 0], case[f'outputs/{name}'], **TOLERANCE)


@pytest.mark.parametrize(
  'name, dtype',
  [('bf16_compute_fp32_params', jnp.float32), ('bf16_compute_bf16_params', jnp.bfloat16)],
)
def test_half_precision_stays_near_the_recorded_one(case, name, dtype):
  actor = make_actor(case, dtype=jnp.bfloat16)
  params = jax.tree.map(lambda x: jnp.asarray(x, dtype), make_params(case))
  found, velocity = jax.jit(functools.partial(error, case, actor))(params)
  # In training the output layer promotes to the parameters' float32; in serving all is half.
  assert velocity.dtype == dtype
  np.testing.assert_allclose(np.float32(velocity), case[f'{name}/v_t'], atol=0.06)
  np.testing.assert_allclose(np.float32(found), case[f'{name}/loss'], atol=0.06)
  observation, noise = make_observation(case), case['inputs/sample_noise'][:, None]
  sampled = jax.jit(functools.partial(flow.sample_actions, actor, flow_steps=10))(
    params, observation, noise
  )
  assert sampled.dtype == jnp.float32
  np.testing.assert_allclose(sampled[:, 0], case[f'{name}/sample_actions'], atol=0.06)


def test_nothing_seen_by_a_masked_camera_or_padded_word_reaches_the_action(case):
  actor, observation = make_actor(case), make_observation(case)
  masks = dict.fromkeys(types.CAMERAS, np.array([True, True])) | {'head': np.array([False, True])}
  observation = observation.replace(image_masks=masks)
  changed = observation.replace(
    images=observation.images | {'head': 255 - observation.images['head']},
    prompt_tokens=np.where(observation.prompt_mask, observation.prompt_tokens, 7),
  )
  x, time = case['outputs/x_t'], case['inputs/time']
  before, after = (apply(case, actor, None, seen, x, time) for seen in (observation, changed))
  np.testing.assert_array_equal(before[0], after[0])
  assert np.abs(before[1] - after[1]).max() > 1e-3


def test_a_missing_camera_is_named(case):
  observation = make_observation(case)
  images = {name: x for name, x in observation.images.items() if name != 'left_wrist'}
  with pytest.raises(ValueError, match="camera 'left_wrist': found nothing, expected .224, 224, 3"):
    apply(case, make_actor(case), 'prefix', observation.replace(images=images))


def test_full_size_has_the_published_tree():
  actor = pi05.make(defaults.PI05, horizon=50)
  example = types.Observation(
    proprio=np.zeros((1, 32), np.float32),
    prompt_tokens=np.zeros((1, 200), np.int32),
    prompt_mask=np.ones((1, 200), bool),
    images=dict.fromkeys(types.CAMERAS, np.zeros((1, 224, 224, 3), np.uint8)),
  )
  inputs = jax.random.key(0), example, np.zeros((1, 50, 32), np.float32), np.ones(1, np.float32)
  shapes = traverse_util.flatten_dict(jax.eval_shape(actor.init, *inputs)['params'], sep='/')
  assert len(shapes) == 51
  assert sum(x.size for x in shapes.values()) == 3_353_433_872
  assert shapes['PaliGemma/llm/layers/attn/kv_einsum_1/w'].shape == (18, 2, 1, 1024, 256)
  assert shapes['PaliGemma/llm/layers/pre_ffw_norm_1/Dense_0/kernel'].shape == (18, 1024, 3072)


def test_samples_share_one_copy_of_the_prefix(case):
  actor, observation = make_actor(case), make_observation(case)
  noise = jax.ShapeDtypeStruct((2, 8, 10, 32), np.float32)
  sample = jax.jit(functools.partial(flow.sample_actions, actor, flow_steps=10))
  text = sample.lower(make_params(case), observation, noise).as_text()
  cached = 'x'.join(map(str, case['outputs/kv_cache/k'].shape[1:]))
  assert f'<3x{cached}xf32>' in text
  assert f'8x{cached}x' not in text and f'<8x3x{cached}x' not in text


def test_the_sizes_of_a_checkpoint_are_read_from_its_shapes(case):
  sizes = pi05.sizes_of(make_params(case)['params'])
  assert pi05.make(sizes, horizon=10) == make_actor(case)
