"""A checkpoint of ours, or a directory of openpi, made ready to be served."""

import dataclasses
import pathlib

import jax.numpy as jnp
import ml_collections

from aloe_jax import config as config_lib
from aloe_jax import defaults
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import restored
from aloe_jax.run import starting_point
from aloe_jax.serving import model as model_lib
from aloe_jax.serving import robots


def of_run(
  config: ml_collections.ConfigDict, path: pathlib.Path, *, largest: int, real_time: bool
) -> model_lib.Model:
  """The policy of a checkpoint of ours: the moving average, and the critic where there is one.

  Args:
    config: of the run.
    path: of the checkpoint.
    largest: batch that is ever asked for.
    real_time: whether plans in flight may be told.

  Raises:
    FileNotFoundError: there is no checkpoint.
    ValueError: it is of another architecture.
  """
  experiment = experiment_lib.Experiment(config)
  learnt = starting_point.critic_learnt(starting_point.find(str(path)))
  wanted = experiment.agent.critic == 'action' and learnt
  if config.actor.best_of > 1 and not wanted:
    raise ValueError(
      f'{path}: its critic has learnt nothing of actions, so that it cannot choose the best of '
      f'{config.actor.best_of} chunks; expected a later checkpoint, or --best_of=1.'
    )
  found = restored.restore(experiment, path, critic=wanted, acts_in=_served_in(config))
  return model_lib.Model(experiment, found, str(path), largest=largest, real_time=real_time)


def of_openpi(
  config: ml_collections.ConfigDict,
  path: str,
  robot: robots.Robot,
  *,
  largest: int,
  real_time: bool,
) -> model_lib.Model:
  """The policy of a released or trained π0.5 of openpi, which has no critic.

  Raises:
    FileNotFoundError: there is no such directory, or no such statistics.
    ValueError: it is none of openpi's, or does not fit the config; says what differs.
  """
  start = starting_point.find(path)
  experiment = experiment_lib.Experiment(config)
  starting_point.check(start, experiment)
  stats = starting_point.stats(start, experiment)
  if stats is None:
    raise ValueError(
      f'{path} has no statistics in assets/; expected assets/<robot>/norm_stats.json, or '
      '--config.data.norm_stats with the path of such a file.'
    )
  inputs = experiment.inputs(stats)
  if not robot.tells_state:
    words = dataclasses.replace(inputs.tokenizer, discrete_state=False)
    inputs = dataclasses.replace(inputs, tokenizer=words)
  params = starting_point.actor_params(start, experiment)
  policy = experiment.policy(params, inputs, None, {}, tagged=False)
  meta = {'phase': 'openpi', 'iteration': 0, 'fail_cost': None, 'critic_learnt': False}
  found = restored.Restored(0, None, {}, inputs, policy, meta)
  return model_lib.Model(experiment, found, path, largest=largest, real_time=real_time)


def openpi_config(robot: robots.Robot) -> ml_collections.ConfigDict:
  """The config of openpi's policies for a kind of robot, whose fields may be set anew."""
  config = defaults.paper()
  config.agent = 'bc'
  config.actor.param_dtype = 'bfloat16'
  for field, value in robot.policy.items():
    section, _, name = field.partition('.')
    config[section][name] = value
  config_lib.expand(config)
  return config


def _served_in(config: ml_collections.ConfigDict) -> str:
  """The type that parameters are kept in: that of the computation, as openpi serves them."""
  return jnp.dtype(config.actor.dtype).name if config.actor.kind == 'pi05' else 'float32'
