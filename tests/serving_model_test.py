"""A served policy: what it says is what the loaded one says, for each row of a batch alone."""

import dataclasses
import json

import finished_runs
import jax
import numpy as np
import pytest
import robot
import tiny

from aloe_client import wire
import aloe_jax
from aloe_jax import types
from aloe_jax.run import checkpoints
from aloe_jax.run import loaded
from aloe_jax.serving import actions
from aloe_jax.serving import loading
from aloe_jax.serving import model as model_lib
from aloe_jax.serving import robots
from aloe_jax.serving import version

SMALL = dict(
  actor__kind='small',
  actor__augment=False,
  actor__vocab_size=256,
  sim__observation='pixels',
  actor__small__tower__channels=(4,),
  sim__image_size=16,
)

pytestmark = pytest.mark.usefixtures('quick_compilation')


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  """A checkpoint of a small actor that reads features of pictures, after its first critic."""
  workdir = tmp_path_factory.mktemp('runs') / 'laundry'
  finished_runs.write(workdir, number=1, **SMALL)
  return checkpoints.Checkpoints(workdir / 'checkpoints').newest()


def load(path, **options):
  config = loaded._config(path, tokenizer=None, encoder=None)
  for field, value in options.pop('config', {}).items():
    config.actor[field] = value
  return loading.of_run(config, path, **{'largest': 4, 'real_time': True} | options)


@pytest.fixture(scope='module')
def model(path):
  return load(path)


@pytest.fixture(scope='module')
def policy(path):
  return aloe_jax.load(path)


def make_reading(seed, **changes):
  rng = np.random.default_rng(seed)
  images = {camera: rng.integers(0, 256, (9, 12, 3), np.uint8) for camera in types.CAMERAS}
  state = 0.3 * tiny.normal(rng, robot.SIZE)
  return model_lib.Reading(state, images, prompt=f'Fold {seed}', seed=seed, **changes)


def ask(model, *readings):
  return model.answer([model.prepare(reading) for reading in readings])


def test_what_is_served_is_what_the_loaded_policy_does(model, policy):
  reading = make_reading(3)
  expected = policy.act(reading.images, reading.state, reading.prompt, seed=3)
  np.testing.assert_allclose(ask(model, reading)[0].actions, expected, atol=1e-6)


def test_rows_of_a_batch_get_what_they_get_alone(model):
  readings = [make_reading(seed, values=seed % 2 == 0) for seed in range(3)]
  together = ask(model, *readings)
  for reading, found in zip(readings, together, strict=True):
    alone = ask(model, reading)[0]
    np.testing.assert_allclose(found.actions, alone.actions, atol=1e-5)
    assert (found.q is None) == (not reading.values)
    if reading.values:
      np.testing.assert_allclose([found.q, found.v], [alone.q, alone.v], rtol=1e-4)


def test_values_are_those_of_the_loaded_policy(model, policy):
  reading = make_reading(2, values=True)
  found = ask(model, reading)[0]
  shown = reading.images, reading.state
  members = policy.q(*shown, found.actions, reading.prompt, ensemble=True)
  np.testing.assert_allclose(found.q, members.min(), rtol=1e-4)
  np.testing.assert_allclose(found.v, policy.v(*shown, reading.prompt, seed=2), rtol=1e-4)
  np.testing.assert_allclose(found.spread, members.std(), rtol=1e-3)


def test_frozen_actions_are_equal_from_any_state_in_the_robots_units(model):
  """They are relative to the state inside; a prefix in another state's frame would jerk."""
  plan = 0.5 * tiny.normal(np.random.default_rng(9), 6, robot.SIZE)
  readings = [make_reading(seed, plan=plan, delay=4) for seed in (4, 5)]
  assert np.abs(readings[0].state - readings[1].state).max() > 0.1
  for found in ask(model, *readings):
    np.testing.assert_allclose(found.actions[:4], plan[:4], atol=1e-5)


def test_rows_without_a_plan_are_not_touched_by_those_beside_them(model):
  plan = np.ones((4, robot.SIZE), np.float32)
  found = ask(model, make_reading(1), make_reading(2, plan=plan, delay=2))[0]
  np.testing.assert_allclose(found.actions, ask(model, make_reading(1))[0].actions, atol=1e-5)


def test_a_plan_longer_than_a_chunk_is_cut(model):
  plan = np.zeros((50, robot.SIZE), np.float32)
  found = ask(model, make_reading(1, plan=plan, delay=50))[0].actions
  np.testing.assert_allclose(found, np.zeros_like(found), atol=1e-5)


def test_nothing_compiles_once_a_model_is_warm(path):
  model = load(path, largest=2)
  model.warm()
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **more: compiled.append(name) if 'compile' in name else None
  )
  plan = np.zeros((3, robot.SIZE), np.float32)
  for readings in (
    [make_reading(1)],
    [make_reading(1), make_reading(2, values=True)],
    [make_reading(1, plan=plan)],
    [make_reading(1, values=True, plan=plan), make_reading(2)],
  ):
    ask(model, *readings)
  assert not compiled


def test_the_best_of_several_is_served_where_asked(path):
  best = load(path, config={'best_of': 3}, real_time=False)
  assert best.policy.samples == 3
  readings = [make_reading(seed, values=True) for seed in range(4)]
  chosen, first = ask(best, *readings), ask(load(path), *readings)
  # The first of the three is what a policy of one draws.
  assert all(b.q >= f.q - 1e-3 for b, f in zip(chosen, first, strict=True))
  assert any(b.q > f.q + 1e-3 for b, f in zip(chosen, first, strict=True))


def test_a_reply_names_its_checkpoint_and_tells_what_is_unusual(model):
  served = version.make(model, robots.PRESETS['aloe'], actions.Limits(high=np.full(14, 0.1)))
  reading = make_reading(1)
  answer = model_lib.Answer(np.full((8, 14), 9.0, np.float32))
  reply = served.reply(reading, answer, 'a')
  assert (reply['actions'] == np.float32(0.1)).all()
  about = reply['aloe']
  assert about['checkpoint'] == model.name and about['id'] == 'a' and about['clipped']
  assert any(line.startswith('number 6 is 9 at step 0; in training') for line in about['flags'])
  assert 'number 6 asked for 9 and was held at 0.1' in about['flags']


def test_a_robot_of_another_width_or_without_a_camera_is_refused(model):
  with pytest.raises(ValueError, match='takes actions of 7 numbers'):
    version.make(model, robots.PRESETS['libero'], actions.Limits())
  lacking = dataclasses.replace(robots.PRESETS['aloe'], cameras={'top': 'head'})
  with pytest.raises(ValueError, match="has no camera 'left_wrist', 'right_wrist'"):
    version.make(model, lacking, actions.Limits())


def test_the_threshold_of_a_report_on_this_critic_is_told_to_robots(model, path):
  def told():
    made = version.make(model, robots.PRESETS['aloe'], actions.Limits())
    about = wire.unpack(made.greeting)['aloe']
    return about['q_threshold'], about['false_alarms']

  assert told() == (None, None)
  report = {'held_out': True, 'q_threshold': -41.5, 'false_alarms': 0.08}
  written = path.parents[1] / 'report.json'
  for iteration, expected in ((1, (-41.5, 0.08)), (2, (None, None))):
    written.write_text(json.dumps(report | {'iteration': iteration}))
    assert told() == expected
  written.unlink()
