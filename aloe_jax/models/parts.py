"""Parts of π0.5: those that are trained, and those that stay as they were loaded.

Paths of parameters are openpi's, see `pi05`.
"""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from flax import traverse_util
import jax

# Regular expressions of whole paths. Each leaf belongs to one part, but for the projections of
# actions and time, which may be trained without the rest of the expert.
_PROJECTIONS = r'params/(action|time)_.*'
PATTERNS = {
  'vision': r'params/PaliGemma/img/.*',
  'language': r'params/PaliGemma/llm/(?!.*lora_[ab]$)(?!(.*/)?[^/]*_1(/|$)).*',
  'expert': rf'params/PaliGemma/llm/(?!.*lora_[ab]$)(.*/)?[^/]*_1(/.*)?|{_PROJECTIONS}',
  'projections': _PROJECTIONS,
  'lora': r'params/PaliGemma/llm/.*lora_[ab]',
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

  def divide(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
    """Parameters, or their shapes, as those that are trained and those that are not.

    Either may be {}.
    """
    if not self.names:
      return params, {}
    halves: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for path, leaf in traverse_util.flatten_dict(params, sep='/').items():
      is_trained = any(re.fullmatch(PATTERNS[name], path) for name in self.names)
      halves[0 if is_trained else 1][path] = leaf
    trained, frozen = (traverse_util.unflatten_dict(half, sep='/') for half in halves)
    return trained, frozen

  def split(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
    """`divide`, and what is not trained in the type that it is kept in."""
    trained, frozen = self.divide(params)
    return trained, jax.tree.map(lambda x: x.astype(self.frozen_dtype), frozen)


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
  return Trained(names, frozen_dtype)


def join(trained: Mapping[str, Any], frozen: Mapping[str, Any]) -> Any:
  """All parameters, of the two that `Trained.split` returns."""
  if not frozen:
    return trained
  halves = [traverse_util.flatten_dict(half, sep='/') for half in (trained, frozen)]
  return traverse_util.unflatten_dict(halves[0] | halves[1], sep='/')
