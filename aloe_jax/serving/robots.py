"""How a robot's program names things: a small declaration, and openpi's conventions as presets."""

from collections.abc import Mapping
import dataclasses
import difflib
import pathlib
from typing import Any

import numpy as np

from aloe_jax import files
from aloe_jax import types
from aloe_jax.data import action_kinds
from aloe_jax.serving import aloha

OPTIONS = 'aloe'  # key of what a request asks besides openpi's


@dataclasses.dataclass(frozen=True)
class Robot:
  """What a robot's program sends and takes.

  A key may be a path: 'images/cam_high' is the entry 'cam_high' of the map 'images', or one entry
  of that whole name.

  Attributes:
    name: of the convention.
    cameras: {key of a request: camera of the policy}.
    state: keys whose numbers, in this order, are the policy's state.
    prompt: key of what is to be done.
    ignored: keys that may be sent and are not read.
    action_size: numbers of an action; 0 for those of the policy.
    names: of the numbers of an action; () where they are not told.
    unit: of the numbers of an action, for people.
    kind: 'position' or 'velocity', what an action is; '' for what the checkpoint tells.
    adapts: whether numbers are ALOHA's, told as pre-training knew them, see `aloha`.
    policy: fields of the config of openpi's policies for it.
    tells_state: whether these are told the state in the prompt.
  """

  name: str
  cameras: Mapping[str, str]
  state: tuple[str, ...] = ('state',)
  prompt: str = 'prompt'
  ignored: tuple[str, ...] = ()
  action_size: int = 0
  names: tuple[str, ...] = ()
  unit: str = ''
  kind: str = ''
  adapts: bool = False
  policy: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  tells_state: bool = True

  def state_to_policy(self, state: np.ndarray) -> np.ndarray:
    """A state [n] in the units that the policy was trained in."""
    return aloha.state_to_policy(state) if self.adapts else state

  def action_to_robot(self, action: np.ndarray) -> np.ndarray:
    """Actions [..., A] of the policy in the robot's units."""
    return aloha.action_to_robot(action) if self.adapts else action

  def action_to_policy(self, action: np.ndarray) -> np.ndarray:
    """The inverse of `action_to_robot`."""
    return aloha.action_to_policy(action) if self.adapts else action


_ARM = (
  *(f'{joint}' for joint in ('waist', 'shoulder', 'elbow', 'forearm', 'wrist', 'roll')),
  'gripper',
)
_ALOHA = Robot(
  'aloha',
  cameras={
    'images/cam_high': 'head',
    'images/cam_left_wrist': 'left_wrist',
    'images/cam_right_wrist': 'right_wrist',
  },
  ignored=('images/cam_low',),
  action_size=aloha.SIZE,
  names=tuple(f'{side}_{name}' for side in ('left', 'right') for name in _ARM),
  unit='rad; grippers 0 to 1',
  kind='position',
  adapts=True,
  policy={
    'task.chunk': 50,
    'task.proprio_size': 14,
    'task.action_size': 14,
    'task.delta': (6, -1, 6, -1),
    'task.cameras': types.CAMERAS,
  },
)
PRESETS = {
  'aloe': Robot('aloe', cameras={f'images/{camera}': camera for camera in types.CAMERAS}),
  'simulator': Robot(  # an action moves the robot from where it is
    'simulator',
    cameras={f'images/{camera}': camera for camera in types.CAMERAS},
    unit='of the simulator',
    kind='velocity',
  ),
  'aloha': _ALOHA,
  'aloha_sim': dataclasses.replace(
    _ALOHA,
    name='aloha_sim',
    cameras={'images/cam_high': 'head'},
    ignored=('images/cam_low', 'images/cam_left_wrist', 'images/cam_right_wrist'),
    adapts=False,
    policy={**_ALOHA.policy, 'task.cameras': ('head',)},
  ),
  'droid': Robot(
    'droid',
    cameras={
      'observation/exterior_image_1_left': 'head',
      'observation/wrist_image_left': 'left_wrist',
    },
    state=('observation/joint_position', 'observation/gripper_position'),
    action_size=8,
    names=(*(f'joint_{i}' for i in range(1, 8)), 'gripper'),
    unit='rad/s; gripper 0 to 1',
    kind='velocity',
    policy={
      'task.chunk': 15,
      'task.proprio_size': 8,
      'task.action_size': 8,
      'task.delta': (),
      'task.cameras': ('head', 'left_wrist'),
    },
  ),
  'libero': Robot(
    'libero',
    cameras={'observation/image': 'head', 'observation/wrist_image': 'left_wrist'},
    state=('observation/state',),
    action_size=7,
    names=('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'),
    unit='of LIBERO, -1 to 1',
    kind='velocity',
    policy={
      'task.chunk': 10,
      'task.proprio_size': 8,
      'task.action_size': 7,
      'task.delta': (),
      'task.cameras': ('head', 'left_wrist'),
    },
    tells_state=False,
  ),
}


def find(text: str) -> Robot:
  """A preset by its name, or the declaration in a JSON file; see `read`.

  Raises:
    ValueError: there is no such preset and no such file; names the presets.
  """
  if text in PRESETS:
    return PRESETS[text]
  path = pathlib.Path(text)
  if path.suffix != '.json' or not path.is_file():
    close = difflib.get_close_matches(text, PRESETS, n=1)
    hint = f'did you mean {close[0]}?' if close else 'see docs/serving.md for such a file.'
    raise ValueError(
      f'--robot is {text!r}; expected one of {", ".join(PRESETS)}, or a .json file that is there; '
      f'{hint}'
    )
  try:
    content = files.parse_json(path.read_text(), each_once=True)
  except (ValueError, OSError) as error:
    raise ValueError(f'--robot names {text}, which cannot be read as JSON: {error}') from error
  return read(content, text)


def read(content: Any, where: str) -> Robot:
  """The declaration of a robot, of the attributes of `Robot` but for the last two.

  Raises:
    ValueError: naming what is wrong; `where` begins the message.
  """
  fields = {f.name for f in dataclasses.fields(Robot)} - {'policy', 'tells_state'}
  if not isinstance(content, dict):
    raise ValueError(f'{where}: found {type(content).__name__}, expected an object.')
  for key in content:
    if key not in fields:
      close = difflib.get_close_matches(key, fields, n=1)
      hint = f'did you mean {close[0]!r}?' if close else f'expected some of {sorted(fields)}.'
      raise ValueError(f'{where}: there is no field {key!r}; {hint}')
  cameras = content.get('cameras', {})
  known = isinstance(cameras, dict) and all(c in types.CAMERAS for c in cameras.values())
  if not known:
    raise ValueError(
      f'{where}: cameras is {cameras!r:.200}; expected {{key of a request: camera}}, of the '
      f'cameras {", ".join(types.CAMERAS)}.'
    )
  if len(set(cameras.values())) < len(cameras):
    raise ValueError(f'{where}: cameras names a camera twice: {cameras!r}.')
  lists = {key: content[key] for key in ('state', 'ignored', 'names') if key in content}
  for key, value in lists.items():
    if not isinstance(value, list) or not all(isinstance(x, str) and x for x in value):
      raise ValueError(f'{where}: {key} is {value!r}; expected a list of texts.')
  size, kind = content.get('action_size', 0), content.get('kind', '')
  if type(size) is not int or size < 0:
    raise ValueError(f'{where}: action_size is {size!r}; expected a number, or none.')
  names = lists.get('names', [])
  if size and names and len(names) != size:
    raise ValueError(
      f'{where}: names has {len(names)} entries and action_size is {size}; expected a name for '
      'each number of an action, or none.'
    )
  if kind not in ('', *action_kinds.KINDS):
    raise ValueError(f'{where}: kind is {kind!r}; expected one of {", ".join(action_kinds.KINDS)}.')
  for key in ('name', 'prompt', 'unit'):
    if not isinstance(content.get(key, 'x'), str):
      raise ValueError(f'{where}: {key} is {content[key]!r}; expected a text.')
  if not isinstance(content.get('adapts', False), bool):
    raise ValueError(f'{where}: adapts is {content["adapts"]!r}; expected true or false.')
  made = Robot(
    **{'name': pathlib.Path(where).stem, 'cameras': {}}
    | content
    | {key: tuple(value) for key, value in lists.items()}
  )
  keys = [*made.cameras, *made.state, *made.ignored, made.prompt]
  if len(set(keys)) < len(keys):
    raise ValueError(f'{where}: a key is named twice among {sorted(keys)}.')
  if '' in keys:
    raise ValueError(f'{where}: a key is empty among {sorted(keys)}; expected a text.')
  if OPTIONS in keys or any(key.startswith(f'{OPTIONS}/') for key in keys):
    raise ValueError(
      f'{where}: {OPTIONS!r} among {sorted(keys)} is the key of the options of a request; expected '
      'another.'
    )
  for key in keys:
    above = [other for other in keys if key.startswith(f'{other}/')]
    if above:
      raise ValueError(
        f'{where}: {above[0]!r} is the whole map that {key!r} is an entry of; expected one of the '
        'two.'
      )
  if not made.state:
    raise ValueError(f'{where}: state is []; expected the key of at least one.')
  if made.adapts and made.kind != 'position':
    raise ValueError(
      f'{where}: adapts is of positions of joints, found kind {made.kind!r}; expected position, or '
      'adapts false.'
    )
  if made.adapts and made.action_size not in (0, aloha.SIZE):
    raise ValueError(f'{where}: adapts is of {aloha.SIZE} numbers, found {made.action_size}.')
  return made
