"""Which checkpoints of a run go where only some are to be kept."""

from collections.abc import Sequence


def numbers(written: Sequence[int], keep: int, best: int | None) -> list[int]:
  """Checkpoints that may be removed.

  Those that a run needs stay in any case: the newest, the newest of a policy, which may act, and
  the best policy by its evaluations.

  Args:
    written: numbers of all that there are.
    keep: how many of the newest are kept; 0 for all.
    best: number of the policy that has succeeded most often, None if none was evaluated.

  Returns:
    Their numbers, the oldest first.
  """
  if not keep:
    return []
  ordered = sorted(written)
  needed = {*ordered[-keep:], best}
  needed |= {max((number for number in ordered if number % 2 == 0), default=None)}
  return [number for number in ordered if number not in needed]
