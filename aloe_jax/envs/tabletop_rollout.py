"""Rollouts on the table top: a policy in many environments at once, a human ready to take over.

All environments advance in lockstep inside one compiled program. A policy's chunk of h actions
is played for e of them, then asked for again. Where a human watches, the policy's fragment ends
as `failure` or `timeout` when it failed, and as `takeover` when the human saw danger and
reached for the controls; either way the human goes on from there in a new fragment.

Legend of shapes: E environments, T recorded steps, h chunk horizon, A action width.
"""

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.envs import human as human_lib
from aloe_jax.envs import shared_out
from aloe_jax.envs import simulation
from aloe_jax.envs import tabletop
from aloe_jax.parallel import hosts
from aloe_jax.parallel import sharding
from aloe_jax.policy import Policy

SEGMENT = 24  # steps per compiled call: between calls, progress is shown and the end checked


@dataclasses.dataclass(frozen=True)
class Setup:
  """What a rollout compiles for.

  Attributes:
    sim: the environment.
    see: what a policy sees of one state.
    execute: e, steps of a chunk that are played before the policy is asked again.
    human: 'none' (evaluation), 'watching' (collection) or 'demonstrating' (no policy).
    style, mode: of the human, see `human.init`.
    layout: of the policy's parameters; read where several hosts share the episodes.
  """

  sim: tabletop.Simulator
  see: simulation.See
  execute: int = 1
  human: str = 'none'
  style: str = 'mixture'
  mode: str = 'mixture'
  layout: sharding.Layout | None = dataclasses.field(default=None, compare=False)

  def run(
    self,
    policy: Policy | None,
    *,
    key: jax.Array,
    episodes: int,
    progress: simulation.Progress = simulation.untold,
  ) -> simulation.Trajectories:
    """Runs E environments side by side; see `simulation.Simulation`.

    Returns:
      Trajectories of T <= twice the task's limit steps.
    """
    if hosts.count() > 1:
      share = shared_out.share(episodes, None if policy is None else self.layout)
      return self._run_share(share, policy, key, progress)
    key_reset, key_steps = jax.random.split(key)
    environments = _reset(self, key_reset, episodes)
    if policy is not None:
      environments = sharding.beside(environments, policy)
    segments: list[simulation.Trajectories] = []
    finished = 0
    while finished < episodes:
      segment_key = jax.random.fold_in(key_steps, len(segments))
      environments, record = _segment(self, environments, policy, segment_key)
      segments.append(jax.tree.map(np.asarray, record))
      finished = int(environments.finished.sum())
      progress(finished, episodes, sum(int(s.active.sum()) for s in segments))
    return jax.tree.map(lambda *x: np.concatenate(x).swapaxes(0, 1), *segments)

  def _run_share(
    self,
    share: shared_out.Share,
    policy: Policy | None,
    key: jax.Array,
    progress: simulation.Progress,
  ) -> simulation.Trajectories:
    """`run` of this host's episodes, which are what they are where one host plays them all."""
    key_reset, key_steps = jax.random.split(key)
    environments = _reset(self, key_reset, share.episodes, share.number)
    environments = environments.replace(finished=share.spare)
    environments = share.place(jax.tree.map(np.asarray, environments))
    segments: list[simulation.Trajectories] = []
    finished, steps = 0, 0
    while finished < share.episodes:
      segment_key = jax.random.fold_in(key_steps, len(segments))
      environments, record = _segment(self, environments, policy, segment_key, share.episodes)
      segments.append(share.fetch(_by_episode(record)))
      steps += int(segments[-1].active.sum())
      finished, played = share.finished(share.fetch(environments.finished), steps)
      progress(finished, share.episodes, played)
    return share.together(jax.tree.map(lambda *x: np.concatenate(x, axis=1), *segments))


@flax.struct.dataclass
class _Environment:
  state: Any
  human: human_lib.HumanState
  source: jax.Array
  finished: jax.Array
  number: jax.Array | None = None  # of the episode, where there are others elsewhere


@functools.partial(jax.jit, static_argnums=(0, 2))
def _reset(
  setup: Setup, key: jax.Array, episodes: int, number: jax.Array | None = None
) -> _Environment:
  """[E] fresh environments, each with the person who watches or demonstrates; or some of them."""

  def one(key: jax.Array) -> _Environment:
    key_state, key_human = jax.random.split(key)
    demonstrating = setup.human == 'demonstrating'
    return _Environment(
      state=setup.sim.reset(key_state),
      human=human_lib.init(key_human, setup.sim, setup.style, setup.mode),
      source=jnp.int8(types.Source.DEMO if demonstrating else types.Source.POLICY),
      finished=jnp.bool_(False),
    )

  keys = jax.random.split(key, episodes)
  if number is None:
    return jax.vmap(one)(keys)
  return jax.vmap(one)(keys[number]).replace(number=number)


@jax.jit
def _by_episode(record: simulation.Trajectories) -> simulation.Trajectories:
  return jax.tree.map(lambda x: x.swapaxes(0, 1), record)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _segment(
  setup: Setup,
  environments: _Environment,
  policy: Policy | None,
  key: jax.Array,
  episodes: int | None = None,
) -> tuple[_Environment, simulation.Trajectories]:
  """Advances environments by about `SEGMENT` steps; the record's leaves are [T, E, ...].

  Of E environments among more `episodes` each has the randomness of its number.
  """
  blocks = max(1, SEGMENT // setup.execute)

  def block(environments: _Environment, key: jax.Array) -> tuple[_Environment, Any]:
    key_policy, key_steps = jax.random.split(key)
    sight = jax.vmap(setup.see)(environments.state)
    if policy is None:
      planned = jnp.zeros((setup.execute, len(sight.state), tabletop.ACTION_SIZE))
    else:
      numbered = () if environments.number is None else (environments.number,)
      chunk = jnp.asarray(policy.act(sight, key_policy, *numbered))
      planned = chunk[:, : setup.execute].swapaxes(0, 1)

    def steps(
      environments: _Environment, inputs: tuple[jax.Array, jax.Array]
    ) -> tuple[_Environment, Any]:
      planned, key = inputs
      keys = jax.random.split(key, episodes or len(planned))
      if environments.number is not None:
        keys = keys[environments.number]
      return jax.vmap(functools.partial(_step, setup))(environments, planned, keys)

    keys = jax.random.split(key_steps, setup.execute)
    return jax.lax.scan(steps, environments, (planned, keys))

  environments, record = jax.lax.scan(block, environments, jax.random.split(key, blocks))
  return environments, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), record)


def _step(
  setup: Setup, environment: _Environment, planned: jax.Array, key: jax.Array
) -> tuple[_Environment, simulation.Trajectories]:
  """One step of one environment, by whoever is at the controls, and what is recorded of it."""
  key_human, key_step = jax.random.split(key)
  before = environment.state
  by_policy = environment.source == types.Source.POLICY
  human_action, human = human_lib.act(before, environment.human, key_human)
  # What is done is what is recorded: a critic that read a command beyond what the arms can do
  # would take it for another one with the same consequence.
  action = tabletop.executed(jnp.where(by_policy, planned, human_action))
  state = setup.sim.step(before, action, key_step)
  end_reason = state.end_reason
  takes_over = jnp.bool_(False)
  if setup.human == 'watching':
    danger = by_policy & ~state.done & human_lib.danger(state)
    end_reason = jnp.where(danger, types.EndReason.TAKEOVER, end_reason)
    failed = state.done & (end_reason != types.EndReason.SUCCESS)
    takes_over = by_policy & (failed | danger)
    helped = _choose(failed, human_lib.recover(state), state.replace(t=jnp.zeros_like(state.t)))
    state = _choose(takes_over, helped, state)
  sight = setup.see(before)
  record = simulation.Trajectories(
    state=sight.state,
    features=sight.features,
    action=action,
    source=environment.source,
    end_reason=jnp.where(environment.finished, 0, end_reason).astype(jnp.int8),
    active=~environment.finished,
    simulator_state=before,
  )
  environment = environment.replace(
    state=state,
    human=human,
    source=jnp.where(takes_over, jnp.int8(types.Source.HUMAN), environment.source),
    finished=environment.finished | state.done,
  )
  return environment, record


def _choose(condition: jax.Array, yes: Any, no: Any) -> Any:
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
