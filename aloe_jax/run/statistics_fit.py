"""Whether the statistics that states and actions are normalised by are those of the episodes.

Those of another robot, or of this one in degrees and not radians, give the networks numbers that
they were never meant to see, and training goes on without a word. So a sample of every dataset is
normalised before anything is trained: by q01 and q99, of a robot's own numbers 2 in 100 lie
outside, and few of them far. Where they are of another unit a few numbers may also fill next to
nothing of what is expected of them, which stops nothing and is told.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses

from absl import logging
import ml_collections
import numpy as np

from aloe_jax.data import fragments as fragments_lib
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.run import episode_share
from aloe_jax.run import indices as indices_lib

ROWS = 4096  # of a dataset that are looked at
SHARE = 0.1  # of the numbers of a dimension that may lie outside of the statistics
DEVIATIONS = SHARE**-0.5  # that of no numbers at all more than `SHARE` lie outside of (Chebyshev)
_BIN = 0.005  # of a range, by which q01 and q99 may miss the value that they are (`RunningStats`)
_SQUEEZED = 1 / 25  # of the range that statistics expect; less is another unit, or another robot
_MANY = 100  # rows; fewer may well hold a small part of what a robot does
_SHOWN = 8  # dimensions of a dataset that are told
# What to do about statistics that do not fit, if they are the run's to choose and if they are not.
_CHOICE = (
  'Where they are of another robot, name those of this one with --config.data.norm_stats (a file, '
  "an asset of the checkpoint, or 'compute'); where they are of another unit, convert the episodes"
)
_NO_CHOICE = (
  'A run keeps the statistics of the checkpoint of ours that it goes on from: where they are of '
  'another unit, convert the episodes; where these are of another robot, leave the dataset out, or '
  'start from the published checkpoint with --config.data.norm_stats=compute in another --workdir'
)
_NEAR = 1.5  # factor by which a range may miss that of another unit, and is still told to be it
_UNITS = (
  (57.3, 'degrees', 'radians'),
  (255.0, '0 to 255', '0 to 1'),
  (1000.0, 'millimetres', 'metres'),
)


@dataclasses.dataclass(frozen=True, eq=False)
class _Sample:
  """Some states, or actions of some chunks.

  Attributes:
    vectors: [m, n] float64, in the robot's units.
    episode: [m] int, which one each is from.
    rows: that they are from, or chunks.
  """

  vectors: np.ndarray
  episode: np.ndarray
  rows: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Ranges:
  """What statistics expect of numbers and what there is, [n] each.

  Attributes:
    low: all but few should lie between it and `high`.
    high: see `low`.
    narrow: these two are as good as one value.
    slack: by which a value may miss them.
    found_low: 98 in 100 here lie between it and `found_high`.
    found_high: see `found_low`.
    smallest: of all here.
    largest: of all here.
    ratio: of what 98 in 100 span here to what is expected; 0 where either is one value.
    middle: the number in the middle of those that move, by `ratio`; None if none does.
  """

  low: np.ndarray
  high: np.ndarray
  narrow: np.ndarray
  slack: np.ndarray
  found_low: np.ndarray
  found_high: np.ndarray
  smallest: np.ndarray
  largest: np.ndarray
  ratio: np.ndarray
  middle: int | None

  @property
  def usual(self) -> float:
    """The `ratio` of the numbers that move."""
    return 0.0 if self.middle is None else float(self.ratio[self.middle])

  def are_small(self, sample: _Sample) -> bool:
    """Whether half of the numbers that move span next to nothing of what is expected."""
    return 0 < self.usual < _SQUEEZED and sample.rows >= _MANY


@dataclasses.dataclass(frozen=True)
class _Misfit:
  """A number of the state or of an action that the statistics do not fit."""

  key: str
  number: int
  share: float  # that lies outside
  farthest: float  # once normalised
  known: tuple[float, float]  # what the statistics expect it to lie within
  found: tuple[float, float]  # what 98 in 100 lie within here
  reach: tuple[float, float]  # smallest and largest
  hint: str

  def __str__(self) -> str:
    low, high = self.known
    expected = f'{low:.4g} to {high:.4g}' if low < high else f'{low:.4g} only'
    return (
      f'{self.key} {self.number}: the statistics expect {expected}, 98 % here lie within '
      f'{self.found[0]:.4g} to {self.found[1]:.4g} and all within {self.reach[0]:.4g} to '
      f'{self.reach[1]:.4g}: {self.share:.0%} outside, the farthest {self.farthest:.4g} once '
      f'normalised{self.hint}'
    )


def check(
  config: ml_collections.ConfigDict,
  given: indices_lib.Indices,
  stats: Mapping[str, normalize.Stats],
  inputs: inputs_lib.Inputs,
  origin: str,
  *,
  own: bool,
) -> None:
  """Normalises a sample of every dataset and looks at what comes out.

  Args:
    config: of the run; `data.check_statistics` says whether a misfit stops it.
    given: all its datasets.
    stats: of 'state' and 'actions'.
    inputs: made with them.
    origin: where they come from, for messages.
    own: they are those of a checkpoint of ours, and no setting chooses others.

  Raises:
    ValueError: naming the dataset, the dimensions, both ranges and what to do.
  """
  told = []
  for directory, index in given.items():
    try:
      samples = _samples(config, steps_lib.Steps([index]), inputs)
    except ValueError as error:
      raise ValueError(f'{directory}: {error}') from error
    misfits: list[str] = []
    small: list[str] = []
    for key, sample in samples.items():
      ranges = _ranges(config, sample, stats[key])
      misfits += map(str, _misfits(key, sample, ranges, inputs))
      small += _small(key, sample, ranges)
    if misfits:
      told.append(_listed(f'{directory}: the statistics ({origin}) do not fit:', misfits))
    if small:
      what = f'expect {1 / _SQUEEZED:.0f} times as much of these numbers, or more:'
      logging.warning('%s', _listed(f'{directory}: the statistics ({origin}) {what}', small))
  if not told:
    return
  message = '\n'.join(told)
  if config.data.check_statistics == 'warn':
    logging.warning('%s', message)
    return
  raise ValueError(
    f'{message}\nExpected at most {SHARE:.0%} outside, and none beyond {normalize.FAR:g}. '
    f'{_NO_CHOICE if own else _CHOICE}; where single steps are wrong, '
    '`python -m aloe_jax.data validate` names them. Where the policy went where nobody had '
    'demonstrated, --config.data.check_statistics=warn trains with them as they are.'
  )


def _listed(title: str, lines: Sequence[str]) -> str:
  more = [f'and {len(lines) - _SHOWN} more.'] if len(lines) > _SHOWN else []
  return '\n  '.join([title, *lines[:_SHOWN], *more])


def _samples(
  config: ml_collections.ConfigDict, steps: steps_lib.Steps, inputs: inputs_lib.Inputs
) -> dict[str, _Sample]:
  """What statistics are of, in the robot's units, by their keys."""
  plain = normalize.Identity()
  inputs = dataclasses.replace(inputs, state=plain, action=plain)
  episode = np.cumsum(steps.is_first)
  rows = _spread(np.arange(len(steps)))
  state = steps.state(rows)[:, : inputs.state_size]
  found = {'state': _Sample(state.astype(np.float64), episode[rows], len(rows))}
  fragments = fragments_lib.index(
    steps.source,
    steps.end_reason,
    steps.is_first,
    timeout=config.data.timeout,
    takeover=config.data.takeover,
  )
  starts = _spread(fragments_lib.starts(fragments))
  if len(starts):
    no_reward = np.zeros(len(steps), np.float32)
    chunk = fragments_lib.chunk(fragments, starts, config.task.chunk, no_reward, config.discount)
    actions = np.asarray(inputs.chunk(steps.action(chunk.action_row), steps.state(starts)))
    found['actions'] = _Sample(
      actions[chunk.valid].astype(np.float64), episode[chunk.action_row[chunk.valid]], len(starts)
    )
  return found


def _spread(rows: np.ndarray) -> np.ndarray:
  """Some of the rows, from all over, always the same; at no fixed distance, as episodes repeat."""
  if len(rows) <= ROWS:
    return rows
  return rows[np.sort(np.random.default_rng(0).choice(len(rows), ROWS, replace=False))]


def _ranges(config: ml_collections.ConfigDict, sample: _Sample, stats: normalize.Stats) -> _Ranges:
  x = sample.vectors
  low, high = (bound[: x.shape[1]] for bound in _expected(config, stats))
  # What is as good as one value is one; the ends of a range are no sharper than a bin.
  narrow = normalize.is_narrow(low, high)
  still = normalize.NARROWEST * np.maximum(1, np.abs(low + high) / 2)
  slack = np.where(narrow, still, _BIN * (high - low))
  found_low, found_high = np.quantile(x, normalize.QUANTILES, axis=0)
  with np.errstate(divide='ignore', invalid='ignore'):
    ratio = np.where(narrow, 0, (found_high - found_low) / (high - low))
  moving = np.flatnonzero(ratio > 0)
  middle = int(moving[np.argsort(ratio[moving])[len(moving) // 2]]) if len(moving) else None
  return _Ranges(low, high, narrow, slack, found_low, found_high, x.min(0), x.max(0), ratio, middle)


def _misfits(
  key: str, sample: _Sample, ranges: _Ranges, inputs: inputs_lib.Inputs
) -> Iterator[_Misfit | str]:
  """The numbers of the vectors that do not fit; neighbouring vectors are much the same."""
  x, low, high = sample.vectors, ranges.low, ranges.high
  normalizer = {'state': inputs.state, 'actions': inputs.action}[key]
  farthest = np.abs(normalizer(x)).max(0)
  outside = (x < low - ranges.slack) | (x > high + ranges.slack)
  share = outside.mean(0)
  often = episode_share.exceeds(outside, sample.episode, SHARE)
  middle = ranges.middle
  if ranges.are_small(sample):
    yield (
      f'{key} {middle}: the statistics expect {low[middle]:.4g} to {high[middle]:.4g}, but 98 % '
      f'here lie within {ranges.found_low[middle]:.4g} to {ranges.found_high[middle]:.4g}, and so '
      f'it is with half of the numbers that move{_hint(ranges.usual)}'
    )
  for i in np.flatnonzero(often | (farthest > normalize.FAR)):
    yield _Misfit(
      key,
      int(i),
      float(share[i]),
      float(farthest[i]),
      (float(low[i]), float(low[i] if ranges.narrow[i] else high[i])),
      (float(ranges.found_low[i]), float(ranges.found_high[i])),
      (float(ranges.smallest[i]), float(ranges.largest[i])),
      _hint(float(ranges.ratio[i])) or _hint(ranges.usual),
    )


def _small(key: str, sample: _Sample, ranges: _Ranges) -> Iterator[str]:
  """The numbers that move, and stay within a small part of what is expected of them."""
  if sample.rows < _MANY or ranges.are_small(sample):
    return
  reach = ranges.largest - ranges.smallest
  moves = ~ranges.narrow & ~normalize.is_narrow(ranges.smallest, ranges.largest)
  for i in np.flatnonzero(moves & (reach < _SQUEEZED * (ranges.high - ranges.low))):
    yield (
      f'{key} {i}: the statistics expect {ranges.low[i]:.4g} to {ranges.high[i]:.4g}, and all here '
      f'lie within {ranges.smallest[i]:.4g} to {ranges.largest[i]:.4g}'
      f'{_hint(float(reach[i] / (ranges.high[i] - ranges.low[i])))}'
    )


def _expected(
  config: ml_collections.ConfigDict, stats: normalize.Stats
) -> tuple[np.ndarray, np.ndarray]:
  """[n] each, what all but few numbers should lie within."""
  if config.data.normalization == 'zscore':
    return stats.mean - DEVIATIONS * stats.std, stats.mean + DEVIATIONS * stats.std
  assert stats.q01 is not None
  assert stats.q99 is not None
  return stats.q01, stats.q99


def _hint(ratio: float) -> str:
  """The units that would make one range so many times as wide as another."""
  for factor, large, small in _UNITS:
    for wide, here, there in ((ratio, large, small), (1 / ratio if ratio else 0, small, large)):
      if factor / _NEAR < wide < factor * _NEAR:
        times = f'{ratio:.3g} times as wide'
        return f'; {times}, as {here} are where the statistics are in {there}'
  return ''
