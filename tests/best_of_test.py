"""Best-of-N takes what brute force over chunks and critics takes, and acts in the robot's units."""

import pathlib

import jax
import numpy as np
import pytest
import tiny

from aloe_jax import best_of
from aloe_jax import types
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.preprocessing import images as images_lib
from aloe_jax.preprocessing import inputs
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import big_vision
from aloe_jax.run import experiment
from experiments import laundry

pytestmark = pytest.mark.usefixtures('quick_compilation')

GOLDEN = pathlib.Path(__file__).parent / 'golden'
BATCH, SAMPLES = 6, 5
ENCODER, TOWER = tiny.make_encoder(width=16)

pick = jax.jit(lambda chooser, observation, chunks: chooser.pick(observation, chunks))
act = jax.jit(lambda policy, sight, key: policy.act(sight, key))


def make_chooser(samples=SAMPLES, encoder=None, params=None, pessimism='min'):
  width = tiny.FEATURE if encoder is None else encoder.width
  chunk = np.zeros((1, tiny.HORIZON, tiny.ACTION), np.float32)
  example = np.zeros((1, 3, width), np.float32), np.zeros((1, types.PROPRIO_SIZE), np.float32)
  valid = np.ones(chunk.shape[:2], bool)
  return best_of.Chooser(
    params=tiny.make_params(tiny.DenseCritic(), *example, chunk, valid, seed=4),
    encoder_params=params,
    critic=tiny.DenseCritic(),
    encoder=encoder,
    samples=samples,
    reads_prompt=False,
    pessimism=pessimism,
  )


def values(chooser, features, proprio, chunks):
  """Q of one chunk after the other, [K, B, N]."""
  batch, samples = chunks.shape[:2]
  valid = np.ones((1, tiny.HORIZON), bool)
  q = np.zeros((2, batch, samples))
  value = jax.jit(chooser.critic.apply)
  for b in range(batch):
    for n in range(samples):
      chunk = chunks[b, n][None]
      q[:, b, n] = value(chooser.params, features[b][None], proprio[b][None], chunk, valid)[:, 0]
  return q


def assert_best(found, q, chunks, pessimism='min'):
  """`found` [B, h, A] are the chunks of the highest minimum, or mean, and no other rule's."""
  rules = {'min': q.min(axis=0), 'mean': q.mean(axis=0)}
  best = rules.pop(pessimism).argmax(axis=1)
  for other in (*rules.values(), q[0], q[1], -q.min(axis=0)):
    assert (other.argmax(axis=1) != best).any()
  np.testing.assert_array_equal(found, chunks[np.arange(len(best)), best])


def make_chunks(rng):
  return 2 * tiny.normal(rng, BATCH, SAMPLES, tiny.HORIZON, tiny.ACTION)


@pytest.mark.parametrize('pessimism', ['min', 'mean'])
def test_the_chunk_of_the_highest_value_is_picked_as_pessimistically_as_asked_for(pessimism):
  rng = np.random.default_rng(0)
  observation, chunks = tiny.make_observation(rng, BATCH), make_chunks(rng)
  chooser = make_chooser(pessimism=pessimism)
  q = values(chooser, observation.features, observation.proprio, chunks)
  assert_best(pick(chooser, observation, chunks), q, chunks, pessimism)


@pytest.mark.parametrize('pessimism', ['min', 'mean'])
def test_the_policy_of_a_config_chooses_as_its_weights_are_made(pessimism):
  config = laundry.get_config('sim_debug')
  config.update_from_flattened_dict({'actor.best_of': 2, 'critic.pessimism': pessimism})
  built = experiment.Experiment(config)
  policy = built.policy({}, built.inputs(None), {}, {})
  assert policy.chooser.pessimism == built.learner(1.0).settings.pessimism == pessimism


def test_without_features_the_critic_judges_by_the_images_of_the_cameras_that_are_there():
  rng = np.random.default_rng(1)
  images = {name: rng.integers(0, 256, (BATCH, 8, 8, 3), np.uint8) for name in types.CAMERAS}
  masks = {name: np.arange(BATCH) % 3 != missing for missing, name in enumerate(types.CAMERAS)}
  seen = tiny.make_observation(rng, BATCH)
  seen = seen.replace(features=None, images=images, image_masks=masks)
  chooser, chunks = make_chooser(encoder=ENCODER, params=TOWER), make_chunks(rng)
  encode = jax.jit(ENCODER.apply)
  encoded = np.stack(
    [encode(chooser.encoder_params, images[name]) for name in types.CAMERAS], axis=1
  )
  features = encoded.copy()
  features[np.arange(BATCH), np.arange(BATCH) % 3] = 0
  q = values(chooser, features, seen.proprio, chunks)
  assert_best(pick(chooser, seen, chunks), q, chunks)
  unmasked = values(chooser, encoded, seen.proprio, chunks)
  assert (unmasked.min(axis=0).argmax(axis=1) != q.min(axis=0).argmax(axis=1)).any()


def test_an_encoder_of_other_images_than_the_actors_has_them_resized():
  weights = big_vision.load(f'{GOLDEN}/siglip_case_a.npz:img')
  tower = encoder_lib.of_weights(weights)  # of 16 pixels
  rng = np.random.default_rng(1)
  images = {name: rng.integers(0, 256, (BATCH, 8, 8, 3), np.uint8) for name in types.CAMERAS}
  seen = tiny.make_observation(rng, BATCH).replace(features=None, images=images)
  chooser, chunks = make_chooser(encoder=tower, params=weights), make_chunks(rng)
  larger = {name: images_lib.resize_with_pad_on_device(x, 16) for name, x in images.items()}
  encode = jax.jit(lambda shown: encoder_lib.encode_cameras(tower, weights, shown))
  q = values(chooser, encode(larger), seen.proprio, chunks)
  assert_best(pick(chooser, seen, chunks), q, chunks)


STATE = normalize.ZScore(normalize.Stats(np.array([1.0, 2, 3]), np.array([2.0, 4, 8])), 'state')
ACTION = normalize.ZScore(normalize.Stats(np.array([10.0, 20]), np.array([2.0, 5])), 'actions')
ROBOT = inputs.Inputs(tiny.INPUTS.tokenizer, STATE, ACTION, state_size=3, delta=(-1, 1))


def make_sight():
  seen = tiny.make_observation(np.random.default_rng(2), BATCH)
  return types.Sight(np.pad(seen.proprio[:, :3], [(0, 0), (0, 29)]), seen.features)


def test_a_policy_acts_on_the_best_of_its_chunks_in_the_robots_units():
  chooser, sight, key = make_chooser(), make_sight(), jax.random.key(3)
  policy = tiny.make_policy(inputs=ROBOT, chooser=chooser)
  noise = policy.noise(key, np.arange(BATCH), SAMPLES)
  shown = np.zeros_like(sight.state)
  shown[:, :3] = (sight.state[:, :3] - [1, 2, 3]) / [2, 4, 8]
  observation = policy.observation(sight)
  np.testing.assert_allclose(observation.proprio, shown, atol=1e-5)
  chunks = np.asarray(jax.jit(policy.sample)(observation, noise))
  best = values(chooser, sight.features, shown, chunks).min(axis=0).argmax(axis=1)
  assert len(set(best)) > 1
  expected = chunks[np.arange(BATCH), best] * [2, 5] + [10, 20]
  expected[..., 1] += sight.state[:, 1:2]  # relative to the state, the first is not
  np.testing.assert_allclose(act(policy, sight, key), expected, rtol=1e-4, atol=1e-4)


def test_the_best_of_one_is_what_a_policy_without_a_chooser_does():
  sight, key = make_sight(), jax.random.key(3)
  alone, chosen = (
    tiny.make_policy(inputs=ROBOT, chooser=c) for c in (None, make_chooser(samples=1))
  )
  np.testing.assert_allclose(act(chosen, sight, key), act(alone, sight, key), rtol=1e-5)
