"""Which picture of a dataset is which camera, by its name; what is left out, and why.

A name is a path of words, parted by slashes or dots. The last word decides, as `field_names` lists
them. Where it says nothing of the place (`rgb`, `image`, `left`), the word before it counts too:
`wrist/rgb` is a wrist camera and `side/rgb` is none. Depth, masks, infrared and pictures of a goal
are no cameras, whatever their last word is. Of two pictures that are as good as each other none is
chosen: who has recorded them says which one is meant.
"""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import re

from aloe_jax import types
from aloe_jax.data import field_names
from aloe_jax.data import schema

_KINDS = (  # what a picture is of where one of its words holds one of these, and in any spelling
  ('depth', ('depth', 'disparity'), ('disp', 'tof')),
  ('a mask', ('segmentation', 'semantic', 'instance'), ('mask', 'masks', 'seg', 'segm', 'matte')),
  ('infrared', ('infrared', 'infra', 'thermal'), ('ir', 'nir', 'lwir')),
  ('points in space', ('pointcloud', 'pointmap'), ('points', 'xyz', 'lidar', 'pcd')),
  ('no picture of light', ('tactile', 'heatmap', 'opticalflow'), ('normal', 'normals', 'flow')),
  ('of a goal or of the next step', ('subgoal',), ('goal', 'next', 'target')),
)
_PLACELESS = (  # words that say nothing of the place of a camera
  'step steps observation observations obs state image images img rgb color colour camera cameras '
  'cam cams video videos pixel pixels data sensor sensors raw frame frames view views vision '
  'visual compressed stream streams picture pictures'
)
_SAYS_NOTHING = frozenset(_PLACELESS.split())
_SMALLEST = 8  # pixels along an edge of what is taken for a picture among numbers
_NAMED = 3  # of several pictures in a message

_ROLES = {  # name: (camera, place in the list of its names)
  name: (camera, rank)
  for camera, names in field_names.CAMERA_NAMES.items()
  for rank, name in enumerate(names.split())
}


@dataclasses.dataclass(frozen=True)
class Assignment:
  """What each picture is.

  Attributes:
    roles: {camera: name of its picture, or None}, of all cameras.
    left_out: {name of a picture that is no camera: why}.
    odd: {name of a picture that a person chose: what speaks against it}.
    ties: {camera: pictures of which none is better}; its role is None.
  """

  roles: dict[str, str | None]
  left_out: dict[str, str]
  odd: dict[str, str]
  ties: dict[str, tuple[str, ...]]

  def problem(self, option: str, *, names_all: bool = False) -> str:
    """What a person has to decide, or empty.

    Args:
      option: that decides it, with a gap for the camera and the picture, such as
        '--camera {camera}={name}'.
      names_all: the option leaves out all cameras that it does not name.
    """
    if not self.ties:
      return ''
    found = [
      f'{camera}: found {", ".join(names[:_NAMED])}'
      f'{f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""}, of which none has the '
      'better name; '
      for camera, names in self.ties.items()
    ]
    chosen = self.roles if names_all else {}
    chosen = chosen | {camera: names[0] for camera, names in self.ties.items()}
    options = [option.format(camera=c, name=name) for c, name in chosen.items() if name]
    return f'{"".join(found)}choose, such as {" ".join(options)}.'

  def lines(self, short: Mapping[str, str] | None = None) -> list[str]:
    """Every picture and what it is, then the cameras without one, for a person.

    Args:
      short: {name: how it is shown}, where it is not shown as it is.
    """
    shown = (short or {}).get
    chosen = [
      f'{shown(name, name)} -> {camera}'
      + (f' as asked, although {self.odd[name]}' if name in self.odd else '')
      for camera, name in self.roles.items()
      if name is not None
    ]
    others = [f'{shown(name, name)}: left out: {why}' for name, why in self.left_out.items()]
    without = [camera for camera, name in self.roles.items() if name is None]
    return chosen + others + ([f'none -> {", ".join(without)}'] if without else [])


def pictures(leaves: Mapping[str, schema.Leaf]) -> dict[str, str]:
  """The fields of every step that are pictures, or look like one.

  Returns:
    {path: why it is none of 8-bit colours, or empty}.
  """
  found = {}
  for path, leaf in leaves.items():
    if not leaf.per_step:
      continue
    named = role_of(path) is not None or bool(other_kind(path))
    of_numbers = leaf.kind == 'tensor' and len(leaf.shape) == 3 and min(leaf.shape[:2]) >= _SMALLEST
    if is_picture(leaf) and (leaf.kind != 'text' or named):
      found[path] = ''
    elif leaf.kind == 'image' or (of_numbers and (leaf.shape[2] in (1, 3, 4) or named)):
      found[path] = f'found {leaf.dtype} {list(leaf.shape)}, expected 8-bit colours [H, W, 3]'
  return found


def is_picture(leaf: schema.Leaf) -> bool:
  """Whether a field holds an image of 8 bits, its bytes or its pixels, at every step."""
  of_pixels = leaf.kind == 'tensor' and leaf.shape[2:] == (3,) and min(leaf.shape) > 0
  encoded = leaf.kind == 'image' and len(leaf.shape) in (0, 3)
  of_bytes = leaf.kind == 'text' and not leaf.shape
  return leaf.per_step and (of_bytes or (leaf.dtype == 'uint8' and (of_pixels or encoded)))


def assign(
  pictures: Mapping[str, str], decided: Mapping[str, str | None] | None = None
) -> Assignment:
  """Finds the picture of every camera that is not decided.

  Args:
    pictures: {name: why it is no picture of 8-bit colours, or empty}; what the name itself says
      against it is found here.
    decided: {camera: the picture that a person chose for it, or None for none}.

  Raises:
    ValueError: if one picture was chosen for two cameras.
  """
  decided = decided or {}
  check_apart(decided)
  left_out = {name: why or other_kind(name) for name, why in pictures.items()}
  roles: dict[str, str | None] = dict.fromkeys(types.CAMERAS) | dict(decided)
  ties: dict[str, tuple[str, ...]] = {}
  found: dict[str, list[tuple[int, str]]] = {camera: [] for camera in types.CAMERAS}
  for name, why in left_out.items():
    role = None if why or name in decided.values() else role_of(name)
    if role is not None:
      found[role[0]].append((role[1], name))
    elif not why:
      left_out[name] = 'its name is that of no camera'
  for camera, candidates in found.items():
    if not candidates:
      continue
    if camera in decided:
      why = f'{decided[camera]} was chosen' if decided[camera] else 'none was chosen'
      left_out |= {name: f'{why} for {camera}' for _, name in candidates}
      continue
    best, first = min(candidates)
    alike = [name for rank, name in candidates if rank == best or _last(name) == _last(first)]
    if len(alike) > 1:
      ties[camera] = tuple(sorted(alike))
      left_out |= {name: f'one of several that may be {camera}' for _, name in candidates}
      continue
    roles[camera] = first
    left_out |= {name: f'{first} has the better name for {camera}' for _, name in candidates}
  chosen = set(roles.values())
  return Assignment(
    roles,
    left_out={name: why for name, why in left_out.items() if name not in chosen},
    odd={
      name: odd
      for camera, name in decided.items()
      if name is not None and (odd := _against(name, camera, pictures.get(name, '')))
    },
    ties=ties,
  )


def check_apart(decided: Mapping[str, str | None]) -> None:
  """Raises ValueError if one picture was chosen for two cameras."""
  chosen: dict[str, str] = {}
  for camera, name in decided.items():
    if name is not None and name in chosen:
      raise ValueError(
        f'{name} was chosen for {chosen[name]} and for {camera}; expected another picture for each '
        'camera.'
      )
    if name is not None:
      chosen[name] = camera


def _against(name: str, camera: str, why: str) -> str:
  """What speaks against a picture as this camera, or empty."""
  if kind := why or other_kind(name):
    return f'it is {kind}'
  role = role_of(name)
  return f'its name is that of {role[0]}' if role and role[0] != camera else ''


def other_kind(name: str) -> str:
  """What a picture is of, by its name, where that is no colour camera; else empty."""
  text = name.lower()
  tokens = _tokens(name)
  for kind, parts, words in _KINDS:
    if any(part in text.replace('_', '').replace('-', '') for part in parts) or tokens & set(words):
      return f'{kind}, by its name'
  return ''


def role_of(name: str) -> tuple[str, int] | None:
  """The camera that a name stands for and how good a name it is, 0 the best; or None."""
  words = _words(name)
  last, before = words[-1], [word for word in words[:-1] if not _says_nothing(word)]
  keys: Sequence[str]
  if before and (last in ('left', 'right') or _says_nothing(last)):
    keys = (f'{before[-1]}_{last}', f'{last}_{before[-1]}', before[-1])
  elif before:
    keys = (f'{before[-1]}_{last}', last)
  else:
    keys = (last,)
  found = ((key, _ROLES.get(key) or _PLACES.get(_place(key))) for key in keys)
  key, role = next(((key, role) for key, role in found if role), ('', None))
  if role is None:
    return None
  camera, rank = role
  if camera == 'left_wrist' and 'left' not in key and _is_of_the_right(_tokens(name)):
    return 'right_wrist', rank
  return camera, rank


def _place(word: str) -> str:
  """What a word says of the place of a camera: `left_wrist` of `cam_left_wrist_rgb`."""
  return '_'.join(token for token in re.findall('[a-z0-9]+', word) if token not in _SAYS_NOTHING)


def _says_nothing(word: str) -> bool:
  return _tokens(word) <= _SAYS_NOTHING


def _is_of_the_right(tokens: Collection[str]) -> bool:
  return 'right' in tokens and 'left' not in tokens


def _words(name: str) -> list[str]:
  return [word for word in re.split('[/.]', _parted(name).lower()) if word] or ['']


def _last(name: str) -> str:
  return _words(name)[-1]


def _tokens(name: str) -> set[str]:
  """The words and numbers of a name, whether they are parted by signs, digits or capitals."""
  return set(re.findall('[a-z]+|[0-9]+', _parted(name).lower()))


def _parted(name: str) -> str:
  """`RightWrist` as `Right_Wrist`."""
  return re.sub('([A-Z]+)([A-Z][a-z])', r'\1_\2', re.sub('([a-z])([A-Z])', r'\1_\2', name))


_PLACES = {  # the same without the words that say nothing; a number alone is no place
  place: role
  for name, role in reversed(_ROLES.items())
  if (place := _place(name)).strip('_0123456789')
}
