"""What an algorithm is: a critic or none, its loss, an advantage, and the rows it imitates."""

from collections.abc import Callable
import dataclasses
import typing
from typing import Annotated, Any, Literal, Self

from flax import linen as nn
import jax
import ml_collections
import numpy as np

Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Settings:
  """Numbers that losses take. Each says which field of the config it is; none has another default.

  An agent with numbers of its own extends the class, each with the field that it is:

      @dataclasses.dataclass(frozen=True)
      class Settings(agent.Settings):
        expectile: Annotated[float, 'toy.expectile']

  Attributes:
    reward_scale: what rewards were multiplied by; undone for `beta_unit` 'raw'.
    return_range: lowest and highest return of the data, in scaled rewards: -1 and 0 where rewards
      are those of Eq. (14).
    action_size: A of the robot; the actor's network may be wider (π0.5's is 32).
    samples: M, actions of the policy per state for V (Eq. 10).
    flow_steps: Euler steps of the policy's sampler.
    ema: decay of the actor's moving average.
    flow_time: 'uniform' (Eq. 15) or 'beta' (π0.5's own training distribution).
    mask_padding: whether padded steps and dimensions are left out of the actor's loss; openpi's
      loss counts both.
    batch_size: rows of an update of the actor, on all devices.
    microbatch: of them, those that are worked on at a time; 0 for all.
    augment: whether the actor trains on augmented images.
    beta: temperature of Eq. (11), in standard deviations of the advantage where
      `beta_unit` is 'sigma', in environment steps where it is 'raw'.
    beta_unit: 'sigma' or 'raw'.
    clip: epsilon_clip of Eq. (11).
    polyak: omega of Algorithm 1, line 8.
    critic_reads_prompt: whether the critic sees the prompt.
    target: of a critic of actions: 'mean', 'min' or 'independent': how Eq. (7) reads the target
      ensemble.
    backup: of a critic of actions: 'td' for Eq. (7)'s targets; 'corrected' for targets that span a
      whole chunk where the critic reads less of it; 'monte_carlo' for the returns as they were.
    pessimism: how Eqs. (9) and (10) read the ensemble, 'min' or 'mean'.
    past_end: 'executed', 'policy' or 'mask', see `action_critic.read`.
  """

  reward_scale: float
  return_range: tuple[float, float]
  action_size: Annotated[int, 'task.action_size']
  samples: Annotated[int, 'actor.samples']
  flow_steps: Annotated[int, 'actor.flow_steps']
  ema: Annotated[float, 'actor.ema']
  flow_time: Annotated[str, 'actor.flow_time']
  mask_padding: Annotated[bool, 'actor.mask_padding']
  batch_size: Annotated[int, 'actor.batch_size']
  microbatch: Annotated[int, 'actor.microbatch']
  augment: Annotated[bool, 'actor.augment']
  beta: Annotated[float, 'actor.beta']
  beta_unit: Annotated[str, 'actor.beta_unit']
  clip: Annotated[float, 'actor.clip']
  polyak: Annotated[float, 'critic.polyak']
  critic_reads_prompt: Annotated[bool, 'critic.prompt']
  target: Annotated[str, 'critic.target']
  backup: Annotated[str, 'critic.backup']
  pessimism: Annotated[str, 'critic.pessimism']
  past_end: Annotated[str, 'critic.past_end']

  @property
  def pieces(self) -> int:
    """Into how many an update of the actor is cut; each replica cuts its own rows likewise."""
    return self.batch_size // self.microbatch if self.microbatch else 1

  @classmethod
  def of(
    cls,
    config: ml_collections.ConfigDict,
    *,
    reward_scale: float,
    return_range: tuple[float, float],
  ) -> Self:
    """Those of a config, and what was found in the data.

    Raises:
      ValueError: the config lacks a field; names it.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {name: hint.__metadata__[0] for name, hint in hints.items() if _is_annotated(hint)}
    told = {name: _lookup(config, field) for name, field in fields.items()}
    return cls(reward_scale=reward_scale, return_range=return_range, **told)


@dataclasses.dataclass(frozen=True)
class Agent:
  """An algorithm, as its differences from the others. All else is the same for all of them.

  Attributes:
    name: of the algorithm, as people read it.
    imitates: `(source [R], succeeded [R])` to the rows [R] bool that the actor learns from;
      `succeeded` tells whether the fragment of each row ended in success.
    critic: 'action' for Q(s, a_{t:t+h}), asked as `action_critic` does; 'state' for one that is
      told the state alone; None for imitation.
    critic_loss: `(params, target_params, batch, *, critic, settings)` to the loss and metrics, one
      of which is called 'loss'; None where there is no critic.
    state_value: `(critic, params, observation, settings)` to V(s) [B], in scaled rewards; of a
      critic of states alone.
    advantage: `(params, batch, policy_action, *, critic, settings)` to A(s_t, a_{t:t+h}) [B], in
      scaled rewards; `policy_action` [B, M, h, A] is None for a critic of states. None where every
      chunk weighs the same.
    is_positive: `(advantage [R], source [R], settings)` to the chunks [R] bool whose prompt says
      that their advantage is positive, where prompts say it; such chunks all weigh the same.
    settings: what the functions above take.
    check: `(config)` raises ValueError where what a config says cannot be for this agent.

  Raises:
    ValueError: two of them do not go together.
  """

  name: str
  imitates: Callable[[np.ndarray, np.ndarray], np.ndarray]
  critic: Literal['action', 'state'] | None = None
  critic_loss: Callable[..., tuple[jax.Array, Metrics]] | None = None
  state_value: Callable[..., jax.Array] | None = None
  advantage: Callable[..., jax.Array] | None = None
  is_positive: Callable[..., np.ndarray] | None = None
  settings: type[Settings] = Settings
  check: Callable[[ml_collections.ConfigDict], None] | None = None

  def __post_init__(self) -> None:
    self._check_kinds()
    if self.critic not in ('action', 'state', None):
      raise ValueError(
        f"agent {self.name!r}: critic is {self.critic!r}; expected 'action', 'state' or None."
      )
    wanted = {
      'critic_loss': self.critic is not None,
      'state_value': self.critic == 'state',
      'advantage': self.critic is not None,
    }
    for field, needed in wanted.items():
      if needed != (getattr(self, field) is not None):
        expected = 'expected a function' if needed else 'expected none'
        raise ValueError(f'agent {self.name!r}: critic is {self.critic!r}, so {field} {expected}.')
    if self.is_positive is not None and self.advantage is None:
      raise ValueError(f'agent {self.name!r}: is_positive needs an advantage, which is None.')

  def _check_kinds(self) -> None:
    """Raises where something is no function, or the settings say not where they are from."""
    functions = ('critic_loss', 'state_value', 'advantage', 'is_positive', 'check')
    for name in ('imitates', *functions):
      value = getattr(self, name)
      if not callable(value) and (value is not None or name == 'imitates'):
        raise ValueError(f'agent {self.name!r}: {name} is {value!r}; expected a function.')
    if not (isinstance(self.settings, type) and issubclass(self.settings, Settings)):
      raise ValueError(
        f'agent {self.name!r}: settings is {self.settings!r}; expected a class that extends '
        'aloe_jax.agents.agent.Settings.'
      )
    hints = typing.get_type_hints(self.settings, include_extras=True)
    fields = {field.name for field in dataclasses.fields(self.settings)}
    if undeclared := sorted(hints.keys() - fields):
      raise ValueError(
        f'agent {self.name!r}: {self.settings.__qualname__} has {", ".join(undeclared)}, but is no '
        'dataclass; expected @dataclasses.dataclass(frozen=True) above it.'
      )
    given = ('reward_scale', 'return_range')
    for field in dataclasses.fields(self.settings):
      if field.name not in given and not _names_a_field(hints[field.name]):
        raise ValueError(
          f'agent {self.name!r}: {self.settings.__qualname__}.{field.name} does not say which '
          "field of the config it is; expected such as Annotated[float, 'toy.share']."
        )

  @property
  def samples_policy(self) -> bool:
    """Whether critic and advantage need actions sampled from the current policy."""
    return self.critic == 'action'

  @property
  def tags(self) -> bool:
    """Whether the actor is told in its prompt which chunks are positive."""
    return self.is_positive is not None

  def validate(self, config: ml_collections.ConfigDict) -> None:
    """Checks a config against what this agent is, before any work.

    Raises:
      ValueError: naming the field, what was found and what was expected.
    """
    self.settings.of(config, reward_scale=1.0, return_range=(-1.0, 0.0))
    if config.actor.best_of > 1 and self.critic != 'action':
      raise ValueError(
        f'config.actor.best_of is {config.actor.best_of}, but {self.name!r} has no critic of '
        "actions to choose by; expected 1, or an agent that has one, as 'aloe'."
      )
    if self.samples_policy and config.critic.backup == 'corrected' and not config.actor.bank:
      raise ValueError(
        "config.critic.backup is 'corrected', which asks at every later plan of a chunk what the "
        'policy would have done, but config.actor.bank is False, so that it would be sampled there '
        "in every update; expected config.actor.bank=True, or config.critic.backup='td'."
      )
    per_step = config.actor.weights == 'per_step'
    if self.critic == 'action' and per_step and config.actor.rule == 'measured':
      raise ValueError(
        "config.actor.weights is 'per_step', but config.actor.rule is 'measured', which draws "
        "chunks by their weights before the phase; expected config.actor.rule='paper', or "
        "config.actor.weights='per_phase'."
      )
    if self.tags and config.actor.weights == 'per_step':
      raise ValueError(
        f"config.actor.weights is 'per_step', but {self.name!r} tags all chunks by one threshold "
        "before the phase; expected 'per_phase'."
      )
    if self.check is not None:
      self.check(config)


@dataclasses.dataclass(frozen=True)
class Networks:
  """The modules whose parameters the train state holds; `critic` is None for imitation."""

  actor: nn.Module
  critic: nn.Module | None


def every_chunk(source: np.ndarray, succeeded: np.ndarray) -> np.ndarray:
  """Every chunk of the buffer, each with its weight (Eq. 12 is over all of D)."""
  del succeeded
  return np.ones(len(source), bool)


def _is_annotated(hint: Any) -> bool:
  return typing.get_origin(hint) is Annotated


def _names_a_field(hint: Any) -> bool:
  return _is_annotated(hint) and isinstance(hint.__metadata__[0], str)


def _lookup(config: ml_collections.ConfigDict, field: str) -> Any:
  found = config
  for name in field.split('.'):
    if name not in found:
      raise ValueError(
        f'config.{field} is read by config.agent={config.agent!r}, but is not a field of this '
        'config; add it in the config file.'
      )
    found = found[name]
  return found
