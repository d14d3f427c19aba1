"""Settings that somebody gave and that do nothing in the company that they are in."""

from collections.abc import Callable, Mapping
import pathlib
from typing import Any, TypeAlias

import ml_collections

from aloe_jax import agents
from aloe_jax import config as config_lib
from aloe_jax.agents import action_critic
from aloe_jax.agents import aloe
from aloe_jax.agents import awr
from aloe_jax.agents import bc
from aloe_jax.agents import dagger
from aloe_jax.agents import filtered_bc
from aloe_jax.agents import filtered_policy_bc
from aloe_jax.models import parts
from aloe_jax.run import checkpoints
from aloe_jax.run import networks

Config: TypeAlias = ml_collections.ConfigDict


def settings(config: Config, given: Mapping[str, Any]) -> list[str]:
  """A sentence on every setting that does nothing, or less than it says.

  Args:
    config: with those settings.
    given: {field: value} that the command line changed.
  """
  lines = []
  for field in given:
    if field == 'iterations' and config.iterations > 1 and not _is_played(config):
      lines.append(
        f'config.iterations = {config.iterations} counts as 1: without a simulator there is one '
        'iteration for every round of episodes. What config.data.episodes newly names is one '
        'round; the next one is named after it by a later command.'
      )
    for names, applies, why in _TABLE:
      if field.startswith(names) and applies(config):
        value = config_lib.lookup(config, field)
        lines.append(f'config.{field} = {value!r} does nothing: {why}.')
        break
  return lines


def _is_played(config: Config) -> bool:
  return bool(config.sim.task)


def _on_table_top(config: Config) -> bool:
  return _is_played(config) and ':' not in config.sim.task


def _weighs(config: Config) -> bool:
  """Whether some chunks count more than others for the actor."""
  agent = agents.find(config.agent)
  return agent.advantage is not None and agent.is_positive is None


def _critic_loss(config: Config) -> Callable[..., Any] | None:
  return agents.find(config.agent).critic_loss


def _goes_on(config: Config) -> bool:
  """Whether the actor comes from a run of this project."""
  return checkpoints.is_one(pathlib.Path(config.actor.checkpoint))


def _imitates(config: Config, *modules: Any) -> bool:
  """Whether the actor learns, all alike, from the chunks that the agent of one of these does."""
  agent = agents.find(config.agent)
  return agent.critic is None and agent.imitates in [module.imitates for module in modules]


def _demonstrates(config: Config) -> bool:
  """Whether all demonstrations are those of the simulator, each of which succeeded."""
  return _is_played(config) and not config.data.episodes


# How ends that are no success are read.
_OF_FAILURES = ('data.failures', 'data.timeout', 'data.takeover')

# Names that a field begins with; when they do nothing; why.
_TABLE: tuple[tuple[tuple[str, ...], Callable[[Config], bool], str], ...] = (
  (
    ('task.prompt',),
    lambda c: not _is_played(c) and bool(c.data.episodes),
    'episodes that are given carry their own prompts',
  ),
  (
    ('sim.rollouts', 'sim.attempts', 'task.demonstrations', 'task.max_steps', 'evaluation.'),
    lambda c: not _is_played(c),
    'there is no simulator, as config.sim.task is empty',
  ),
  (('task.max_steps',), _on_table_top, 'the tasks of the table top have their own'),
  (
    ('sim.processes',),
    lambda c: not _is_played(c) or _on_table_top(c),
    'it is of the environments of Gymnasium',
  ),
  (
    ('actor.vision.', 'actor.language.', 'actor.expert.', 'actor.action_size', 'actor.image_size',
     'actor.dtype', 'actor.remat', 'critic.encoder'),
    lambda c: c.actor.kind == 'small',
    "it is of config.actor.kind='pi05'",
  ),
  (('actor.small.',), lambda c: c.actor.kind == 'pi05', "it is of config.actor.kind='small'"),
  (
    ('actor.small.tower.',),
    lambda c: c.sim.observation != 'pixels',
    "it is of config.sim.observation='pixels'",
  ),
  (
    ('critic.', 'discount', 'actor.lr', 'actor.updates', 'actor.samples', 'actor.bank',
     'actor.best_of', 'actor.rule', 'actor.beta', 'actor.clip', 'actor.weights', 'data.ratios.',
     'recap.', 'sim.rollouts', 'train.critic_updates_per_call'),
    lambda c: c.iterations == 0,
    'config.iterations is 0, and a warm start comes before all of them',
  ),
  (
    _OF_FAILURES,
    lambda c: c.iterations == 0 and _demonstrates(c),
    'config.iterations is 0, and demonstrations of the simulator that fail are not kept',
  ),
  (
    _OF_FAILURES,
    lambda c: _imitates(c, bc) and _demonstrates(c),
    'this config.agent imitates demonstrations alone, and those of the simulator that fail are not '
    'kept',
  ),
  (
    _OF_FAILURES,
    lambda c: _imitates(c, filtered_bc) and (_demonstrates(c) or (_is_played(c) and _goes_on(c))),
    'this config.agent imitates nothing but fragments that ended in success',
  ),
  (
    ('data.takeover',),
    lambda c: _imitates(c, dagger, filtered_policy_bc) and _demonstrates(c),
    'this config.agent imitates nothing of the policy that ended in a take-over, and learns no '
    'critic that would be told what it costs',
  ),
  (
    ('sim.image_size',),
    lambda c: _is_played(c) and not _on_table_top(c),
    'images of the environments of Gymnasium are neither read nor recorded',
  ),
  (
    ('task.cameras',),
    lambda c: _is_played(c) and c.actor.kind == 'small' and c.sim.observation == 'objects',
    "config.sim.observation is 'objects', which are seen without cameras",
  ),
  (
    ('fail.',),
    lambda c: c.iterations == 0,
    'config.iterations is 0, and in a warm start no failure costs anything; it is kept for the run '
    'of a robot that goes on from this one',
  ),
  (('recap.',), lambda c: not agents.find(c.agent).tags, 'this config.agent tags no chunks'),
  (
    ('critic.', 'discount', 'train.critic_updates_per_call'),
    lambda c: agents.find(c.agent).critic is None,
    'this config.agent learns no critic',
  ),
  (
    ('critic.bins',),
    lambda c: agents.find(c.agent).critic != 'state',
    'it is of a critic of states, as AWR has',
  ),
  (
    ('critic.ensemble', 'critic.size', 'critic.horizon', 'critic.backup', 'critic.target',
     'critic.past_end', 'critic.pessimism', 'actor.samples', 'actor.bank'),
    lambda c: agents.find(c.agent).critic != 'action',
    'it is of a critic of actions, as ALOE has',
  ),
  (
    ('critic.target', 'critic.polyak'),
    lambda c: c.critic.backup == 'monte_carlo' and _critic_loss(c) is aloe.critic_loss,
    "config.critic.backup is 'monte_carlo', and returns as they were ask no target network",
  ),
  (
    ('critic.polyak',),
    lambda c: _critic_loss(c) is awr.critic_loss,
    'the critic of this config.agent learns from returns as they were, without a target network',
  ),
  (
    ('critic.ensemble', 'critic.target', 'critic.pessimism'),
    lambda c: c.critic.size == 1,
    'config.critic.size is 1, and one network is its own mean and its own least',
  ),
  (
    ('critic.past_end',),
    lambda c: config_lib.critic_horizon(c) == 1,
    'a critic that reads one step has no ended chunks',
  ),
  (
    ('critic.backup',),
    lambda c: c.critic.backup == 'corrected' and networks.critic_spans(c) == 1,
    'the critic reads as much as its targets would span; it is for a shorter config.critic.horizon',
  ),
  (
    ('actor.rule',),
    lambda c: agents.find(c.agent).advantage is not action_critic.advantage,
    'this config.agent has no advantage, or one of its own, by which it weighs',
  ),
  (
    ('actor.beta', 'actor.clip', 'actor.weights'),
    lambda c: not _weighs(c),
    'with this config.agent all chunks weigh the same',
  ),
  (
    ('data.norm_stats', 'data.check_statistics'),
    lambda c: c.data.normalization == 'none',
    "config.data.normalization is 'none'",
  ),
  (
    ('data.norm_stats', 'actor.warm_start_'),
    _goes_on,
    'the run of config.actor.checkpoint has its own statistics and its warm start behind it',
  ),
  (
    ('data.mapping.last_action',),
    lambda c: not c.data.episodes,
    'no episodes are given, and those that a run records hold what was done at every step',
  ),
  (('fail.lengths',), lambda c: c.fail.cost > 0, 'config.fail.cost is given'),
  (('data.rates',), lambda c: not c.data.episodes, 'no episodes are given'),
  (
    ('actor.frozen_dtype',),
    lambda c: parts.parse(c.actor.train, c.actor.frozen_dtype) == parts.EVERYTHING,
    'all parts of the actor are trained',
  ),
  (('parallel.fsdp',), lambda c: c.parallel.mode == 'pmap', "config.parallel.mode is 'pmap'"),
)  # fmt: skip
