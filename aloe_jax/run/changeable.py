"""Which fields of the config that a run keeps a command may set anew, and when.

What decided what was learnt stays as it was. What is still to be done, and how, may be changed; and
how something is learnt where it is learnt once more.
"""

from collections.abc import Sequence
import dataclasses


@dataclasses.dataclass(frozen=True)
class Fields:
  """Fields or sections of a config, as a command takes them.

  Attributes:
    used: may be set anew.
    idle: do nothing here; a config file may differ in them, to set one is refused.
  """

  used: tuple[str, ...]
  idle: tuple[str, ...]


# How and where, which changes no result: another machine, another place of a file.
_HOW = (
  'actor.microbatch', 'actor.remat', 'actor.tokenizer', 'data.cache', 'data.rates', 'parallel',
  'sim.processes', 'train',
)  # fmt: skip
# How much and from what, which trained parameters do not tell.
TRAINING = (
  'actor.batch_size', 'actor.checkpoint', 'actor.lr', 'actor.updates', 'actor.warm_start_lr',
  'actor.warm_start_updates', 'actor.warmup', 'critic.batch_size', 'critic.first_updates',
  'critic.lr', 'critic.updates', 'critic.warmup', 'data.check_statistics', 'data.episodes',
  'data.norm_stats', 'iterations', 'sim.attempts', 'sim.rollouts', 'task.demonstrations',
)  # fmt: skip
_STILL_TO_DO = (
  'actor.batch_size', 'actor.best_of', 'actor.lr', 'actor.updates', 'actor.warmup',
  'critic.batch_size', 'critic.lr', 'critic.updates', 'critic.warmup', 'data.check_statistics',
  'evaluation.episodes', 'iterations', 'recap.guidance', 'sim.rollouts',
)  # fmt: skip
# Likewise, while the phase has no checkpoint that they are of: {field: its number}.
NOT_BEGUN = {'actor.warm_start_lr': 0, 'actor.warm_start_updates': 0, 'critic.first_updates': 1}
# How a phase learns that an option has learnt once more: what it learnt before stays beside it.
# Not what the networks are, or what their numbers mean, as the horizon and the discount tell.
AGAIN = {
  'actor': (
    'actor.augment', 'actor.beta', 'actor.beta_unit', 'actor.clip', 'actor.ema', 'actor.final_lr',
    'actor.flow_time', 'actor.mask_padding', 'actor.samples', 'actor.weight_decay',
    'actor.weights', 'critic.pessimism', 'data.failures', 'data.ratios', 'recap.drop',
    'recap.positive',
  ),
  'critic': (
    'actor.rule', 'actor.samples', 'critic.backup', 'critic.first_updates', 'critic.past_end',
    'critic.pessimism', 'critic.polyak', 'critic.target', 'critic.weight_decay', 'data.failures',
    'data.ratios',
  ),
}  # fmt: skip
# Of them, by what the warm start learns too.
_IMITATES = (
  'actor.augment', 'actor.ema', 'actor.final_lr', 'actor.flow_time', 'actor.mask_padding',
  'actor.weight_decay', 'data.failures', 'data.ratios',
)  # fmt: skip

# Whatever is not here is as the run has it.
COMMANDS = {
  'train': Fields(used=(*_HOW, *_STILL_TO_DO), idle=()),
  'evaluate': Fields(
    used=(*_HOW, 'actor.best_of', 'evaluation', 'recap.guidance', 'sim.task'), idle=TRAINING
  ),
  'report': Fields(used=(*_HOW, 'sim.task'), idle=(*TRAINING, 'evaluation')),
  'serve': Fields(
    used=(*_HOW, 'actor.best_of', 'actor.flow_steps', 'recap.guidance'),
    idle=(*TRAINING, 'evaluation', 'sim.task'),
  ),
  'export': Fields(
    used=_HOW, idle=(*TRAINING, 'actor.best_of', 'evaluation', 'recap.guidance', 'sim.task')
  ),
}


def is_in(field: str, names: Sequence[str]) -> bool:
  """Whether a field, or a section that it lies in, is among some names."""
  return any(field == name or field.startswith(f'{name}.') for name in names)


def ahead(done: int, begun: int) -> list[str]:
  """Fields of `AGAIN` by which nothing has learnt yet, as no phase that they are of has begun.

  Args:
    done: number of the newest checkpoint, -1 for none.
    begun: number of the newest phase that has saved anything, inside it too; -1 for none.
  """
  if begun >= 2:  # an actor
    return []
  if begun == 1:  # a critic, by what both learn by
    return [field for field in AGAIN['actor'] if field not in AGAIN['critic']]
  fields = dict.fromkeys((*AGAIN['actor'], *AGAIN['critic']))
  return [field for field in fields if begun == done or field not in _IMITATES]
