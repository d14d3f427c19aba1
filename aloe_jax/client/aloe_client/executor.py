"""Plays e of every h actions at the robot's rate while the next chunk is on its way.

Actions are counted as they are executed. A chunk was planned from one observation, and its action k
is for the k-th action executed from then on: what was executed while the reply was on its way is
skipped, and nothing else, however long the reply took. Where no action is left, or the server is
silent for longer than `stale` seconds, the robot holds: no action of the old chunk is played again.
Nor is one after a standstill of the loop itself: the robot may have been moved meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import time
from typing import Any

import numpy as np

from aloe_client import acting as acting_lib
from aloe_client import answers as answers_lib
from aloe_client import bounds
from aloe_client import delay as delay_lib
from aloe_client import events as events_lib
from aloe_client import motion
from aloe_client import person as person_lib
from aloe_client import plan as plan_lib
from aloe_client import rest as rest_lib
from aloe_client import standstill

_LEAST_TICKS = 2  # that a loop may miss, however short `stale` is


class Executor:
  """Decides the command of every tick; called from one thread, at `hz`.

  Attributes:
    plan: that is played, or None.
    who: policy or human.
    delay: of replies, in ticks.
    acting: the checkpoint that answers.
  """

  def __init__(
    self,
    asks: answers_lib.Asks,
    *,
    hz: float,
    execute: int,
    size: int | None = None,
    limits: motion.Limits | None = None,
    kind: str = 'position',
    turns: Sequence[bool] | None = None,
    same: bool = False,
    hold: Callable[[np.ndarray], Any] | None = None,
    stale: float = 1.0,
    fade: float = 1.0,
    real_time: bool = False,
    options: dict[str, Any] | None = None,
    acting: acting_lib.Acting | None = None,
    on_plan: Callable[[plan_lib.Plan], None] | None = None,
    events: events_lib.Events | None = None,
    clock: Any = time,
  ):
    """Plays nothing yet.

    Args:
      asks: the server.
      hz: ticks a second.
      execute: e, actions of a chunk that are played before the next takes over.
      size: A, numbers of an action, by the word of the server or of the robot; None where nobody
        says, then the first action has it.
      limits: of commands.
      kind: of actions, position or velocity.
      turns: see `rest.Rest`.
      same: whether the state is the very numbers of an action, so that it says where the robot is.
      hold: the rule of `rest.Rest`.
      stale: seconds that the server may be silent, or the loop stand still, before the robot holds.
      fade: seconds over which a hand-over to a person closes the gap (positions only).
      real_time: send what is left of the chunk in flight along (real-time chunking).
      options: of every request, beyond that; None where the server knows none.
      acting: the checkpoint that answers; by default none is known.
      on_plan: called with every chunk when it arrives.
      events: of what happens.
      clock: has `monotonic` and `time`.
    """
    self.plan: plan_lib.Plan | None = None
    self.who = 'policy'
    self.delay = delay_lib.Delay()
    self.acting = acting or acting_lib.Acting({})
    self._asks, self._execute = asks, execute
    self._kind, self._same = kind, same
    self._stale, self._longest = stale, max(stale, _LEAST_TICKS / hz)
    self._real_time, self._options = real_time, options
    self._on_plan = on_plan or (lambda plan: None)
    self._events = events = events or events_lib.Events(clock)
    self._bounds = bounds.Bounds(limits, events)
    self._answers = answers_lib.Answers(asks, self.acting, events)
    self._standstill = standstill.Standstill(self._longest, events, clock)
    self._rest = rest_lib.Rest(kind=kind, turns=turns, rule=hold, events=events)
    fades = kind != 'velocity'
    self._person = person_lib.Person(max(1, round(fade * hz)) if fades else None, events)
    self._clock = clock
    self._size = size
    self._guessed = False  # the size, by a person's action
    self._tick = self._executed = self._numbers = self._generation = 0
    self._next: plan_lib.Plan | None = None
    self._index = self._start = 0
    self._last: np.ndarray | None = None  # command
    self._before: np.ndarray | None = None  # the one before this tick's
    self._why = ''  # the robot holds
    self._waiting: float | None = None  # since when the server is silent
    self._was_late = self._too_slow = False

  @property
  def holding(self) -> str:
    """Why the robot holds, or empty."""
    return self._why or ('person' if self._person.trouble else '')

  def tick(
    self, observation: dict[str, Any], state: np.ndarray, step: int, *, whole: bool = True
  ) -> plan_lib.Command:
    """The command for an observation.

    Args:
      observation: the request without options; it may be changed once this returns.
      state: [n] numbers of it.
      step: of the episode that this is, if the robot moves in it.
      whole: nothing is missing in it; else the server is not asked in this tick.
    """
    self._tick += 1
    self._notice(state)
    self._before = self._last
    self._collect()
    if self._why in ('unseen', 'unsent'):
      self._why = _FIRST if self.who == 'policy' else ''
      self._rest.forget()
    if self.who == 'human':
      return self._of_human(observation, state)
    self._turn()
    if whole:
      self._ask(observation, step)
    command = self._of_policy(state)
    if command.action is not None:
      self._last = command.action
    return command

  def rest(self, state: np.ndarray) -> np.ndarray | None:
    """The action [A] that keeps the robot where it came to rest; None where none is known."""
    return self._rest.action(state, self._size, self._last)

  def idle(self, observation: dict[str, Any], state: np.ndarray) -> np.ndarray | None:
    """The action [A] between episodes: a person's, or the one that keeps the robot at rest."""
    self._notice(state)
    self._before = self._last
    if self.who == 'human':
      return self._of_human(observation, state).action
    return self.rest(state)

  def blind(self, state: np.ndarray) -> np.ndarray | None:
    """As `rest`, while nothing of use is seen; `state` [n] was seen last. The chunk is dropped."""
    self._notice(None)
    if self._why != 'unseen':
      self._drop()
      self._why = 'unseen'
    return self.rest(state)

  def unsent(self, state: np.ndarray) -> np.ndarray | None:
    """As `rest`, where the last command was of no use and never sent. The chunk is dropped."""
    self._last = self._before
    self._drop()
    self._why = 'unsent'
    return self.rest(state)

  def executed(self, action: np.ndarray) -> None:
    """Says what the robot made of the last command, [A], where it was something else."""
    self._last = np.asarray(action, np.float32)

  def takeover(self, source: person_lib.Source) -> None:
    """A person acts from the next tick on; the chunk is dropped."""
    self._drop()
    self.who = 'human'
    self._person.begin(source)

  def release(self) -> None:
    """The policy acts again, from a chunk planned from now on; until then the robot holds."""
    if self.who == 'human':
      self._drop()
      self.who = 'policy'
      self._person.leave()

  def reset(self) -> None:
    """A new episode: nothing of the last one is played, and nobody has moved yet."""
    self._drop()
    self.who = 'policy'
    self._standstill.forget()
    self._person.leave()
    if self._guessed:
      self._size, self._guessed = None, False
    if self._kind != 'velocity':
      self._last = None  # the robot may be moved by hand until it begins

  def _drop(self) -> None:
    """Forgets the chunk, and the one on its way."""
    self._generation += 1
    self.plan = self._next = None
    self._index = self._start = 0
    self._why, self._waiting = '', None
    self._rest.forget()
    self._was_late = False

  def _notice(self, state: np.ndarray | None) -> None:
    """Notes a tick; after a standstill of the loop nothing is left of what was planned before.

    Args:
      state: [n] of the robot now; None where it is not seen.
    """
    if not self._standstill.tick(self.who):
      return
    self._drop()
    if self.who == 'human':
      self._person.approach()
      where = None if state is None else self._as_action(state, self._size or state.size)
      self._last = self._last if where is None or self._kind == 'velocity' else where
    else:
      self._why = 'stalled'
      self._last = self._last if self._kind == 'velocity' else None  # where it is, nobody knows

  # The server

  def _collect(self) -> None:
    """Takes the answer that has come, if it still is one to what is going on."""
    reply = self._answers.take(self._generation, self._size)
    if reply is None:
      return
    asked, actions = reply.asked, reply.actions
    delay = self._tick - asked.tick
    age = self._clock.monotonic() - asked.sent
    late = age > (self._stale if self.plan is None else self._longest)
    if late and not self._was_late:  # the world has moved on: asked once more, then it is taken
      self._was_late, self._waiting = True, None
      self._why = self._why if self.plan is None else 'silent'
      self.plan = None
      self._events.add(
        'late', f'A reply took {reply.seconds:.1f} s and was left out; the robot asks anew.'
      )
      return
    self._was_late = late
    self._waiting = None
    self.delay.add(delay)
    self._size = actions.shape[1]
    self._warn_of_delay(len(actions))
    self._next = plan_lib.Plan(
      number=asked.number,
      step=asked.step,
      time=asked.time,
      reply=reply.told,
      actions=actions,
      skipped=asked.executed,  # the count then, until the chunk is played
      delay=delay,
      told_delay=asked.told_delay,
      latency=reply.seconds,
    )

  def _warn_of_delay(self, horizon: int) -> None:
    limit = self._limit(horizon)
    slow = self.delay.ticks > limit
    if slow and not self._too_slow:
      self._events.add(
        'delay',
        f'Replies take {self.delay.ticks} ticks; {self._execute} of {horizon} actions leave room '
        f'for {limit}. The robot will stand still at times: execute fewer (execute=), or speed up '
        'the server.',
        loud=True,
      )
      self._too_slow = True  # told once: delays come and go

  def _limit(self, horizon: int) -> int:
    """Ticks that a reply may take without a chunk being played to its end."""
    return max(horizon - self._execute, 1)

  def _turn(self) -> None:
    """Takes the next chunk up: the one before has had its e actions, or it would run short."""
    if self._next is None:
      return
    playing = self.plan is not None and self._index < len(self.plan.actions) and not self._why
    skipped = self._executed - self._next.skipped
    early = self._index - self._start < self._execute
    if playing and early and skipped < self._limit(len(self._next.actions)):
      return
    plan, self._next = self._next, None
    plan.skipped = skipped
    if plan.skipped >= len(plan.actions):
      self._events.add(
        'late', f'All {len(plan.actions)} actions of a chunk are past; the robot asks anew.'
      )
      return
    if self._why and self._why != _FIRST:
      self._events.add('resume', 'The policy acts again.')
    self.plan, self._index, self._start = plan, plan.skipped, plan.skipped
    self._why = ''
    self._rest.forget()
    self._on_plan(plan)

  def _ask(self, observation: dict[str, Any], step: int) -> None:
    if self._next is not None or not self._asks.ready:
      return
    delay = self.delay.ticks
    if self.plan is not None:
      left = len(self.plan.actions) - self._index
      if self._index - self._start < self._execute - delay and left > delay:
        return
    request = _copied(observation)
    told = None
    if self._options is not None:
      options = dict(self._options)
      if self._real_time and self.plan is not None and self._index < len(self.plan.actions):
        prefix = self._bounds.followed(self.plan.actions[self._index :], self._last)
        told = min(delay, self._limit(len(self.plan.actions)), len(prefix))
        options.update(prefix=prefix, delay=told)
      request['aloe'] = options
    now = self._clock.monotonic()
    asked = plan_lib.Asked(
      self._numbers,
      self._generation,
      step if step or self.plan is not None else None,  # what precedes the first action is not kept
      self._clock.time(),
      now,
      self._tick,
      self._executed,
      told,
    )
    self._numbers += 1
    self._asks.send(asked, request)
    if self._waiting is None:
      self._waiting = now

  # Commands

  def _of_policy(self, state: np.ndarray) -> plan_lib.Command:
    silent = 0.0 if self._waiting is None else self._clock.monotonic() - self._waiting
    if self.plan is not None and self._index < len(self.plan.actions) and silent <= self._stale:
      requested = self.plan.actions[self._index]
      plan, index = self.plan.number, self._index
      self._index += 1
      self._executed += 1
      before = self._last if self._last is not None else self._as_action(state, requested.size)
      action = self._bounds.apply(requested, before)
      return plan_lib.Command(action, requested, 'policy', held=False, plan=plan, index=index)
    return self._held_command(state, silent)

  def _held_command(self, state: np.ndarray, silent: float) -> plan_lib.Command:
    if silent > self._stale and self._why != 'silent':
      self._why = 'silent'
      text = f'There has been no new chunk for {silent:.1f} s: the robot holds.'
      self._events.add('hold', text, loud=True)
    elif not self._why and self.plan is not None:
      self._why = 'played'
      self._events.add('hold', 'The chunk is played to its end: the robot holds.')
    elif not self._why:
      self._why = _FIRST
    self.plan = None  # what is left of it is never played
    held = self.rest(state)
    return plan_lib.Command(held, held, self.who, held=True)

  def _of_human(self, observation: dict[str, Any], state: np.ndarray) -> plan_lib.Command:
    requested = self._person.action(observation, self._size)
    if requested is None:
      held = self.rest(state)
      return plan_lib.Command(held, held, 'human', held=True)
    self._rest.forget()
    if self._size is None:
      self._size, self._guessed = requested.size, True
    before = self._last if self._last is not None else self._as_action(state, requested.size)
    self._last = self._bounds.apply(self._person.approached(requested, before), before)
    return plan_lib.Command(self._last, requested, 'human', held=False)

  def _as_action(self, state: np.ndarray, size: int) -> np.ndarray | None:
    """Where the robot is, where its state says so in the numbers of an action."""
    if self._kind == 'velocity':
      return np.zeros(size, np.float32)
    return state if self._same and state.size == size else None


_FIRST = 'first'  # a first chunk is on its way: of an episode, or after a person


def _copied(value: Any) -> Any:
  """A request of which the robot may change its own arrays while it is sent."""
  if isinstance(value, dict):
    return {key: _copied(part) for key, part in value.items()}
  return np.array(value) if isinstance(value, np.ndarray) else value
