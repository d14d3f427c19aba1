"""What a robot sends: every layout of the field is read alike, everything wrong is named."""

import dataclasses

import numpy as np
import pytest
import robot
import served

from aloe_jax import types
from aloe_jax.preprocessing import normalize
from aloe_jax.run import experiment
from aloe_jax.serving import actions
from aloe_jax.serving import requests
from aloe_jax.serving import robots

CHUNK = 8, robot.SIZE
BAD_TEXT = np.array([2**31], np.uint32).view('<U1').reshape(())  # no code point


@pytest.fixture(scope='module')
def reader():
  """Of the smallest π0.5, whose statistics reach from -2 to 2."""
  inputs = experiment.Experiment(robot.make_config()).inputs(robot.make_stats(scale=2.0))
  preset = robots.PRESETS['aloe']
  return requests.Reader(preset, types.CAMERAS, robot.SIZE, CHUNK, None, inputs, True, True, True)


def make_message(**changes):
  rng = np.random.default_rng(0)
  images = {camera: rng.integers(0, 256, (6, 8, 3), np.uint8) for camera in types.CAMERAS}
  return {'images': images, 'state': np.zeros(robot.SIZE), 'prompt': 'Fold'} | changes


def with_image(image, camera='head'):
  message = make_message()
  return message | {'images': message['images'] | {camera: image}}


def test_a_message_is_read_as_it_was_sent(reader):
  message = make_message(state=np.linspace(-1, 1, robot.SIZE), aloe={'seed': 5, 'id': 'a'})
  reading, tag = reader.read(message)
  np.testing.assert_array_equal(reading.state, np.float32(message['state']))
  assert (reading.prompt, reading.seed, reading.values, tag) == ('Fold', 5, False, 'a')
  for camera, image in message['images'].items():
    np.testing.assert_array_equal(reading.images[camera], image)


def test_every_layout_of_an_image_is_the_same_image(reader):
  grey = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
  part = (grey / 255).astype(np.float32)
  layouts = grey, grey.transpose(2, 0, 1), part, part.transpose(2, 0, 1)
  for layout in layouts:
    found = reader.read(with_image(layout))[0].images['head']
    # openpi cuts off what is behind the point, so that a level may be one less.
    assert np.abs(np.int16(found) - grey).max() <= (layout.dtype != np.uint8)
    assert found.shape == grey.shape and found.dtype == np.uint8


@pytest.mark.parametrize(
  'image, said',
  [
    (np.zeros((6, 8), np.uint8), r'images/head: found uint8 \[6, 8\], expected an image'),
    (np.zeros((6, 8, 4), np.uint8), r'found uint8 \[6, 8, 4\]'),
    (np.zeros((3, 8, 3), np.uint8), 'only one axis can be that of the colours'),
    (np.zeros((0, 8, 3), np.uint8), r'found uint8 \[0, 8, 3\]'),
    (np.zeros((6, 8, 3), np.int32), 'expected uint8, or floats from 0 to 1'),
    (np.full((6, 8, 3), 7.0), 'from 7 to 7, expected 0 to 1'),
    (np.full((6, 8, 3), np.nan), 'from nan to nan, expected 0 to 1'),
    (b'\xff\xd8', 'found bytes of 2, expected an image'),
    (None, 'images/head: there is no such key'),
  ],
)
def test_what_is_no_image_is_named(reader, image, said):
  with pytest.raises(requests.RequestError, match=said):
    reader.read(with_image(image))


@pytest.mark.parametrize(
  'changes, said',
  [
    ({'state': np.zeros(13)}, 'state: found 13 numbers, expected the 14'),
    ({'state': np.zeros((1, 14))}, r'state: found \[1, 14\], expected a list'),
    ({'state': np.full(14, np.nan)}, r'state: found nan at \[0\]'),
    ({'state': np.full(14, 1e300)}, r'expected finite numbers'),
    ({'state': 'up'}, 'state: found str of 2, expected numbers'),
    ({'state': [1, [2]]}, 'state: found list, expected numbers'),
    ({'state': np.array(['a'] * 14)}, 'expected numbers'),
    ({'state': np.eye(14)[3] * 57.3}, 'state: number 3 is 57.3, far outside of -2 to 2'),
    ({'state': None}, 'state: there is no such key among'),
    ({'stat': 1}, "there is no key 'stat' in a request of aloe; did you mean 'state'?"),
    ({b'x': 1}, 'there is no key'),
    ({'prompt': BAD_TEXT}, 'prompt: found characters that are none'),
    ({'prompt': np.array([0xD800], np.uint32).view('<U1').reshape(())}, 'prompt: found'),
    (
      {'images/head': np.zeros((6, 8, 3), np.uint8)},
      "images/head is told twice, inside of 'images' and as a key of its own",
    ),
    ({'prompt': 5}, 'prompt: found int, expected a text'),
    ({'prompt': 'x' * 10_001}, 'found 10001 characters, expected a text of at most 10000'),
    ({'prompt': 'x' * 20_000}, 'prompt: found 20000 characters'),
    ({'aloe': 3}, 'aloe: found int, expected a map'),
    ({'aloe': {'values': 1}}, 'aloe/values: found int'),
    ({'aloe': {'seed': -1}}, 'aloe/seed: found -1, expected 0 to 4294967295'),
    ({'aloe': {'seed': True}}, 'aloe/seed: found True'),
    ({'aloe': {'id': 'x' * 65}}, 'aloe/id: found str of 65'),
    ({'aloe': {'delay': 2}}, 'aloe/delay: found 2 without aloe/prefix'),
    ({'aloe': {'prefix': np.zeros((2, 13))}}, r'aloe/prefix: found \[2, 13\], expected \[k, 14\]'),
    ({'aloe': {'prefix': np.zeros((0, 14))}}, r'aloe/prefix: found \[0, 14\]'),
    ({'aloe': {'prefix': np.zeros((2, 14)), 'delay': 3}}, 'aloe/delay: found 3, expected 0 to 2'),
    (
      {'aloe': {'prefix': np.stack([np.zeros(14), np.eye(14)[3] * 1e30])}},
      r'aloe/prefix: number 3 of action 1 is 1e\+30, far outside of -2 to 2',
    ),
    ({'aloe': {'prefix': np.full((2, 14), 21)}}, 'number 0 of action 0 is 21, far outside'),
    ({'aloe': {'seed': BAD_TEXT}}, r'aloe/seed: found <U1 \[\], expected 0 to'),
    ({'aloe': {'delay': BAD_TEXT}}, r'aloe/delay: found <U1 \[\] without'),
    ({'aloe': {'sed': 3}}, "aloe: there is no option 'sed'; did you mean 'seed'?"),
  ],
)
def test_what_is_wrong_in_a_message_is_named(reader, changes, said):
  with pytest.raises(requests.RequestError, match=said):
    reader.read(make_message() | changes)


def test_a_plan_somewhat_beyond_what_was_seen_is_read_as_it_was_sent(reader):
  plan = np.full((2, 14), 19, np.float32)
  reading, _ = reader.read(make_message(aloe={'prefix': plan, 'delay': 1}))
  np.testing.assert_array_equal(reading.plan, plan)


@pytest.mark.parametrize('message', [None, 3, b'x', [1], 'text', np.zeros(3)])
def test_what_is_no_map_is_refused(reader, message):
  with pytest.raises(requests.RequestError, match='expected a map of'):
    reader.read(message)


def test_what_is_not_served_is_refused(reader):
  bare = dataclasses.replace(reader, has_values=False, real_time=False)
  with pytest.raises(requests.RequestError, match='without a critic of actions'):
    bare.read(make_message(aloe={'values': True}))
  with pytest.raises(requests.RequestError, match='started without --real_time'):
    bare.read(make_message(aloe={'prefix': np.zeros((2, 14))}))


@pytest.mark.parametrize('flat', [False, True])
def test_keys_of_openpi_robots_are_read_nested_or_as_one(reader, flat):
  droid = dataclasses.replace(
    reader, robot=robots.PRESETS['droid'], cameras=('head', 'left_wrist'), state_size=8,
    normalized=False,
  )  # fmt: skip
  inner = {
    'exterior_image_1_left': np.zeros((4, 5, 3), np.uint8),
    'wrist_image_left': np.ones((4, 5, 3), np.uint8),
    'joint_position': np.arange(7.0),
    'gripper_position': np.float64(0.5),
  }
  message = (
    {f'observation/{key}': x for key, x in inner.items()} if flat else {'observation': inner}
  )
  reading, _ = droid.read(message | {'prompt': b'Fold'})
  np.testing.assert_array_equal(reading.state, [0, 1, 2, 3, 4, 5, 6, 0.5])
  assert reading.prompt == 'Fold'
  assert (reading.images['left_wrist'] == 1).all() and (reading.images['head'] == 0).all()


def test_statistics_of_another_transform_are_refused(reader):
  """A state that ALOHA's robot reports, to a policy that knows the joints turned the other way."""
  stats = robot.make_stats(scale=0.2)
  moved = {
    key: dataclasses.replace(s, mean=s.mean + 1, q01=s.q01 + 1, q99=s.q99 + 1)
    for key, s in stats.items()
  }
  inputs = dataclasses.replace(reader.inputs, state=normalize.Quantile(moved['state'], 'state'))
  strict = dataclasses.replace(reader, inputs=inputs)
  strict.read(make_message(state=np.ones(14)))
  with pytest.raises(requests.RequestError, match='number 1 is -1, far outside of 0.8 to 1.2'):
    strict.read(make_message(state=np.array([1, -1, -1, 1, 1, 1, 1] * 2)))


def test_names_of_other_numbers_than_an_action_has_are_refused_at_the_start():
  named = dataclasses.replace(robots.PRESETS['aloe'], name='mine', names=('a', 'b'))
  with pytest.raises(ValueError, match='--robot=mine has 2 names, but an action of .* has 14'):
    requests.make_reader(served.FakeModel(), named)


def test_with_z_scores_far_is_as_far_as_with_quantiles(reader):
  config = robot.make_config(data__normalization='zscore')
  inputs = experiment.Experiment(config).inputs(robot.make_stats(scale=2.0))  # deviations of 1
  scored = dataclasses.replace(reader, inputs=inputs)
  state, chunk = np.eye(robot.SIZE)[3], np.zeros(CHUNK, np.float32)
  assert scored.read(make_message(state=11.6 * state))[0].state[3] == np.float32(11.6)
  with pytest.raises(requests.RequestError, match=r'is 11.7, far outside of -2.326 to 2.326'):
    scored.read(make_message(state=11.7 * state))
  chunk[2, 13] = 4.6  # no difference to the state is learnt of the gripper
  assert actions.unusual(inputs, chunk, 0 * state) == []
  chunk[2, 13] = 4.7
  (told,) = actions.unusual(inputs, chunk, 0 * state)
  assert 'number 13 is 4.7 at step 2; in training 98 % lay within -2.326 to 2.326' in told
