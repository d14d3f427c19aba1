"""Which numbers the fields of a config may hold."""

from collections.abc import Callable, Mapping
import math
from typing import Any

SEEDS = 2**31
_Range = tuple[str, Callable[[float], bool]]

_POSITIVE: _Range = ('more than 0', lambda x: x > 0)
_NOT_NEGATIVE: _Range = ('0 or more', lambda x: x >= 0)
_SKIPPED_OR_MORE: _Range = ('0 (skip) or more', lambda x: x >= 0)
_BETWEEN: _Range = ('between 0 and 1', lambda x: 0 < x < 1)
_SHARE: _Range = ('0 to 1', lambda x: 0 <= x <= 1)
_SEED: _Range = (f'0 to {SEEDS - 1}', lambda x: 0 <= x < SEEDS)

_FIELDS: tuple[tuple[_Range, str], ...] = (
  (_SEED, 'seed'),
  ((f'-1 (by config.seed) or {_SEED[0]}', lambda x: x == -1 or _SEED[1](x)), 'evaluation.seed'),
  (('0 to 2047', lambda x: 0 <= x < 2048), 'iterations'),  # streams of random numbers
  (_BETWEEN, 'discount'),
  (_SHARE, 'actor.ema critic.polyak recap.positive recap.drop'),
  (('0 (as the data have it) to 32', lambda x: 0 <= x <= 32), 'task.proprio_size'),
  (('0 (as the data have it) or more', lambda x: x >= 0), 'task.action_size task.control_hz'),
  (
    _POSITIVE,
    'task.chunk task.execute sim.image_size fail.lengths '
    'actor.flow_steps actor.samples actor.batch_size actor.best_of '
    'actor.vocab_size actor.action_size actor.image_size actor.prompt_length '
    'actor.small.width actor.small.expert_width actor.small.depth actor.small.steps_per_token '
    'actor.small.tower.width '
    'critic.size critic.width critic.depth critic.heads critic.mlp_ratio critic.batch_size '
    'critic.bins '
    'train.actor_updates_per_call train.critic_updates_per_call',
  ),
  (
    ('0.01 or more: what bounds exponents by less makes all weights 1', lambda x: x >= 0.01),
    'actor.clip',
  ),
  (  # which the weights' exponents, in single precision, are divided by
    ('0 (that of config.actor.rule) or 1e-6 to 1e6', lambda x: x == 0 or 1e-6 <= x <= 1e6),
    'actor.beta',
  ),
  (
    ('more than 0, as nothing else tells which policy is good: 1 costs least', lambda x: x > 0),
    'evaluation.episodes',
  ),
  (
    _SKIPPED_OR_MORE,
    'actor.warm_start_updates actor.updates critic.first_updates critic.updates',
  ),
  (
    _NOT_NEGATIVE,
    'task.max_steps task.demonstrations sim.rollouts sim.attempts sim.processes fail.cost '
    'data.ratios.demo data.ratios.policy data.ratios.human '
    'actor.microbatch actor.lora.language actor.lora.expert actor.lora.scale '
    'actor.warm_start_lr actor.lr actor.warmup actor.final_lr actor.weight_decay '
    'critic.lr critic.warmup critic.weight_decay parallel.fsdp '
    'recap.guidance train.save_minutes train.keep',
  ),
)


def check(fields: Mapping[str, Any]) -> None:
  """Checks every number of a config, by itself.

  Args:
    fields: {dotted name: value} of all leaves.

  Raises:
    ValueError: naming the field, what was found and what was expected.
  """
  for field, value in fields.items():
    if isinstance(value, float) and not math.isfinite(value):
      raise ValueError(f'config.{field} is {value}; expected a finite number.')
  for (expected, fits), names in _FIELDS:
    for field in names.split():
      if field in fields and not fits(fields[field]):
        raise ValueError(f'config.{field} is {fields[field]}; expected {expected}.')
