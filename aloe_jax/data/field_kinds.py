"""What the fields of a dataset can be: numbers, texts, flags; and what each is called."""

from collections.abc import Callable
import math

from aloe_jax.data import cameras
from aloe_jax.data import schema

Fits = Callable[[schema.Leaf], bool]


def is_vector(leaf: schema.Leaf) -> bool:
  """Numbers of one shape at every step."""
  return leaf.per_step and leaf.kind == 'tensor' and all(size > 0 for size in leaf.shape)


def is_matrix(leaf: schema.Leaf) -> bool:
  """Numbers [a, b] at every step."""
  return is_vector(leaf) and len(leaf.shape) == 2


def is_text(leaf: schema.Leaf) -> bool:
  """A text, or the name of a label, of the episode or of every step."""
  return (leaf.kind == 'text' or bool(leaf.names)) and not leaf.shape


def is_step_text(leaf: schema.Leaf) -> bool:
  """A text at every step."""
  return leaf.per_step and is_text(leaf)


def is_step_number(leaf: schema.Leaf) -> bool:
  """One number at every step."""
  return is_vector(leaf) and math.prod(leaf.shape) == 1


def is_outcome(leaf: schema.Leaf) -> bool:
  """One number, or a text, of the episode or of every step."""
  return leaf.kind in ('text', 'label', 'tensor') and leaf.shape in ((), (1,))


def is_step_flag(leaf: schema.Leaf) -> bool:
  """One number, or a text, at every step."""
  return leaf.per_step and is_outcome(leaf)


WANTED: dict[Fits, str] = {
  cameras.is_picture: 'images, their bytes, or uint8 pixels [H, W, 3], of 8 bits, at every step',
  is_vector: 'numbers of one shape at every step',
  is_text: 'texts',
  is_step_text: 'a text at every step',
  is_step_number: 'one number at every step',
  is_outcome: 'one number, or a text, an episode or a step',
  is_step_flag: 'one number, or a text, at every step',
}
