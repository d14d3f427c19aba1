"""Whether the statistics that states and actions are normalised by are those of the episodes.

Those of another robot, or of this one in degrees and not radians, give the networks numbers that
they were never meant to see, and training goes on without a word. So a sample of every dataset is
normalised before anything is trained: by q01 and q99, of a robot's own numbers 2 in 100 lie
outside, and few of them far.
"""

from collections.abc import Iterator, Mapping
import dataclasses

from absl import logging
import ml_collections
import numpy as np

from aloe_jax.data import fragments as fragments_lib
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.run import indices as indices_lib

ROWS = 4096  # of a dataset that are looked at
SHARE = 0.1  # of the numbers of a dimension that may lie outside of the statistics
DEVIATIONS = SHARE**-0.5  # that of no numbers at all more than `SHARE` lie outside of (Chebyshev)
_CHANCE = 3.0  # standard deviations by which a share must exceed `SHARE`, as rows are few
_BIN = 0.005  # of a range, by which q01 and q99 may miss the value that they are (`RunningStats`)
_SQUEEZED = 1 / 25  # of the range that statistics expect; less is another unit, or another robot
_MANY = 100  # rows; fewer may well hold a small part of what a robot does
_SHOWN = 8  # dimensions of a dataset that are told
_NEAR = 1.5  # factor by which a range may miss that of another unit, and is still told to be it
_UNITS = (
  (57.3, 'degrees', 'radians'),
  (255.0, '0 to 255', '0 to 1'),
  (1000.0, 'millimetres', 'metres'),
)


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
) -> None:
  """Normalises a sample of every dataset and looks at what comes out.

  Args:
    config: of the run; `data.check_statistics` says whether a misfit stops it.
    given: all its datasets.
    stats: of 'state' and 'actions'.
    inputs: made with them.
    origin: where they come from, for messages.

  Raises:
    ValueError: naming the dataset, the dimensions, both ranges and what to do.
  """
  told = []
  for directory, index in given.items():
    try:
      samples = _samples(config, steps_lib.Steps([index]), inputs)
    except ValueError as error:
      raise ValueError(f'{directory}: {error}') from error
    misfits = [
      str(misfit)
      for key, (x, rows) in samples.items()
      for misfit in _misfits(config, key, x, rows, stats[key], inputs)
    ]
    if misfits:
      more = [f'and {len(misfits) - _SHOWN} more.'] if len(misfits) > _SHOWN else []
      lines = [*misfits[:_SHOWN], *more]
      told.append(f'{directory}: the statistics ({origin}) do not fit:\n  ' + '\n  '.join(lines))
  if not told:
    return
  message = '\n'.join(told)
  if config.data.check_statistics == 'warn':
    logging.warning('%s', message)
    return
  raise ValueError(
    f'{message}\nExpected at most {SHARE:.0%} outside, and none beyond {normalize.FAR:g}. '
    'Where they are of another robot, name those of this one with config.data.norm_stats (a file, '
    "an asset of the checkpoint, or 'compute'); where they are of another unit, convert the "
    'episodes; where single steps are wrong, `python -m aloe_jax.data validate` names them. '
    "config.data.check_statistics='warn' trains with them as they are."
  )


def _samples(
  config: ml_collections.ConfigDict, steps: steps_lib.Steps, inputs: inputs_lib.Inputs
) -> dict[str, tuple[np.ndarray, int]]:
  """What statistics are of, in the robot's units: {key: (vectors [m, n], rows they are from)}."""
  plain = normalize.Identity()
  inputs = dataclasses.replace(inputs, state=plain, action=plain)
  rows = _spread(np.arange(len(steps)))
  found = {'state': (steps.state(rows)[:, : inputs.state_size], len(rows))}
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
    actions = inputs.chunk(steps.action(chunk.action_row), steps.state(starts))
    found['actions'] = np.asarray(actions)[chunk.valid], len(starts)
  return found


def _spread(rows: np.ndarray) -> np.ndarray:
  """Some of the rows, from all over, always the same; at no fixed distance, as episodes repeat."""
  if len(rows) <= ROWS:
    return rows
  return rows[np.sort(np.random.default_rng(0).choice(len(rows), ROWS, replace=False))]


def _misfits(
  config: ml_collections.ConfigDict,
  key: str,
  x: np.ndarray,
  rows: int,
  stats: normalize.Stats,
  inputs: inputs_lib.Inputs,
) -> Iterator[_Misfit | str]:
  """The numbers of vectors x [m, n] that do not fit; neighbouring vectors are much the same."""
  normalizer = {'state': inputs.state, 'actions': inputs.action}[key]
  x = x.astype(np.float64)
  farthest = np.abs(normalizer(x)).max(0)
  low, high = (bound[: x.shape[1]] for bound in _expected(config, stats))
  # What is as good as one value is one; the ends of a range are no sharper than a bin.
  narrow = normalize.is_narrow(low, high)
  still = normalize.NARROWEST * np.maximum(1, np.abs(low + high) / 2)
  slack = np.where(narrow, still, _BIN * (high - low))
  share = ((x < low - slack) | (x > high + slack)).mean(0)
  most = SHARE + _CHANCE * np.sqrt(SHARE * (1 - SHARE) / rows)
  found_low, found_high = np.quantile(x, normalize.QUANTILES, axis=0)
  with np.errstate(divide='ignore', invalid='ignore'):
    ratio = np.where(narrow, 0, (found_high - found_low) / (high - low))
  moving = np.flatnonzero(ratio > 0)
  usual = 0.0
  if len(moving):
    middle = moving[np.argsort(ratio[moving])[len(moving) // 2]]
    usual = float(ratio[middle])
  if 0 < usual < _SQUEEZED and rows >= _MANY:
    yield (
      f'{key} {middle}: the statistics expect {low[middle]:.4g} to {high[middle]:.4g}, but 98 % '
      f'here lie within {found_low[middle]:.4g} to {found_high[middle]:.4g}, and so it is with '
      f'half of the numbers that move{_hint(usual)}'
    )
  for i in np.flatnonzero((share > most) | (farthest > normalize.FAR)):
    yield _Misfit(
      key,
      int(i),
      float(share[i]),
      float(farthest[i]),
      (float(low[i]), float(low[i] if narrow[i] else high[i])),
      (float(found_low[i]), float(found_high[i])),
      (float(x[:, i].min()), float(x[:, i].max())),
      _hint(float(ratio[i])) or _hint(usual),
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
