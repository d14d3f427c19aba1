"""Shards that are not there, as of a large public dataset of which only some were downloaded."""

from collections.abc import Iterable, Iterator, Sequence
import itertools

from aloe_jax.data import schema


def find(shards: Iterable[schema.Shard]) -> list[schema.Shard]:
  """Those of some shards that are not there."""
  return [shard for shard in shards if not shard.path.exists()]


def told(shards: Sequence[schema.Shard]) -> str:
  """What of a split is missing and what is there, for a person; '' where nothing is missing.

  Args:
    shards: all of the split, in order.
  """
  absent = set(find(shards))
  if not absent:
    return ''
  numbers = [number for number, shard in enumerate(shards) if shard in absent]
  first = shards[numbers[0]].path
  total, lost = (sum(shard.num_records for shard in some) for some in (shards, absent))
  return (
    f'{first}: the shard is missing. Of the {len(shards)} shards of the split, counted from 0, '
    f'{", ".join(_ranges(numbers))} are not there, with {lost} of {total} episodes; '
    f'{total - lost} episodes are there.'
  )


def check(shards: Sequence[schema.Shard], *, skip: bool) -> None:
  """Raises FileNotFoundError where shards are missing, or with `skip` where all are."""
  message = told(shards)
  if message and (not skip or len(find(shards)) == len(shards)):
    raise FileNotFoundError(f'{message} {advice(shards)}')


def advice(shards: Sequence[schema.Shard]) -> str:
  """What is to be done where some are missing."""
  if len(find(shards)) == len(shards):
    return 'Copy the dataset again from its source.'
  return (
    'Copy them from their source, or go on without them: config.data.on_error=skip in training, '
    '--on-error=skip in `data`.'
  )


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
  """Ascending numbers, those that follow one another as '3-7'."""
  for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
    first, *others = [number for _, number in run]
    yield f'{first}-{others[-1]}' if others else str(first)
