"""In which type a function first reads each of its parameters.

A network that computes in half precision keeps most of its parameters in float32 and rounds them
wherever it uses them. Rounded beforehand they give the same numbers, bit for bit, at half the
memory and half the bytes between devices. Which they are is told by a trace of the function, so
that no list beside the model can be wrong about it.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flax import linen as nn
import jax
from jax.extend import core
import jax.numpy as jnp

# Primitives that move numbers of their first operand and change none: rounded before or after is
# the same. What is not here reads its operands as they are.
_MOVES = frozenset(
  ('broadcast_in_dim', 'copy', 'dynamic_slice', 'gather', 'reshape', 'rev', 'sharding_constraint',
   'slice', 'split', 'squeeze', 'transpose')
)  # fmt: skip
_CALLS = frozenset(
  ('closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call', 'jit', 'pjit', 'remat2')
)

_Parts = frozenset[int]  # numbers of the parameters that a value is, or is a part of
_NONE: _Parts = frozenset()


def types(function: Callable[..., Any], params: Any, *arguments: Any, once: bool = False) -> Any:
  """The type of each parameter's first use.

  Args:
    function: of `params` and `arguments`.
    params: a tree of arrays, or their shapes.
    arguments: likewise.
    once: leaves their own type to parameters that are rounded in several places: of those the
      gradients of all places would be added up in the narrower type, and not in their own.

  Returns:
    A tree as `params`: the narrower type that all uses of a leaf round it to; its own type where
    any use takes it as it is, or where two differ; None where nothing reads it.
  """
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (params, *arguments))
  traced = jax.make_jaxpr(function)(*shapes).jaxpr
  leaves, tree = jax.tree.flatten(shapes[0])
  uses = _Uses([leaf.dtype for leaf in leaves], 1 if once else None)
  given = [frozenset((number,)) for number in range(len(leaves))]
  given += [_NONE] * (len(traced.invars) - len(given))
  uses.as_they_are(uses.follow(traced, given))
  return jax.tree.unflatten(tree, [uses.type(number) for number in range(len(leaves))])


def rounded(params: Any, kinds: Any) -> Any:
  """Parameters in the types of `types`; those that nothing reads as they are."""
  leaves, tree = jax.tree.flatten(params)
  wanted = tree.flatten_up_to(kinds)
  pairs = zip(leaves, wanted, strict=True)
  return jax.tree.unflatten(
    tree, [x if kind in (None, x.dtype) else x.astype(kind) for x, kind in pairs]
  )


def rounded_for(network: nn.Module, params: Any, *arguments: Any) -> Any:
  """Parameters in the types that a call of a network reads them in; their gradients are the same.

  Args:
    network: which computes in float32 if it has no `dtype`; then they stay as they are.
    params: its variables.
    arguments: of its call.
  """
  if not narrows(network):
    return params
  return rounded(params, types(network.apply, params, *arguments, once=True))


def narrows(network: nn.Module) -> bool:
  """Whether a network computes in another type than float32."""
  return jnp.dtype(getattr(network, 'dtype', jnp.float32)) != jnp.float32


class _Uses:
  """What parameters, each by its number, are rounded to.

  Args:
    own: type of each.
    most: roundings of one in the text of the trace, above which it keeps its own; None for no end.
  """

  def __init__(self, own: list[Any], most: int | None):
    self._own, self._most = own, most
    self._found: list[list[Any]] = [[] for _ in own]

  def type(self, number: int) -> Any:
    """Of the first use of one; None for no use."""
    found, own = self._found[number], self._own[number]
    if not found:
      return None
    kind = found[0]
    narrower = jnp.issubdtype(kind, jnp.floating) and kind.itemsize < own.itemsize
    alike = len(set(found)) == 1 and (self._most is None or len(found) <= self._most)
    return kind if alike and narrower else own

  def as_they_are(self, parts: Iterable[_Parts]) -> None:
    """Notes uses that round nothing."""
    for number in frozenset().union(*parts):
      self._found[number].append(self._own[number])

  def follow(self, traced: Any, given: list[_Parts]) -> list[_Parts]:
    """Notes the uses inside a trace; of its inputs as parts of parameters to its outputs."""
    known = dict(zip(traced.invars, given, strict=True))

    def of(variable: Any) -> _Parts:
      return _NONE if isinstance(variable, core.Literal) else known.get(variable, _NONE)

    for equation in traced.eqns:
      parts = [of(x) for x in equation.invars]
      if any(parts):
        known.update(zip(equation.outvars, self._use(equation, parts), strict=True))
    return [of(x) for x in traced.outvars]

  def _use(self, equation: Any, parts: list[_Parts]) -> list[_Parts]:
    """Notes what an equation does with the parts of parameters that it is given."""
    name, told, count = equation.primitive.name, equation.params, len(equation.outvars)
    if name == 'convert_element_type':
      for number in parts[0]:
        self._found[number].append(jnp.dtype(told['new_dtype']))
      return [_NONE] * count
    if name in _MOVES:
      self.as_they_are(parts[1:])
      return [parts[0]] * count
    if name in _CALLS:
      inner = told['jaxpr'] if 'jaxpr' in told else told['call_jaxpr']
      return self.follow(getattr(inner, 'jaxpr', inner), parts)
    if name == 'scan':
      inner = getattr(told['jaxpr'], 'jaxpr', told['jaxpr'])
      constants, carried = _of_scan(equation, inner)
      self.as_they_are(parts[constants : constants + carried])
      passed = [*parts[:constants], *[_NONE] * carried, *parts[constants + carried :]]
      out = self.follow(inner, passed)
      self.as_they_are(out[:carried])
      return [*[_NONE] * carried, *out[carried:]]
    if name == 'while':
      first, second = told['cond_nconsts'], told['body_nconsts']
      self.as_they_are([*parts[:first], *parts[first + second :]])
      passed = [*parts[first : first + second], *[_NONE] * count]
      inner = getattr(told['body_jaxpr'], 'jaxpr', told['body_jaxpr'])
      self.as_they_are(self.follow(inner, passed))
      return [_NONE] * count
    self.as_they_are(parts)
    return [_NONE] * count


def _of_scan(equation: Any, inner: Any) -> tuple[int, int]:
  """How many inputs of a scan are constants, and how many are carried, by their shapes alone.

  What is scanned over has one axis more outside than inside. What JAX calls the numbers of them
  is not the same in all versions.
  """

  def same(outside: Any, inside: Any) -> int:
    return sum(x.aval.shape == y.aval.shape for x, y in zip(outside, inside, strict=True))

  carried = same(equation.outvars, inner.outvars)
  return same(equation.invars, inner.invars) - carried, carried
