"""Which fields of a dataset feed which key of the model, whatever a laboratory calls them.

A mapping is a plain dictionary, such as

    images        {'head': 'observation/image', 'left_wrist': ['observation/wrist_image',
                  'observation/hand_image'], 'right_wrist': None}; of several, the first that exists
    state         ['observation/joint_position', 'observation/gripper_position'], concatenated;
                  'observation/state[0:7]' is some numbers of a field, see `field_path`
    action        ['action']; likewise
    last_action   'auto', 'keep' or 'drop', see `last_action`
    prompt        ['language_instruction', 'episode_metadata/task']: the first that is not empty
    success, source                  of the episode or of every step; of a success the last,
                                     which beside an end_reason is read only if it is named
    intervention                     of every step; where it is named, also one of the episode
    end_reason, reward               of every step

A success or an intervention that is not told by 0 and 1 is compared, as in `intervention==2`; see
`flags`. A path without `steps/` is looked for among the steps first, then in the episode. An empty
string, or a key left out, proposes a field by the names in use; None means there is none.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import difflib
import itertools
import math
from typing import Any

from aloe_jax import types
from aloe_jax.data import cameras
from aloe_jax.data import field_kinds
from aloe_jax.data import field_names
from aloe_jax.data import field_path
from aloe_jax.data import flags
from aloe_jax.data import schema

KEYS = (
  'images',
  'state',
  'action',
  'prompt',
  'success',
  'source',
  'intervention',
  'end_reason',
  'reward',
)

LAST_ACTION = ('auto', 'keep', 'drop')  # what the key `last_action` may be

CHOICE = 'config.data.mapping.{camera}={name}'  # of a camera

_COMPARED = ('success', 'intervention')  # keys whose field may end in a comparison
_IN_USE = {
  'success': field_names.SUCCESS,
  'source': field_names.SOURCE,
  'intervention': field_names.INTERVENTION,
  'end_reason': field_names.END_REASON,
}
_GROUPS = {'state': field_names.STATES, 'action': field_names.ACTIONS}

_Leaves = Mapping[str, schema.Leaf]
_Fits = field_kinds.Fits


@dataclasses.dataclass(frozen=True)
class Resolved:
  """Full paths of the fields that are read, or None where there is none.

  Attributes:
    images: {camera: an image, its bytes as a text, or pixels as a uint8 tensor}.
    state: numbers of every step, to be concatenated; a slice of a field is in brackets after its
      path.
    action: likewise.
    prompt: texts, the first that is not empty counts.
    success: 0 or 1, or a word for it, of the episode or of every step; it may end in a comparison.
      Beside an `end_reason` only where somebody named it: then it says how episodes end that
      are cut.
    source: a text, of the episode or of every step.
    intervention: likewise, set where a human acts.
    end_reason: a text of every step.
    reward: a number of every step.
    features: [V, F] numbers of every step that stand in for images.
    last_action: 'keep' or 'drop' that of an episode, or 'auto' where that is still to be decided;
      see `last_action`.
    named: which of 'success' and 'intervention' somebody chose; the others have names in use.
    unread_success: that the names in use propose, and that is passed over for the `end_reason`.
  """

  images: dict[str, str | None]
  state: tuple[str, ...]
  action: tuple[str, ...]
  prompt: tuple[str, ...]
  success: str | None
  source: str | None
  intervention: str | None
  end_reason: str | None
  reward: str | None
  features: str | None
  last_action: str = 'auto'
  named: tuple[str, ...] = dataclasses.field(default=(), compare=False)
  unread_success: str | None = None

  def kept(self) -> dict[str, Any]:
    """The paths under the keys that digests of datasets were always made of."""
    fields = dataclasses.asdict(self)
    del fields['named']
    if self.last_action != 'drop':
      del fields['last_action']
    fields['success'] = fields.pop('unread_success') or self.success
    if self.end_reason and self.success:
      fields['ends'] = 'of both'
    return {'language' if key == 'prompt' else key: paths for key, paths in fields.items()}


def propose(leaves: _Leaves) -> dict[str, Any]:
  """The mapping that the names in use suggest; what none of them fits is None or empty."""
  return {
    'images': assignment(leaves, {}).roles,
    **{key: _first_group(leaves, groups) for key, groups in _GROUPS.items()},
    'prompt': [
      path for path in field_names.PROMPT if path in leaves and field_kinds.is_text(leaves[path])
    ],
    'success': _first(leaves, field_names.SUCCESS, field_kinds.is_outcome),
    'source': _first(leaves, field_names.SOURCE, field_kinds.is_text),
    'intervention': _first(leaves, field_names.INTERVENTION, field_kinds.is_step_flag),
    'end_reason': _first(leaves, field_names.END_REASON, field_kinds.is_step_text),
    'reward': None,  # rewards in use differ: only who knows them can trust them
  }


def assignment(leaves: _Leaves, images: Mapping[str, Any]) -> cameras.Assignment:
  """What every picture of every step is.

  Args:
    leaves: fields of the dataset.
    images: of a mapping: {camera: path, several, None, or an empty string}.

  Raises:
    ValueError: if a path is missing, or is that of no picture.
  """
  decided = {
    camera: _one_of(leaves, f'images.{camera}', wanted, None, cameras.is_picture)
    for camera, wanted in images.items()
    if wanted is None or wanted
  }
  return cameras.assign(cameras.pictures(leaves), decided)


def parse(fields: Mapping[str, str]) -> dict[str, Any]:
  """The mapping that a flat table of texts stands for, such as a config's.

  Args:
    fields: {key or camera: a path, several with commas between, 'none', or ''}; `last_action` as
      it is.
  """

  def value(text: str) -> Any:
    if text == 'none':
      return None
    names = field_path.split(text)
    return names if len(names) > 1 else text

  parsed: dict[str, Any] = {
    key: text if key == 'last_action' else value(text)
    for key, text in fields.items()
    if key not in types.CAMERAS
  }
  return parsed | {'images': {key: value(fields[key]) for key in types.CAMERAS if key in fields}}


def resolve(leaves: _Leaves, mapping: Mapping[str, Any]) -> Resolved:
  """Finds and checks the fields that a mapping names; `{}` leaves all to the names in use.

  Raises:
    ValueError: naming the key and the path that is wrong, and the nearest that exist.
  """
  _check_keys(mapping, (*KEYS, 'last_action'), 'the mapping')
  last_action = mapping.get('last_action', '') or 'auto'
  if last_action not in LAST_ACTION:
    raise ValueError(f'last_action: found {last_action!r}, expected one of {list(LAST_ACTION)}.')
  images = mapping.get('images', {})
  if images is None:
    images = dict.fromkeys(types.CAMERAS)
  _check_keys(images, types.CAMERAS, 'images')
  proposed = propose(leaves)
  assigned = assignment(leaves, images)
  if assigned.ties:
    raise ValueError(assigned.problem(CHOICE))
  resolved = Resolved(
    images=assigned.roles,
    state=_numbers(leaves, 'state', mapping, proposed),
    action=_numbers(leaves, 'action', mapping, proposed),
    prompt=_texts(leaves, mapping.get('prompt', ''), proposed['prompt']),
    features=_first(leaves, [field_names.FEATURES], field_kinds.is_matrix),
    last_action=last_action,
    named=tuple(key for key in _COMPARED if mapping.get(key)),
    **{
      key: _one_of(leaves, key, mapping.get(key, ''), proposed[key], fits)
      for key, fits in (
        ('success', field_kinds.is_outcome),
        ('source', field_kinds.is_text),
        (
          'intervention',
          field_kinds.is_outcome if mapping.get('intervention') else field_kinds.is_step_flag,
        ),
        ('end_reason', field_kinds.is_step_text),
        ('reward', field_kinds.is_step_number),
      )
    },
  )
  _check_is_heard(leaves, resolved)
  if resolved.end_reason and 'success' not in resolved.named:
    return dataclasses.replace(resolved, success=None, unread_success=resolved.success)
  return resolved


def width(leaves: _Leaves, paths: Sequence[str]) -> int:
  """Numbers a step in the fields, or in the slices of fields, together."""
  total = 0
  for path in map(field_path.parse, paths):
    columns = path.columns(math.prod(leaves[path.name].shape))
    total += columns.stop - columns.start
  return total


# Finding


def _check_keys(found: Mapping[str, Any], expected: Sequence[str], what: str) -> None:
  for key in found:
    if key not in expected:
      raise ValueError(f'{what}: found the key {key!r}, expected some of {list(expected)}.')


def _first(leaves: _Leaves, paths: Sequence[str], fits: _Fits) -> str | None:
  return next((path for path in paths if path in leaves and fits(leaves[path])), None)


def _first_group(leaves: _Leaves, groups: Iterable[Sequence[str]]) -> list[str]:
  """The first group of which every field exists, as full paths."""
  for group in groups:
    paths = [f'steps/{name}' for name in group]
    if all(path in leaves and field_kinds.is_vector(leaves[path]) for path in paths):
      return paths
  return []


def _check_is_heard(leaves: _Leaves, found: Resolved) -> None:
  """Raises if a flag that somebody named says nothing, since a source of every step does."""
  path = found.source
  if 'intervention' in found.named and path and leaves[path].per_step:
    raise ValueError(
      f'intervention: {found.intervention}: found {path} beside it, which says it of every step, '
      'so that the flag has no effect; leave one of them out: config.data.mapping.source=none, or '
      'config.data.mapping.intervention=none.'
    )


def _one_of(
  leaves: _Leaves, key: str, wanted: Any, proposed: str | None, fits: _Fits
) -> str | None:
  """The first path that exists, of one or several."""
  if wanted is None:
    return None
  if not wanted:
    if proposed is None:
      _check_in_use(leaves, key, fits)
    return proposed
  names = [wanted] if isinstance(wanted, str) else list(wanted)
  for name in names:
    flag = flags.parse(name) if key in _COMPARED else flags.Flag(name)
    path = _find(leaves, flag.name)
    if path is not None:
      return _checked(leaves, key, path, fits) + flag.comparison
  raise ValueError(_missing(leaves, key, names[0]))


def _check_in_use(leaves: _Leaves, key: str, fits: _Fits) -> None:
  """Raises if there is a field with a name in use that cannot be read: it is not passed over."""
  for path in _IN_USE.get(key, ()):
    if path not in leaves or fits(leaves[path]):
      continue
    remedy = f'choose another field, or leave it out: config.data.mapping.{key}=none'
    if key == 'source' and field_kinds.is_step_flag(leaves[path]):
      remedy += (
        ', and where a number tells that a human acts say it by '
        f"config.data.mapping.intervention='{path.removeprefix('steps/')}==1'"
      )
    try:
      _checked(leaves, key, path, fits)
    except ValueError as error:
      raise ValueError(f'{str(error).rstrip(".")}; {remedy}.') from None


def _numbers(
  leaves: _Leaves, key: str, mapping: Mapping[str, Any], proposed: Mapping[str, Any]
) -> tuple[str, ...]:
  """Paths of numbers to concatenate; all of them must exist."""
  wanted = mapping.get(key, '') or proposed[key]
  names = field_path.split(wanted) if isinstance(wanted, str) else list(wanted)
  if not names:
    for name in itertools.chain(*_GROUPS[key]):
      if f'steps/{name}' in leaves:
        _checked(leaves, key, f'steps/{name}', field_kinds.is_vector)
    candidates = [
      path
      for path, leaf in leaves.items()
      if field_kinds.is_vector(leaf)
      and (leaf.shape or path.startswith(('steps/observation', 'steps/action')))
    ]
    raise ValueError(
      f'{key}: found no field with a name in use; choose from '
      f'{", ".join(sorted(candidates)) or "none: no field has numbers at every step"}.'
    )
  paths = []
  for name in names:
    paths.append(_sliced(leaves, key, name))
  return tuple(paths)


def _sliced(leaves: _Leaves, key: str, name: str) -> str:
  """The full path of a field of numbers, with its brackets unless they hold all of it."""
  try:
    wanted = field_path.parse(name)
  except ValueError as error:
    raise ValueError(f'{key}: {error}') from error
  path = _find(leaves, wanted.name)
  if path is None:
    raise ValueError(_missing(leaves, key, wanted.name))
  leaf = leaves[_checked(leaves, key, path, field_kinds.is_vector)]
  try:
    return str(dataclasses.replace(wanted, name=path).within(math.prod(leaf.shape)))
  except ValueError as error:
    raise ValueError(f'{key}: {error}') from error


def _texts(leaves: _Leaves, wanted: Any, proposed: Sequence[str]) -> tuple[str, ...]:
  """Paths of texts; those that do not exist are left out, as long as one does."""
  if wanted is None:
    return ()
  names = [wanted] if wanted and isinstance(wanted, str) else list(wanted or proposed)
  paths = [path for name in names if (path := _find(leaves, name))]
  if names and not paths:
    raise ValueError(_missing(leaves, 'prompt', names[0]))
  return tuple(_checked(leaves, 'prompt', path, field_kinds.is_text) for path in paths)


def _find(leaves: _Leaves, name: str) -> str | None:
  return next((path for path in (f'steps/{name}', name) if path in leaves), None)


def _checked(leaves: _Leaves, key: str, path: str, fits: _Fits) -> str:
  leaf = leaves[path]
  if not fits(leaf):
    where = 'every step' if leaf.per_step else 'the episode'
    raise ValueError(
      f'{key}: {path}: found {leaf.kind} {leaf.dtype} {list(leaf.shape)} of {where}, expected '
      f'{field_kinds.WANTED[fits]}.'
    )
  return path


def _missing(leaves: _Leaves, key: str, name: str) -> str:
  word = name.rpartition('/')[-1]
  nearest = [path for path in leaves if word in path]
  by_name = difflib.get_close_matches(name, [p.removeprefix('steps/') for p in leaves], 4, 0.0)
  nearest += [path for found in by_name if (path := _find(leaves, found))]
  return (
    f'{key}: {name} is missing; the nearest fields are '
    f'{", ".join(list(dict.fromkeys(nearest))[:4])}.'
  )
