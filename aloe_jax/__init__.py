"""ALOE: action-level off-policy evaluation for post-training vision-language-action models.

`aloe_jax.load` gives the policy and the critic of a run to any program; the commands are
`python -m aloe_jax.train` and those beside it.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from aloe_jax.run import loaded


def load(
  path: str | os.PathLike[str], *, tokenizer: str | None = None, encoder: str | None = None
) -> 'loaded.LoadedPolicy':
  """The policy of a run, ready to act, and its critic; see `loaded.load`.

  JAX is imported by the first call, not by `import aloe_jax`.
  """
  from aloe_jax.run import loaded

  return loaded.load(path, tokenizer=tokenizer, encoder=encoder)
