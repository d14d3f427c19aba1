"""Whether episodes say how they went, and what somebody can do where none does."""

from collections.abc import Iterable

import numpy as np

from aloe_jax import types

_UNKNOWN = (types.EndReason.NONE, types.EndReason.CUT)
ADVICE = (
  'Import again with --end-reason=success if all of them succeeded (or --success=NAME of the field '
  'that says it), name the field with --config.data.mapping.success, or give what a failure costs, '
  'in steps, with --config.fail.cost. Imitation alone, --config.iterations=0, needs none of these.'
)
NONE_KNOWN = (
  'No episode has an outcome: all end in a cut, which tells neither success nor failure, and only '
  'imitation can learn from them.'
)


def are_known(ends: Iterable[np.ndarray]) -> bool:
  """Whether any episode has an outcome: it ends in something else than a cut.

  Args:
    ends: `types.EndReason` of every step, array by array, of datasets or of episodes.
  """
  return any(not np.isin(end_reason, _UNKNOWN).all() for end_reason in ends)


def sentence(reasons: Iterable[str], advice: str = ADVICE) -> str:
  """What to say of episodes that end for these reasons, by their names; '' where one is known."""
  unknown = {reason.name.lower() for reason in _UNKNOWN}
  return '' if set(reasons) - unknown else f'{NONE_KNOWN} {advice}'
