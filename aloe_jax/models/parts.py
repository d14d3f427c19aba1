"""Parts of π0.5: those that are trained, and those that stay as they were loaded.

Paths of parameters are openpi's, see `pi05`.
"""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from flax import traverse_util
import jax

# Regular expressions of whole paths; each leaf belongs to one part.
PATTERNS = {
  'vision': r'params/PaliGemma/img/.*',
  'language': r'params/PaliGemma/llm/(?!(.*/)?[^/]*_1(/|$)).*',
  'expert': r'params/PaliGemma/llm/(.*/)?[^/]*_1(/.*)?|params/(action|time)_.*',
}


@dataclasses.dataclass(frozen=True)
class Trained:
  """Which parameters of an actor are trained.

  Attributes:
    names: of the parts, from `PATTERNS`; empty for all, whatever the actor is.
    frozen_dtype: type that the others are kept in; they have no gradients, no moments and no moving
      average.
  """

  names: tuple[str, ...] = ()
  frozen_dtype: str = 'float32'

  def split(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
    """Parameters, or their shapes, as those that are trained and those that are not.

    The latter are given their type. Either may be {}.
    """
    if not self.names:
      return params, {}
    trained, frozen = {}, {}
    for path, leaf in traverse_util.flatten_dict(params, sep='/').items():
      if any(re.fullmatch(PATTERNS[name], path) for name in self.names):
        trained[path] = leaf
      else:
        frozen[path] = _typed(leaf, self.frozen_dtype)
    return tuple(traverse_util.unflatten_dict(half, sep='/') for half in (trained, frozen))


EVERYTHING = Trained()


def parse(text: str, frozen_dtype: str) -> Trained:
  """What `actor.train` says: 'all', or names of parts joined by '+'.

  Raises:
    ValueError: there is no such part; names those that there are.
  """
  if text == 'all':
    return EVERYTHING
  names = tuple(name.strip() for name in text.split('+'))
  wrong = [name for name in names if name not in PATTERNS]
  if wrong or len(set(names)) != len(names):
    raise ValueError(
      f"config.actor.train is {text!r}; expected 'all', or one or several of "
      f"{', '.join(PATTERNS)}, joined by '+', such as 'language+expert'."
    )
  return EVERYTHING if set(names) == set(PATTERNS) else Trained(names, frozen_dtype)


def join(trained: Mapping[str, Any], frozen: Mapping[str, Any]) -> Any:
  """All parameters, of the two that `Trained.split` returns."""
  if not frozen:
    return trained
  halves = [traverse_util.flatten_dict(half, sep='/') for half in (trained, frozen)]
  return traverse_util.unflatten_dict(halves[0] | halves[1], sep='/')


def _typed(leaf: Any, dtype: str) -> Any:
  if isinstance(leaf, jax.ShapeDtypeStruct):
    return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=leaf.sharding)
  return leaf.astype(dtype)
