"""The policy: noise that belongs to a row, and parameters that are only data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from aloe_jax import policy as policy_lib
from aloe_jax import types
from aloe_jax.models import flow
from aloe_jax.models import pi05
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer
from experiments import common

pytestmark = pytest.mark.usefixtures('quick_compilation')

CHUNK = (tiny.HORIZON, tiny.ACTION)


sample = jax.jit(lambda policy, observation, noise: policy.sample(observation, noise))
act = jax.jit(lambda policy, sight, key: policy.act(sight, key))


def make_sight(batch):
  shown = tiny.make_observation(np.random.default_rng(1), batch)
  return types.Sight(shown.proprio, shown.features)


def test_the_noise_of_a_row_does_not_depend_on_its_neighbours():
  key = jax.random.key(0)
  together = flow.chunk_noise(key, np.arange(5), 2, CHUNK)
  np.testing.assert_array_equal(
    flow.chunk_noise(key, np.array([3, 1]), 2, CHUNK), together[np.array([3, 1])]
  )
  assert len(np.unique(together)) == together.size


def test_noise_is_standard_normal():
  noise = flow.chunk_noise(jax.random.key(0), np.arange(2000), 2, CHUNK)
  np.testing.assert_allclose(noise.mean(), 0, atol=0.02)
  np.testing.assert_allclose(noise.std(), 1, atol=0.02)


def test_a_state_gets_the_same_actions_in_any_batch():
  policy = tiny.make_policy()
  observation = tiny.make_observation(np.random.default_rng(1), 4)
  noise = flow.chunk_noise(jax.random.key(0), np.arange(4), 2, CHUNK)
  whole = sample(policy, observation, noise)
  part = sample(policy, jax.tree.map(lambda x: x[2:3], observation), noise[2:3])
  assert whole.shape == (4, 2, *CHUNK)
  np.testing.assert_allclose(whole[2:3], part, atol=1e-5)


def test_acting_takes_the_prompt_of_the_policy_and_one_sample_of_each_rows_noise():
  policy, key = tiny.make_policy(), jax.random.key(5)
  sight = make_sight(3)
  observation = policy.observation(sight)
  tokens, mask = tiny.INPUTS.tokenizer('put it')
  np.testing.assert_array_equal(observation.prompt_tokens, np.tile(tokens, (3, 1)))
  np.testing.assert_array_equal(observation.prompt_mask, np.tile(mask, (3, 1)))
  assert mask.tolist() == [True, True, False]
  noise = flow.chunk_noise(key, np.arange(3), 1, CHUNK)
  np.testing.assert_allclose(
    act(policy, sight, key), sample(policy, observation, noise)[:, 0], atol=1e-6
  )


ROOMY = dataclasses.replace(
  tiny.INPUTS,
  tokenizer=tokenizer.PromptTokenizer(tokenizer.Words(tiny.VOCABULARY), 6, discrete_state=False),
)


@pytest.mark.parametrize('guidance, tag', [(None, types.Tag.NONE), (1.0, types.Tag.POSITIVE)])
def test_a_policy_that_was_taught_tags_acts_on_the_positive_one(guidance, tag):
  policy, key = tiny.make_policy(inputs=ROOMY, guidance=guidance), jax.random.key(5)
  sight = make_sight(3)
  observation = policy.observation(sight, tag)
  words = 'put it' + ' advantage positive' * (tag == types.Tag.POSITIVE)
  expected = ROOMY.tokenizer.vocabulary.encode(words, bos=True)
  tokens, mask = (np.asarray(x) for x in (observation.prompt_tokens, observation.prompt_mask))
  np.testing.assert_array_equal(tokens[mask], expected * 3)
  found = act(policy, sight, key)
  noise = flow.chunk_noise(key, np.arange(3), 1, CHUNK)
  np.testing.assert_allclose(found, sample(policy, observation, noise)[:, 0], atol=1e-6)


def test_a_prompt_that_tells_the_state_is_tagged_after_it():
  encode = tokenizer.PromptTokenizer(tokenizer.Words(1024), 64, discrete_state=True)
  inputs = dataclasses.replace(tiny.INPUTS, tokenizer=encode, state_size=2)
  sight = types.Sight(np.zeros((2, types.PROPRIO_SIZE), np.float32))
  observe = jax.jit(tiny.make_policy(inputs=inputs).observation, static_argnums=1)
  shown = observe(sight, types.Tag.POSITIVE)
  text = 'Task: put it, State: 128 128;\nAdvantage: positive\nAction: '
  expected = encode.vocabulary.encode(text, bos=True)
  tokens, mask = np.asarray(shown.prompt_tokens), np.asarray(shown.prompt_mask)
  np.testing.assert_array_equal(tokens[mask], expected * 2)


def test_guidance_goes_beyond_the_positive_tag_from_no_tag():
  policy, key = tiny.make_policy(inputs=ROOMY, guidance=2.0), jax.random.key(5)
  sight = make_sight(3)
  tagged, untagged = policy.observation(sight, types.Tag.POSITIVE), policy.observation(sight)
  apply = jax.jit(policy.actor.apply)
  x = flow.chunk_noise(key, np.arange(3), 1, CHUNK)[:, 0]
  for time in (np.full(3, 1.0, np.float32), np.full(3, 0.5, np.float32)):
    conditional, free = (apply(policy.params, seen, x, time) for seen in (tagged, untagged))
    assert np.abs(conditional - free).max() > 1e-3
    x = x - (2 * conditional - free) / 2
  np.testing.assert_allclose(act(policy, sight, key), x, atol=1e-5)


def test_new_parameters_give_new_actions_without_another_compilation():
  compilations = act._cache_size()
  actions = [act(tiny.make_policy(seed), make_sight(2), jax.random.key(0)) for seed in (0, 1)]
  assert np.abs(actions[0] - actions[1]).max() > 1e-3
  assert act._cache_size() == compilations + 1


def test_a_small_pi05_acts_as_states_prompts_samples_and_actions_do_one_after_the_other():
  rng, batch, width = np.random.default_rng(0), 3, 14
  low, high = rng.uniform(-3, 0, (2, width)), rng.uniform(1, 4, (2, width))
  state, action = (normalize.Stats(a, b, a, b) for a, b in zip(low, high, strict=True))
  inputs = inputs_lib.Inputs(
    tokenizer=tokenizer.PromptTokenizer(tokenizer.Words(1024), 64, discrete_state=True),
    state=normalize.Quantile(state, 'state'),
    action=normalize.Quantile(action, 'actions'),
    state_size=width,
    delta=(6, -1, 6, -1),
    image_size=28,
  )
  raw = np.zeros((batch, types.PROPRIO_SIZE), np.float32)
  raw[:, :width] = rng.uniform(low[0], high[0], (batch, width))
  images = {name: rng.integers(0, 256, (batch, 28, 28, 3), np.uint8) for name in types.CAMERAS}
  present = {name: np.arange(batch) != view for view, name in enumerate(types.CAMERAS)}
  sight, key = types.Sight(raw, images=images, image_masks=present), jax.random.key(8)

  # By hand, up to the network.
  shown = np.zeros_like(raw)
  shown[:, :width] = (raw[:, :width] - low[0]) / (high[0] - low[0] + 1e-6) * 2 - 1
  bins = np.floor((shown[:, :width] + 1) * 128).astype(int)
  words = [f'Task: put it, State: {" ".join(map(str, row))}' for row in bins]
  encoded = [tokenizer.Words(1024).encode(f'{text};\nAction: ', bos=True) for text in words]
  tokens = np.stack([np.pad(ids, (0, 64 - len(ids))) for ids in encoded])
  assert len(np.unique(tokens, axis=0)) == batch
  expected = types.Observation(shown, tokens, tokens > 0, None, images, present)
  actor = pi05.make(common.PI05_DEBUG, horizon=tiny.HORIZON)
  noise = flow.chunk_noise(key, np.arange(batch), 1, (tiny.HORIZON, 32))
  first = jax.tree.map(lambda x: x[:1], expected)
  params = tiny.make_params(actor, first, noise[:1, 0], np.ones(1, np.float32))
  integrate = jax.jit(flow.sample_actions, static_argnums=(0, 4))
  chunk = integrate(actor, params, expected, noise, 2)[:, 0]

  # And after it.
  span, floor = (high[1] - low[1] + 1e-6)[None, None], low[1][None, None]
  robot = (chunk[..., :width] + 1) / 2 * span + floor
  relative = np.repeat([True, False, True, False], [6, 1, 6, 1])
  robot = robot + relative * raw[:, None, :width]
  policy = tiny.make_policy(params=params, actor=actor, inputs=inputs, action_size=width)
  assert policy.chunk_shape == (tiny.HORIZON, width)
  observation = jax.jit(policy.observation)(sight)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), observation, expected)
  found = act(policy, sight, key)
  assert found.shape == (batch, tiny.HORIZON, width)
  np.testing.assert_allclose(found, robot, rtol=1e-4, atol=1e-4)


def test_the_fingerprint_changes_with_any_number_name_shape_or_type():
  params = {'a': np.float32([1, 2]), 'b': {'c': np.float32([3])}}
  others = [
    {'a': np.float32([1, 2]), 'b': {'c': np.nextafter(np.float32([3]), np.float32(4))}},
    {'a': np.float32([1, 3]), 'b': {'c': np.float32([3])}},
    {'a': np.float32([1, 2]), 'b': {'d': np.float32([3])}},
    {'a': np.float32([[1, 2]]), 'b': {'c': np.float32([3])}},
    {'a': np.float32([1, 2]).view(np.int32), 'b': {'c': np.float32([3])}},
  ]
  fingerprints = {policy_lib.fingerprint(p) for p in [params, *others]}
  assert len(fingerprints) == 6
  assert policy_lib.fingerprint(jax.tree.map(jnp.asarray, params)) in fingerprints
  assert policy_lib.fingerprint(params) == policy_lib.fingerprint(dict(reversed(params.items())))


@pytest.mark.parametrize('index', range(3))
def test_every_leaf_of_a_policy_counts_in_its_fingerprint(index):
  params = tiny.make_policy().params
  leaves, structure = jax.tree.flatten(params)
  leaves[index] = leaves[index] + 1
  assert policy_lib.fingerprint(jax.tree.unflatten(structure, leaves)) != (
    policy_lib.fingerprint(params)
  )
