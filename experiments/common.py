"""What experiments share: Appendix C of the paper, and the laptop-size changes to it."""

import ml_collections

from aloe_jax import defaults

paper = defaults.paper  # Appendix C at full size

VARIANTS = {
  '': 'the robot and π0.5: needs episodes and a checkpoint',
  'pi05_small': 'the robot and a π0.5 that a laptop can run',
  'debug': 'a π0.5 of the smallest size, in the simulator: every stage, for tests',
  'sim': 'the embedded simulator, low-dimensional object blocks in place of a vision tower',
  'pixels': 'the embedded simulator, on its cameras',
  'sim_debug': 'sim at the smallest size that runs every stage, for tests',
}


# Sizes of π0.5: for a laptop, with the published tokenizer; for tests.
PI05_SMALL = defaults.PI05 | dict(
  vision=dict(width=256, depth=6, mlp_dim=1024, heads=4, patch=14),
  language=dict(width=256, depth=6, mlp_dim=2048, heads=8, kv_heads=1, head_dim=32),
  expert=dict(width=128, mlp_dim=512),
)
PI05_DEBUG = dict(
  vision=dict(width=32, depth=2, mlp_dim=80, heads=4, patch=14),
  language=dict(width=64, depth=3, mlp_dim=160, heads=4, kv_heads=1, head_dim=16),
  expert=dict(width=48, mlp_dim=96),
  vocab_size=1024,
  action_size=32,
  image_size=28,
  prompt_length=64,
)


def apply_variant(config: ml_collections.ConfigDict, variant: str, *, sim_task: str):
  """Turns an experiment on the robot into one of its `VARIANTS`."""
  if variant not in VARIANTS:
    known = '; '.join(f"'{name}' ({what})" for name, what in VARIANTS.items())
    raise ValueError(f'unknown variant {variant!r} of the experiment; expected one of {known}.')
  delta = config.task.delta
  if variant == 'pi05_small':
    config.actor.update(PI05_SMALL, dtype='float32', remat='dots', batch_size=8)
  elif variant:
    _laptop(config, sim_task, 'pixels' if variant == 'pixels' else 'objects')
  if variant == 'pixels':
    _pixels(config)
  if variant in ('debug', 'sim_debug'):
    _debug(config)
  if variant == 'debug':
    _debug_pi05(config)
    config.task.delta = delta
  return config


def _laptop(config: ml_collections.ConfigDict, sim_task: str, observation: str) -> None:
  """The same algorithm at a size for two CPU cores, in the embedded simulator."""
  config.sim.update(
    task=sim_task, observation=observation, image_size=32, rollouts=192, attempts=128
  )
  config.task.update(chunk=8, execute=2, demonstrations=50, delta=())
  config.data.update(normalization='none')
  config.actor.update(
    kind='small',
    augment=False,
    tokenizer='words',
    vocab_size=256,
    prompt_length=32,
    dtype='float32',
    remat='none',
    flow_steps=5,
    flow_time='uniform',
    ema=0.995,
    samples=4,
    warm_start_updates=3_500,
    updates=1_000,
    warm_start_lr=1e-3,
    lr=1e-3,
    weight_decay=1e-4,
  )
  config.actor.small.update(steps_per_token=8)
  config.critic.update(
    width=64,
    depth=2,
    heads=4,
    mlp_ratio=2,
    polyak=0.02,
    first_updates=1_200,
    updates=800,
    lr=1e-3,
  )
  config.evaluation.update(episodes=512)
  config.train.update(critic_updates_per_call=100, actor_updates_per_call=100)


def _pixels(config: ml_collections.ConfigDict) -> None:
  """More demonstrations: what they show of a scene is all that the tower learns to see by."""
  config.task.update(demonstrations=700)
  config.sim.update(attempts=512)
  config.actor.update(warm_start_updates=18_000, warm_start_lr=2e-3, batch_size=128)
  config.actor.small.tower.update(channels=(32, 64))
  config.train.update(actor_updates_per_call=25)  # batches of images are large


def _debug(config: ml_collections.ConfigDict) -> None:
  """Every stage in seconds; learns nothing."""
  config.iterations = 1
  config.sim.update(rollouts=8, attempts=32, image_size=32)
  config.task.update(demonstrations=4)
  config.actor.update(samples=2, warm_start_updates=20, updates=20, batch_size=32)
  config.actor.small.update(width=16, expert_width=16, depth=1)
  config.critic.update(width=16, depth=1, heads=2, first_updates=20, updates=20, batch_size=32)
  config.evaluation.update(episodes=16)
  config.train.update(actor_updates_per_call=10, critic_updates_per_call=10)


def _debug_pi05(config: ml_collections.ConfigDict) -> None:
  """All that the robot's configs use, on dimensions for tests."""
  config.data.update(normalization='quantile')
  config.sim.update(image_size=PI05_DEBUG['image_size'])
  config.actor.update(
    PI05_DEBUG,
    kind='pi05',
    augment=True,
    flow_steps=2,
    flow_time='beta',
    warm_start_updates=4,
    updates=4,
    warmup=1,
    batch_size=8,
    remat='full',
  )
  config.train.update(actor_updates_per_call=2)
