"""Which setting would make what does not fit fit, by arithmetic from what was compiled."""

from collections.abc import Sequence
import dataclasses

import ml_collections

from aloe_jax.dry_run import estimate as estimate_lib

SHARED = ('parameters', 'average', 'moments', 'encoder')  # among the devices of parallel.fsdp
OF_ROWS = ('temporaries', 'batches')  # grow with the rows that a device has


def find(
  estimates: Sequence[estimate_lib.Estimate], config: ml_collections.ConfigDict, devices: int
) -> list[str]:
  """Changes of the config by which every program would fit, one a line; none of them was compiled.

  What is computed on the way is taken to grow with the rows of a device, what lies there all the
  time to shrink with the devices that share it.

  Args:
    estimates: of all programs of a run.
    config: that they were compiled for.
    devices: that they were compiled for.
  """
  if all(estimate.fits for estimate in estimates):
    return []
  found = []
  sharers = 1 if config.parallel.mode == 'pmap' else config.parallel.fsdp or devices
  if sharers < devices and (peak := _peak(estimates, 1.0, sharers / devices)) is not None:
    mode = '' if config.parallel.mode == 'fsdp' else '--config.parallel.mode=fsdp '
    found.append(f'{mode}--config.parallel.fsdp={devices}: {_told(peak)}')
  for size in _smaller(config.actor.microbatch or config.actor.batch_size, devices):
    peak = _peak([_in_pieces(estimate, size) for estimate in estimates], 1.0, 1.0)
    if peak is not None:
      found.append(f'--config.actor.microbatch={size}, the same update: {_told(peak)}')
      break
  for size in _smaller(config.actor.batch_size, devices):
    peak = _peak(estimates, size / config.actor.batch_size, 1.0)
    if peak is not None:
      found.append(
        f'--config.actor.batch_size={size}, and critic.batch_size in proportion: {_told(peak)}'
      )
      break
  return found


def _smaller(size: int, devices: int) -> list[int]:
  """Batch sizes below one, halved again and again, that divide by the devices."""
  found = []
  while size % 2 == 0 and size // 2 % devices == 0:
    size //= 2
    found.append(size)
  return found


def _in_pieces(estimate: estimate_lib.Estimate, size: int) -> estimate_lib.Estimate:
  """An actor update that works on so many rows at a time, beside the sum of their gradients."""
  if not estimate.name.startswith('actor'):
    return estimate
  held = dict(estimate.held)
  held['temporaries'] = held.get('temporaries', 0.0) * size / estimate.rows
  held['sum of gradients'] = held.get('parameters', 0.0)
  return dataclasses.replace(estimate, held=held)


def _peak(estimates: Sequence[estimate_lib.Estimate], rows: float, sharing: float) -> float | None:
  """The fullest device's bytes with that share of the rows and of the state; None if too many."""
  peak = 0.0
  for estimate in estimates:
    total = 0.0
    for kind, size in estimate.held.items():
      factor = rows if kind in OF_ROWS else sharing if kind in SHARED else 1.0
      total += size * factor
    if total > estimate.capacity:
      return None
    peak = max(peak, total)
  return peak


def _told(peak: float) -> str:
  return f'about {peak / 1e9:.1f} GB, by arithmetic'
