"""The networks of a config: actor, critic, and the frozen encoder that the critic sees through."""

import json
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
import ml_collections

from aloe_jax import config as config_lib
from aloe_jax.agents import agent as agent_lib
from aloe_jax.models import conv_tower
from aloe_jax.models import critic as critic_lib
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.models import parts
from aloe_jax.models import pi05
from aloe_jax.models import siglip
from aloe_jax.models import small
from aloe_jax.preprocessing import tokenizer as tokenizer_lib
from aloe_jax.pretrained import big_vision


def reads_images(config: ml_collections.ConfigDict) -> bool:
  """Whether the actor reads images, and not only features made of them."""
  return config.actor.kind == 'pi05'


def learns_tower(config: ml_collections.ConfigDict) -> bool:
  """Whether the actor's warm start trains the tower whose features all later phases read."""
  return not reads_images(config) and config.sim.observation == 'pixels'


def critic_spans(config: ml_collections.ConfigDict) -> int:
  """How many times that the critic's targets span: as many as are in a chunk, where it is asked."""
  if config.critic.backup != 'corrected':
    return 1
  return config.task.chunk // config_lib.critic_horizon(config)


def make_actor(config: ml_collections.ConfigDict) -> nn.Module:
  """π0.5, or the small actor; raises what `make_encoder` does."""
  actor, chunk = config.actor, config.task.chunk
  if reads_images(config):
    return pi05.make(actor, horizon=chunk, dtype=jnp.dtype(actor.dtype), remat=actor.remat)
  sizes = {name: size for name, size in actor.small.items() if name != small.TOWER}
  return small.SmallActor(
    horizon=chunk,
    action_size=config.task.action_size,
    vocab_size=actor.vocab_size,
    tower=_make_tower(config) if learns_tower(config) else None,
    **sizes,
  )


def _make_tower(config: ml_collections.ConfigDict) -> conv_tower.ConvTower:
  """The small actor's.

  Raises:
    ValueError: it has no stages, or one of no whole number of channels.
  """
  tower = config.actor.small.tower
  if not tower.channels or not all(type(x) is int and x >= 1 for x in tower.channels):
    raise ValueError(
      f'config.actor.small.tower.channels is {tuple(tower.channels)}; expected the channels of one '
      'stage or more, whole numbers of 1 or more such as (32, 64), as config.sim.observation is '
      "'pixels'. A run that has () is of an earlier version: its cameras were seen through random "
      'filters, which there are no more. Begin another --workdir.'
    )
  return conv_tower.ConvTower(channels=tuple(tower.channels), width=tower.width)


def make_trained(config: ml_collections.ConfigDict) -> parts.Trained:
  """Which parameters of the actor are trained.

  Raises:
    ValueError: there is no such part, or the actor has no parts.
  """
  trained = parts.parse(config.actor.train, config.actor.frozen_dtype)
  if trained.names and not reads_images(config):
    raise ValueError(
      f"config.actor.train is {config.actor.train!r}, but config.actor.kind is 'small', which has "
      "no such parts; expected 'all'."
    )
  adapts = config.actor.lora.language > 0 or config.actor.lora.expert > 0
  if adapts and not reads_images(config):
    raise ValueError(
      "config.actor.lora is for config.actor.kind='pi05' alone; expected ranks of 0."
    )
  if adapts != ('lora' in trained.names):
    found = f'config.actor.lora has the ranks {config.actor.lora.language} and '
    raise ValueError(
      f'{found}{config.actor.lora.expert}, and config.actor.train is {config.actor.train!r}; '
      "expected ranks above 0 and 'lora' among the parts, such as 'vision+projections+lora', which "
      'is what openpi trains, or neither.'
    )
  return trained


def make_tokenizer(config: ml_collections.ConfigDict) -> tokenizer_lib.PromptTokenizer:
  """Of prompts: the small actor's leaves the state to proprio, π0.5's puts it into words.

  Raises:
    FileNotFoundError: its file is not there.
    ValueError: it is of another vocabulary than the actor.
  """
  actor = config.actor
  if actor.tokenizer == 'words':
    vocabulary: tokenizer_lib.Vocabulary = tokenizer_lib.Words(actor.vocab_size)
  else:
    vocabulary = tokenizer_lib.SentencePiece(actor.tokenizer)
  if vocabulary.vocab_size > actor.vocab_size:
    raise ValueError(
      f'{actor.tokenizer} has {vocabulary.vocab_size} tokens, more than the '
      f'{actor.vocab_size} of config.actor.vocab_size.'
    )
  return tokenizer_lib.PromptTokenizer(
    vocabulary, actor.prompt_length, discrete_state=reads_images(config)
  )


def make_critic(agent: agent_lib.Agent, config: ml_collections.ConfigDict) -> Any:
  """The critic's module, or None for an agent without one."""
  size = {name: config.critic[name] for name in ('width', 'depth', 'heads', 'mlp_ratio')}
  if agent.critic is None:
    return None
  if agent.critic == 'state':
    return critic_lib.ValueCritic(config.critic.bins, **size)
  kind = critic_lib.FullEnsemble if config.critic.ensemble == 'full' else critic_lib.Critic
  return kind(config.critic.size, config_lib.critic_horizon(config), **size)


def make_encoder(config: ml_collections.ConfigDict) -> encoder_lib.Encoder | None:
  """The critic's encoder: the actor's own tower, or that of a file; None where there is none.

  Raises:
    ValueError: the small actor's tower has no stages.
  """
  if learns_tower(config):
    return encoder_lib.TowerEncoder(_make_tower(config), config.sim.image_size)
  if not reads_images(config):
    return None
  if config.critic.encoder:
    return encoder_lib.of_weights(big_vision.load(config.critic.encoder))
  tower = siglip.SigLip(**config.actor.vision, dtype=jnp.dtype(config.actor.dtype))
  return encoder_lib.TowerEncoder(tower, config.actor.image_size)


def architecture(agent: agent_lib.Agent, config: ml_collections.ConfigDict) -> dict[str, Any]:
  """All that decides the shapes of the parameters; kept in checkpoints."""
  names, critic = ['kind', 'small', 'vocab_size'], None
  if reads_images(config):
    names = ['kind', 'vision', 'language', 'expert', 'vocab_size', 'action_size', 'image_size']
    if config.actor.lora.language or config.actor.lora.expert:
      names.append('lora')
  if agent.critic is not None:
    sizes = ('ensemble', 'size', 'prompt', 'width', 'depth', 'heads', 'mlp_ratio', 'bins')
    critic = {name: config.critic[name] for name in sizes}
    critic |= {'kind': agent.critic, 'horizon': config_lib.critic_horizon(config)}
  actor = {name: size for name, size in json.loads(config.actor.to_json()).items() if name in names}
  if 'small' in actor:
    tower = actor['small'].pop(small.TOWER)
    if learns_tower(config):
      actor['small'][small.TOWER] = tower | {'image_size': config.sim.image_size}
  return {
    'actor': actor,
    'action': config.task.action_size,
    'chunk': config.task.chunk,
    'observation': 'images' if reads_images(config) else config.sim.observation,
    'critic': critic,
  }
