"""Streams of randomness: every random number of a run comes of `config.seed` by one of these."""

import enum

import jax

_STREAMS, _NUMBERS = 16, 4096  # room for as many streams of a seed, and numbers of a stream


class Stream(enum.IntEnum):
  """What random numbers are for; on disk are their consequences, so none is ever renumbered."""

  DEMONSTRATIONS = 1
  COLLECT = 2
  BANK = 3
  CRITIC_ROWS = 4
  ACTOR_ROWS = 5
  HELD_OUT = 6  # episodes that the report plays
  REPORT_SAMPLES = 7
  IMITATED = 8  # chunks that are drawn by their weights


def key(seed: int, stream: Stream, number: int) -> jax.Array:
  """A JAX key that no other (seed, stream, number) shares.

  Args:
    seed: `config.seed`.
    stream: what it is for.
    number: of the round or iteration.
  """
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), number)


def integer(seed: int, stream: Stream, number: int) -> int:
  """A seed for NumPy that no other (seed, stream, number) shares, `number` being below 4096."""
  if not 0 <= number < _NUMBERS:
    raise ValueError(f'number {number} of the stream {stream.name}: expected 0 to {_NUMBERS - 1}.')
  return (seed * _STREAMS + stream) * _NUMBERS + number
