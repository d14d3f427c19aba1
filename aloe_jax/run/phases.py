"""Phases of a run: which there are, and the numbers of their checkpoints.

The warm start leaves checkpoint 0, the critic of iteration i checkpoint 2i - 1 and its actor 2i.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Phase:
  """A phase that leaves a checkpoint.

  Attributes:
    what: it is called on the screen.
    number: of the checkpoint.
    name: in the checkpoint.
    iteration: of the run.
  """

  what: str
  number: int
  name: str
  iteration: int


def critic_number(iteration: int) -> int:
  """Of the checkpoint after the critic of an iteration, from 1 on."""
  return 2 * iteration - 1


def actor_number(iteration: int) -> int:
  """Of the checkpoint after the actor of an iteration, from 1 on."""
  return 2 * iteration


def following(done: int | None, *, warms_up: bool, has_critic: bool) -> int:
  """Number of the checkpoint that comes after one, `done` being None for none."""
  if done is None and warms_up:
    return 0
  number = (done or 0) + 1
  return number if has_critic or number % 2 == 0 else number + 1


def is_done(done: int | None, number: int) -> bool:
  """Whether a checkpoint is there, `done` being the newest one's number."""
  return done is not None and number <= done
