"""The robot of the embedded simulator: its numbers, and the cameras that a policy looks through."""

import jax
import numpy as np
import pytest

from aloe_jax.envs import tabletop
from aloe_jax.envs import tasks
from aloe_jax.run import experiment
from aloe_jax.run import starting_point
from experiments import laundry


def make(variant='sim_debug', **task):
  config = laundry.get_config(variant)
  config.task.update(task)
  return experiment.Experiment(config)


@pytest.fixture(scope='module')
def state():
  return tabletop.Simulator(tasks.TASKS['fold_laundry']).reset(jax.random.key(0))


def test_it_tells_what_the_config_leaves_open(state):
  built = make()
  task = built.config.task
  assert (task.action_size, task.proprio_size, len(task.cameras)) == (14, 14, 3)
  assert built.world.see({})(state).state.shape == (14,)


def test_a_run_of_an_earlier_version_keeps_its_zeros(state):
  seen = make(proprio_size=32).world.see({})(state)
  own = make().world.see({})(state)
  np.testing.assert_array_equal(seen.state, [*own.state, *np.zeros(18)])
  np.testing.assert_array_equal(seen.features, own.features)


def fresh_tower(built):
  built.config.actor.warm_start_updates = 0  # so that there is one from the beginning
  return starting_point.encoder_params(starting_point.find(''), built, None)


@pytest.mark.parametrize('field, value', [('action_size', 7), ('proprio_size', 7)])
def test_another_robot_is_refused(field, value):
  with pytest.raises(ValueError, match=f'config.task.{field} is {value}, but fold_laundry has 14'):
    make(delta=(), **{field: value})


@pytest.mark.parametrize('variant', ['pixels', 'debug'])
def test_a_policy_looks_through_its_own_cameras_alone(variant, state):
  built = make(variant, cameras=('head', 'right_wrist'))
  assert tuple(built.config.task.cameras) == ('head', 'right_wrist')
  params = fresh_tower(built) if variant == 'pixels' else {}
  sight = built.world.see(params)(state)
  if variant == 'pixels':
    seen = np.abs(sight.features).max(axis=-1) > 0
  else:
    seen = [bool(sight.image_masks[camera]) for camera in ('head', 'left_wrist', 'right_wrist')]
  assert list(seen) == [True, False, True]
  assert make(variant).world.see(params)(state).image_masks is None


def test_before_the_tower_is_trained_nothing_is_seen_but_the_robot(state):
  built = make('pixels')
  sight = built.world.see(None)(state)
  assert (sight.features, sight.images) == (None, None)
  seen = built.world.see(fresh_tower(built))(state)
  np.testing.assert_array_equal(sight.state, seen.state)
