"""Experiment files hold the paper's numbers, and all their variants can be built."""

import jax
import pytest

from aloe_jax import config as config_lib
from aloe_jax.envs import tasks
from aloe_jax.run import experiment
from experiments import common
from experiments import laundry
from experiments import pack_phone
from experiments import sort_products

FILES = {'pack_phone': pack_phone, 'fold_laundry': laundry, 'sort_products': sort_products}

ROBOT = {  # what the data or the simulator tell
  'action_size': 14,
  'proprio_size': 14,
  'cameras': ('head', 'left_wrist', 'right_wrist'),
}


@pytest.mark.parametrize(
  'module, prompt, max_steps, execute, demonstrations',
  [
    (
      pack_phone,
      'Place the phone in the container, then cover it with the lid',
      2_000,
      25,
      50,
    ),
    (laundry, 'Fold the t-shirt', 10_000, 5, 150),
    (
      sort_products,
      'Retrieve the objects from the front bin and place them onto the conveyor belt.',
      10_000,
      5,
      50,
    ),
  ],
)
def test_tasks_are_those_of_tables_1_to_3(module, prompt, max_steps, execute, demonstrations):
  task = module.get_config().task
  assert (task.prompt, task.max_steps, task.chunk) == (prompt, max_steps, 50)
  assert (task.execute, task.demonstrations) == (execute, demonstrations)


@pytest.mark.parametrize('module', FILES.values())
def test_hyperparameters_are_those_of_appendix_c(module):
  config = module.get_config()
  assert config.discount == 0.99
  assert (
    config.critic.to_dict().items()
    >= {
      'size': 2,  # 56 tokens = K + 1 state + 50 actions + 3 cameras
      'width': 256,
      'depth': 6,
      'heads': 8,
      'lr': 3e-5,
      'warmup': 100,
      'polyak': 0.005,
      'batch_size': 256,
      'horizon': 'chunk',
    }.items()
  )
  assert (config.fail.cost, config.fail.lengths) == (0, 1)
  assert (config.data.timeout, config.data.takeover) == ('failure', 'failure')
  assert (config.actor.kind, config.sim.task) == ('pi05', '')


@pytest.mark.parametrize('variant', [name for name in common.VARIANTS if name])
@pytest.mark.parametrize('task', FILES)
def test_every_variant_is_an_experiment_that_can_be_built(task, variant):
  config = FILES[task].get_config(variant)
  config_lib.validate(config)
  if not config.sim.task:
    config.task.update(ROBOT)
  built = experiment.Experiment(config)
  assert {field: config.task[field] for field in ROBOT} == ROBOT  # told by the simulator
  views = {'sim': 16, 'sim_debug': 16, 'pixels': 64, 'debug': 32, 'pi05_small': 256}
  assert built.feature_shape() == (3, views[variant])
  assert built.reads_images == (variant in ('debug', 'pi05_small'))
  assert built.prompt == tasks.TASKS[task].prompt
  if variant == 'pi05_small':
    assert config.sim.task == ''
  else:
    assert built.world.name == task
  state = built.abstract_state()
  assert all(leaf.size for leaf in jax.tree.leaves((state.actor, state.critic)))


@pytest.mark.parametrize('task', FILES)
def test_the_robots_experiment_is_the_published_network_on_the_papers_robot(task):
  config = FILES[task].get_config()
  config_lib.validate(config)
  assert config.task.control_hz == 0.0  # likewise
  assert not any(config.task[field] for field in ROBOT)  # the data tell
  with pytest.raises(ValueError, match='no data have told them'):
    experiment.Experiment(config)
  config.task.update(ROBOT, proprio_size=32)
  built = experiment.Experiment(config)
  assert (config.data.normalization, config.actor.flow_time) == ('quantile', 'beta')
  assert built.feature_shape() == (3, 1152)
  state = built.abstract_state()
  count = sum(leaf.size for leaf in jax.tree.leaves(state.actor))
  assert count == 3_353_433_872
  assert len(jax.tree.leaves(state.actor)) == 51
  images = built.example().observation.images
  assert {name: x.shape for name, x in images.items()} == dict.fromkeys(
    config.task.cameras, (1, 224, 224, 3)
  )
  with pytest.raises(FileNotFoundError, match='paligemma_tokenizer.model'):
    built.inputs(None)


def test_variants_change_the_size_and_not_the_algorithm():
  paper, sim = laundry.get_config(), laundry.get_config('sim')
  same = ('agent', 'discount', 'fail', 'seed')
  assert {name: paper.to_dict()[name] for name in same} == {
    name: sim.to_dict()[name] for name in same
  }
  for field in ('actor.weights', 'actor.beta', 'actor.beta_unit', 'actor.clip', 'actor.bank',
                'actor.mask_padding', 'data.timeout', 'data.takeover', 'critic.ensemble',
                'critic.size', 'critic.target', 'critic.horizon'):  # fmt: skip
    assert config_lib.lookup(paper, field) == config_lib.lookup(sim, field), field


def test_an_unknown_variant_is_told_what_there_is():
  with pytest.raises(ValueError, match="unknown variant 'simm' of the experiment; expected one of"):
    laundry.get_config('simm')
