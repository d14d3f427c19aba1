"""A loaded policy: what the networks say, by hand, and every wrong argument answered by name."""

import pathlib
import subprocess
import sys

import finished_runs
import jax
import numpy as np
import pytest
import robot
import tiny

import aloe_jax
from aloe_jax import types
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.preprocessing import images as images_lib
from aloe_jax.run import checkpoints
from aloe_jax.run import restored

pytestmark = pytest.mark.usefixtures('compiled_once')

ROOT = pathlib.Path(__file__).parents[1]
SIZE = 28  # pixels, of the smallest π0.5
CLOSE = 5e-3  # random networks of this size make 1e-3 of a rounding error
PIXELS = dict(
  actor__kind='small',
  actor__augment=False,
  actor__vocab_size=256,
  data__normalization='none',
  sim__observation='pixels',
  actor__small__tower__channels=(4,),
  sim__image_size=16,
  task__delta=(),
)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run whose newest checkpoint is that of its first critic."""
  path = tmp_path_factory.mktemp('runs') / 'laundry'
  finished_runs.write(path, number=0)
  finished_runs.write(path, number=1)
  return path


@pytest.fixture(scope='module')
def policy(workdir):
  return aloe_jax.load(workdir)


@pytest.fixture(scope='module')
def found(workdir):
  """The same checkpoint as the commands have it, and the experiment."""
  built = finished_runs.experiment.Experiment(robot.make_config())
  return built, restored.restore(built, workdir / 'checkpoints' / '1', critic=True)


def make_images(*batch, rows=SIZE, columns=SIZE, seed=0):
  rng = np.random.default_rng(seed)
  return {
    camera: rng.integers(0, 256, (*batch, rows, columns, 3), np.uint8) for camera in types.CAMERAS
  }


def make_state(*batch):
  return tiny.normal(np.random.default_rng(1), *batch, robot.SIZE)


def make_sight(images, state):
  """Readings of a batch as rollouts show them to a policy."""
  padded = np.pad(state, [(0, 0), (0, types.PROPRIO_SIZE - robot.SIZE)])
  return types.Sight(np.float32(padded), images=images)


def act(policy, sight, seed=0):
  return jax.jit(lambda policy, sight, key: policy.act(sight, key))(
    policy, sight, jax.random.key(seed)
  )


def normalized_state(state):
  """By hand: the statistics of the runs reach from -2 to 2."""
  shown = np.zeros((len(state), types.PROPRIO_SIZE), np.float32)
  shown[:, : robot.SIZE] = (state + 2) / (4 + 1e-6) * 2 - 1
  return shown


def normalized_chunk(chunk, state):
  """By hand: joints are relative to the state, grippers are not."""
  relative = np.repeat([True, False, True, False], [6, 1, 6, 1])
  return np.float32((chunk - relative * state[:, None] + 2) / (4 + 1e-6) * 2 - 1)


def features_of(found, images):
  """By hand: the frozen tower on every camera, rounded as training keeps them."""
  built, checkpoint = found
  encode = jax.jit(lambda params, shown: encoder_lib.encode_cameras(built.encoder, params, shown))
  return np.asarray(encode(checkpoint.encoder, images).astype(jax.numpy.bfloat16))


def q_of(found, images, state, chunk):
  """By hand: Q [K, B] of normalised chunks, in environment steps."""
  built, checkpoint = found
  valid = np.ones(chunk.shape[:2], bool)
  arguments = features_of(found, images), normalized_state(state), chunk, valid
  q = jax.jit(built.critic.apply)(checkpoint.critic, *arguments)
  return np.asarray(q) / built.chunking(finished_runs.FAIL_COST).reward_scale


def test_a_policy_acts_as_it_does_in_rollouts(policy, found):
  images, state = make_images(2), make_state(2)
  chunk = policy.act(images, state)
  assert (chunk.shape, chunk.dtype) == ((2, 8, robot.SIZE), np.float32)
  np.testing.assert_allclose(chunk, act(found[1].policy, make_sight(images, state)), atol=CLOSE)
  other = policy.act(images, state, seed=7)
  np.testing.assert_allclose(other, act(found[1].policy, make_sight(images, state), 7), atol=CLOSE)
  assert np.abs(other - chunk).max() > 0.1
  np.testing.assert_array_equal(policy.act(images, state), chunk)


def test_one_reading_is_the_first_of_a_batch_without_its_axis(policy):
  images, state = make_images(2), make_state(2)
  first = {camera: image[0] for camera, image in images.items()}
  chunks = policy.act(images, state)
  chunk = policy.act(first, state[0])
  assert chunk.shape == (8, robot.SIZE)
  np.testing.assert_allclose(chunk, chunks[0], atol=CLOSE)
  together = policy.q(images, state, chunks), policy.v(images, state)
  alone = policy.q(first, state[0], chunks[0]), policy.v(first, state[0])
  for many, one in zip(together, alone, strict=True):
    assert (np.shape(many), np.shape(one)) == ((2,), ())
    np.testing.assert_allclose(one, many[0], rtol=1e-4)
  members = policy.q(first, state[0], chunks[0], ensemble=True)
  assert members.shape == (2,)
  assert members.min() == alone[0]


def test_images_of_any_size_are_fitted_as_those_of_training_are(policy):
  images, state = make_images(2, rows=45, columns=60), make_state(2)
  fitted = {
    camera: np.stack([images_lib.resize_with_pad(image, SIZE) for image in given])
    for camera, given in images.items()
  }
  chunk = policy.act(fitted, state)
  np.testing.assert_array_equal(policy.act(images, state), chunk)
  np.testing.assert_array_equal(policy.v(images, state), policy.v(fitted, state))
  mixed = images | {'head': fitted['head']}
  np.testing.assert_array_equal(policy.q(mixed, state, chunk), policy.q(fitted, state, chunk))


def test_q_is_the_lower_bound_of_the_critic_on_the_normalised_chunk(policy, found):
  images, state = make_images(2), make_state(2)
  chunk = state[:, None] + 0.5 * tiny.normal(np.random.default_rng(2), 2, 8, robot.SIZE)
  expected = q_of(found, images, state, normalized_chunk(chunk, state))
  np.testing.assert_allclose(
    policy.q(images, state, chunk, ensemble=True), expected.T, rtol=1e-3, atol=1e-2
  )
  np.testing.assert_allclose(
    policy.q(images, state, chunk), expected.min(axis=0), rtol=1e-3, atol=1e-2
  )


def test_v_is_the_mean_of_q_over_samples_of_the_policy(policy, found):
  images, state = make_images(2), make_state(2)
  checkpoint, samples = found[1].policy, 2  # M of the config
  sight = make_sight(images, state)
  noise = checkpoint.noise(jax.random.key(5), np.arange(2), samples)
  draw = jax.jit(lambda policy, sight, noise: policy.sample(policy.observation(sight), noise))
  chunks = np.asarray(draw(checkpoint, sight, noise))
  lower = [q_of(found, images, state, chunks[:, m]).min(axis=0) for m in range(samples)]
  assert np.abs(lower[0] - lower[1]).max() > 0.1
  found_v = policy.v(images, state, seed=5)
  np.testing.assert_allclose(found_v, np.mean(lower, axis=0), rtol=3e-4)
  robots = [checkpoint.inputs.undo_chunk(chunks[:, m], sight.state) for m in range(samples)]
  asked = [policy.q(images, state, chunk) for chunk in robots]
  np.testing.assert_allclose(found_v, np.mean(asked, axis=0), rtol=3e-4)


def test_another_prompt_is_told_as_the_runs_own_is_and_compiles_nothing(policy, found):
  images, state = make_images(2), make_state(2)
  program, _ = policy.program(images, state)
  chunk = policy.act(images, state)
  compiled = program._cache_size()
  other = policy.act(images, state, 'Open the drawer')
  expected = act(found[1].policy.replace(prompt='Open the drawer'), make_sight(images, state))
  np.testing.assert_allclose(other, expected, atol=CLOSE)
  assert np.abs(other - chunk).max() > 1e-3
  np.testing.assert_array_equal(policy.act(images, state, policy.metadata.prompt), chunk)
  policy.act(make_images(2, rows=33, columns=44), state, seed=3)
  assert program._cache_size() == compiled
  policy.act(make_images(3), make_state(3))
  assert program._cache_size() == compiled + 1


def test_the_best_of_several_chunks_is_acted_on_where_the_run_says_so(tmp_path):
  built = finished_runs.write(tmp_path, actor__best_of=4)
  checkpoint = restored.restore(built, tmp_path / 'checkpoints' / '1')
  images, state = make_images(2), make_state(2)
  policy = aloe_jax.load(tmp_path)
  assert policy.metadata.best_of == 4
  chunk = policy.act(images, state)
  np.testing.assert_allclose(chunk, act(checkpoint.policy, make_sight(images, state)), atol=CLOSE)
  alone = act(checkpoint.policy.replace(chooser=None), make_sight(images, state))
  assert np.abs(chunk - alone).max() > 0.1


def test_an_actor_of_encoded_images_acts_on_what_the_encoder_makes_of_them(tmp_path):
  built = finished_runs.write(tmp_path, **PIXELS)
  checkpoint = restored.restore(built, tmp_path / 'checkpoints' / '1')
  images, state = make_images(2, rows=32, columns=32), make_state(2)
  fitted = {
    camera: np.stack([images_lib.resize_with_pad(image, 16) for image in given])
    for camera, given in images.items()
  }
  encode = jax.jit(
    lambda shown: encoder_lib.encode_cameras(built.encoder, checkpoint.encoder, shown)
  )
  sight = make_sight(None, state).replace(features=encode(fitted))
  policy = aloe_jax.load(tmp_path)
  np.testing.assert_allclose(policy.act(images, state), act(checkpoint.policy, sight), atol=CLOSE)
  assert np.isfinite(policy.v(images, state)).all()


def test_a_critic_of_states_has_v_and_no_q(tmp_path):
  built = finished_runs.write(tmp_path, agent='awr')
  policy = aloe_jax.load(tmp_path)
  images, state = make_images(2), make_state(2)
  checkpoint = restored.restore(built, tmp_path / 'checkpoints' / '1', critic=True)
  arguments = features_of((built, checkpoint), images), normalized_state(state)
  logits = np.asarray(jax.jit(built.critic.apply)(checkpoint.critic, *arguments))
  share = np.exp(logits - logits.max(axis=1, keepdims=True))
  value = (share / share.sum(axis=1, keepdims=True)) @ np.linspace(-1, 0, logits.shape[1])
  scale = built.chunking(finished_runs.FAIL_COST).reward_scale
  np.testing.assert_allclose(policy.v(images, state), value / scale, rtol=1e-3)
  np.testing.assert_array_equal(policy.v(images, state, seed=1), policy.v(images, state))
  with pytest.raises(ValueError, match="q: .*trained by 'awr', which has a critic of states alone"):
    policy.q(images, state, policy.act(images, state))


def test_imitation_acts_and_has_no_values(tmp_path):
  finished_runs.write(tmp_path, number=2, agent='bc')
  policy = aloe_jax.load(tmp_path)
  images, state = make_images(), make_state()
  assert policy.metadata.critic is None
  chunk = policy.act(images, state)
  for ask in (lambda: policy.q(images, state, chunk), lambda: policy.v(images, state)):
    with pytest.raises(ValueError, match="trained by 'bc', which has no critic"):
      ask()


def test_a_critic_that_has_learnt_nothing_is_not_asked(workdir):
  policy = aloe_jax.load(workdir / 'checkpoints' / '0')
  assert policy.metadata.critic is None
  with pytest.raises(ValueError, match='had learnt nothing when it was saved'):
    policy.v(make_images(), make_state())


def test_metadata_tell_all_that_a_robots_program_needs(policy, workdir):
  told = policy.metadata
  assert told.path == str(workdir / 'checkpoints' / '1')
  assert (told.agent, told.phase, told.iteration, told.step) == ('aloe', 'critic', 1, 41)
  assert (told.cameras, told.image_size) == (types.CAMERAS, SIZE)
  assert (told.state_size, told.action_size) == (14, 14)
  assert (told.horizon, told.execute, told.control_hz) == (8, 2, 30.0)
  assert told.prompt == 'Fold the t-shirt'
  assert (told.normalization, told.best_of, told.critic) == ('quantile', 1, 'action')


def test_cameras_that_a_robot_lacks_are_told_to_be_missing(tmp_path):
  built = finished_runs.write(tmp_path, task__cameras=('head', 'left_wrist'))
  checkpoint = restored.restore(built, tmp_path / 'checkpoints' / '1')
  images, state = make_images(2), make_state(2)
  policy = aloe_jax.load(tmp_path)
  del images['right_wrist']
  blank = images | {'right_wrist': np.zeros_like(images['head'])}
  masks = {camera: np.full(2, camera in images) for camera in types.CAMERAS}
  sight = make_sight(blank, state).replace(image_masks=masks)
  np.testing.assert_allclose(policy.act(images, state), act(checkpoint.policy, sight), atol=CLOSE)
  with pytest.raises(ValueError, match="found a camera 'right_wrist', expected 'head', 'left_wris"):
    policy.act(blank, state)


IMAGES, STATE = make_images(), make_state()


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(images=[IMAGES['head']]), "images: found list, expected {camera: image} of 'head', "),
    (dict(images={'head': IMAGES['head']}), "images: found no camera 'left_wrist' among 'head', "),
    (dict(images=IMAGES | {'top': IMAGES['head']}), "images: found a camera 'top', expected"),
    (
      dict(images=IMAGES | {'head': np.float32(IMAGES['head'])}),
      r"images\['head'\]: found float32 \[28, 28, 3\], expected uint8 \[H, W, 3\] .* grey levels",
    ),
    (
      dict(images=IMAGES | {'head': np.zeros((3, 20, 30), np.uint8)}),
      r"images\['head'\]: found uint8 \[3, 20, 30\].*channels come first",
    ),
    (
      dict(images=make_images(2)),
      r"images\['head'\]: found uint8 \[2, 28, 28, 3\], expected uint8 ",
    ),
    (dict(state=make_state(2)), r"images\['head'\]: .*, expected uint8 \[2, H, W, 3\] beside this"),
    (dict(state=STATE[:13]), r'state: found float32 \[13\], expected numbers \[14\], or \[B, 14\]'),
    (dict(state=np.zeros(32)), r'state: found float64 \[32\], expected numbers \[14\]'),
    (dict(state=np.full(14, np.nan)), r'state: found nan at \[0\], expected finite numbers'),
    (dict(state=['a'] * 14), 'state: found <U1'),
    (dict(state=[[1.0], [1.0, 2.0]]), 'state: found object'),
    (dict(state=np.zeros((0, 14)), images=make_images(0)), 'state: found a batch of none'),
    (dict(prompt=3), 'prompt: found int, expected a text'),
    (dict(prompt='fold it ' * 40), 'tokens, more than the 64 that config.actor.prompt_length'),
    (dict(seed=-1), 'seed: found -1, expected 0 to 4294967295'),
  ],
)
def test_what_does_not_fit_is_refused_by_name(policy, changes, message):
  with pytest.raises(ValueError, match=message):
    policy.act(**(dict(images=IMAGES, state=STATE) | changes))


@pytest.mark.parametrize(
  'chunk, message',
  [
    (np.zeros((7, 14)), r'chunk: found float64 \[7, 14\], expected numbers \[8, 14\], or'),
    (np.zeros((2, 8, 14)), r'chunk: found \[2, 8, 14\], expected \[8, 14\] beside this state'),
    (np.full((8, 14), np.inf), r'chunk: found inf at \[0, 0\]'),
  ],
)
def test_a_chunk_that_does_not_fit_is_refused_by_name(policy, chunk, message):
  with pytest.raises(ValueError, match=message):
    policy.q(IMAGES, STATE, chunk)


def test_a_run_or_one_checkpoint_may_be_named(workdir, policy, monkeypatch):
  chunk = policy.act(IMAGES, STATE)
  monkeypatch.chdir(workdir.parent)
  for path in ('laundry', 'laundry/checkpoints', pathlib.Path('laundry/checkpoints/1')):
    np.testing.assert_array_equal(aloe_jax.load(path).act(IMAGES, STATE), chunk)


def test_what_is_no_run_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match=f'{tmp_path} holds no checkpoint of a run; expected'):
    aloe_jax.load(tmp_path)
  with pytest.raises(FileNotFoundError, match='nowhere does not exist; expected'):
    aloe_jax.load(tmp_path / 'nowhere')


def test_a_policy_of_the_simulators_objects_is_refused_before_it_is_read(tmp_path, monkeypatch):
  finished_runs.write(tmp_path, **PIXELS | dict(sim__observation='objects'))
  monkeypatch.setattr(checkpoints, 'restore_parts', None)
  with pytest.raises(ValueError, match=r"sim\.observation='objects': its policy reads what"):
    aloe_jax.load(tmp_path)


def test_a_tokenizer_that_has_moved_is_asked_for(tmp_path):
  finished_runs.write(tmp_path, actor__tokenizer='words')
  meta = tmp_path / 'checkpoints' / '1' / 'meta' / 'metadata'
  meta.write_text(meta.read_text().replace('"words"', '"paligemma.model"'))
  with pytest.raises(FileNotFoundError, match=r"paligemma.model: no such file; .*, tokenizer='"):
    aloe_jax.load(tmp_path)
  assert aloe_jax.load(tmp_path, tokenizer='words').act(IMAGES, STATE).shape == (8, 14)


def test_only_what_acts_is_read_until_a_value_is_asked_for(workdir, monkeypatch):
  read, restore = [], checkpoints.restore_parts

  def noting(path, like):
    read.append(sorted(like))
    return restore(path, like)

  monkeypatch.setattr(checkpoints, 'restore_parts', noting)
  monkeypatch.setattr(checkpoints, 'restore', None)
  policy = aloe_jax.load(workdir)
  policy.act(IMAGES, STATE)
  assert read == [['step'], ['actor_ema']]
  policy.v(IMAGES, STATE)
  policy.v(IMAGES, STATE)
  assert read[2:] == [['critic']]


def test_the_package_imports_no_jax_and_defines_no_flags():
  told = (
    'import sys; import aloe_jax; from absl import flags; print("jax" in sys.modules); '
    'print("config" in flags.FLAGS, "workdir" in flags.FLAGS)'
  )
  done = subprocess.run([sys.executable, '-c', told], cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.split() == ['False', 'False', 'False'], done.stderr
