"""How public datasets name their fields, and what is to be made of each; facts only.

A set is written as its fields in words: `image->head` is a picture that is the head camera, `depth`
one that is none, `x~uint16` one of that type, `state:7` seven numbers. `docs/public_datasets.md` is
the same as a table.
"""

import dataclasses

from aloe_jax import types
from aloe_jax.data import schema

OCTO = 'octo-models/octo: oxe_dataset_configs.py, oxe_standardization_transforms.py'
DROID = 'droid-dataset/droid_policy_learning, and conversions that keep its keys'
FEATURES = 'its features.json'
INFO = 'its meta/info.json'
SPLIT = 'world_vector:3 rotation_delta:3 gripper_closedness_action:1'


@dataclasses.dataclass(frozen=True)
class PublicSet:
  """A set, by the names of its fields.

  Attributes:
    name: of the set.
    kind: 'RLDS', 'LeRobot', or 'HDF5', whose fields are those of a conversion that keeps names.
    facts: where they are from.
    pictures: {field: (type, camera or empty)}.
    state: {field: numbers}, all that are the state; likewise the action.
    prompt: field, or empty.
    success: field, or empty; likewise the flag of an intervention.
    refused: what the message says where the names in use do not do; empty where they do.
  """

  name: str
  kind: str
  facts: str
  pictures: dict[str, tuple[str, str]]
  state: dict[str, int]
  action: dict[str, int]
  prompt: str = ''
  success: str = ''
  intervention: str = ''
  refused: str = ''

  @property
  def cameras(self) -> dict[str, str | None]:
    """{camera: its field, or None}."""
    found = {camera: name for name, (_, camera) in self.pictures.items() if camera}
    return {camera: found.get(camera) for camera in types.CAMERAS}

  def leaves(self) -> dict[str, schema.Leaf]:
    """The fields as an RLDS dataset has them."""
    leaves = {_path(name): _picture(kind) for name, (kind, _) in self.pictures.items()}
    for name, size in (self.state | self.action).items():
      leaves[_path(name)] = _leaf('tensor', 'float32', (size,), name)
    if self.prompt:
      leaves[_path(self.prompt)] = _leaf('text', 'string', (), self.prompt)
    for name in filter(None, (self.success, self.intervention)):
      leaves[_path(name)] = _leaf('tensor', 'bool', (), name)
    return leaves


def _path(name: str) -> str:
  return name if name.startswith('episode_metadata/') else f'steps/{name}'


def _leaf(kind: str, dtype: str, shape: tuple[int, ...], name: str) -> schema.Leaf:
  return schema.Leaf(kind, dtype, shape, 'none', not name.startswith('episode_metadata/'))


def _picture(kind: str) -> schema.Leaf:
  if kind == 'float':
    return schema.Leaf('tensor', 'float32', (96, 96, 1), 'none', True)
  channels = 1 if kind == 'uint16' else 3
  return schema.Leaf('image', kind, (96, 96, channels), 'png', True)


def _pictures(text: str, prefix: str) -> dict[str, tuple[str, str]]:
  found = {}
  for word in text.split():
    name, _, camera = word.partition('->')
    name, _, kind = name.partition('~')
    found[prefix + name] = (kind or 'uint8', camera)
  return found


def _sizes(text: str, prefix: str = '') -> dict[str, int]:
  return {prefix + name: int(size) for name, _, size in (x.partition(':') for x in text.split())}


def oxe(name, pictures, state, action='action:7', facts=OCTO, **more):
  """A set of Open X-Embodiment; an action of several fields is below `action/`."""
  parts = ':' in action and not action.startswith('action:')
  prompt = 'observation/natural_language_instruction' if parts else 'language_instruction'
  return PublicSet(
    name, 'RLDS', facts, _pictures(pictures, 'observation/'), _sizes(state, 'observation/'),
    _sizes(action, 'action/' if parts else ''), **{'prompt': prompt} | more,
  )  # fmt: skip


def lerobot(name, pictures, state='observation.state:7', action='action:7', facts=INFO, **more):
  """A LeRobot dataset; its pictures are below `observation.`."""
  return PublicSet(
    name, 'LeRobot', facts, _pictures(pictures, 'observation.'), _sizes(state), _sizes(action),
    **more,
  )  # fmt: skip


def hdf5(name, pictures, state, action, facts, **more):
  return PublicSet(
    name, 'HDF5', facts, _pictures(pictures, ''), _sizes(state), _sizes(action), **more
  )


NO_STATE = 'state: found no field'
NO_LEROBOT_STATE = 'choose one by --state'
SETS = (
  oxe('fractal20220817_data', 'image->head', 'base_pose_tool_reached:7 gripper_closed:1', SPLIT),
  oxe(
    'kuka', 'image->head', 'clip_function_input/base_pose_tool_reached:7 gripper_closed:1', SPLIT
  ),
  oxe('bridge_dataset', 'image_0->head image_1', 'state:7'),
  oxe(
    'taco_play', 'rgb_static->head rgb_gripper->left_wrist depth_static~float depth_gripper~float',
    'robot_obs:15', 'rel_actions_world:7',
  ),
  oxe(
    'jaco_play', 'image->head image_wrist->left_wrist', 'end_effector_cartesian_pos:7',
    'world_vector:3 gripper_closedness_action:1',
  ),
  oxe(
    'berkeley_cable_routing', 'image->head top_image wrist45_image->left_wrist', 'robot_state:7',
    'world_vector:3 rotation_delta:3', refused='action: found no field',
  ),
  oxe('roboturk', 'front_rgb->head', '', SPLIT, refused=NO_STATE),
  oxe('nyu_door_opening_surprising_effectiveness', 'image->head', '', SPLIT, refused=NO_STATE),
  oxe(
    'viola', 'agentview_rgb->head eye_in_hand_rgb->left_wrist', 'joint_states:7 gripper_states:1',
    SPLIT,
  ),
  oxe(
    'berkeley_autolab_ur5', 'image->head hand_image->left_wrist image_with_depth~float',
    'robot_state:15', SPLIT,
  ),
  oxe('toto', 'image->head', 'state:7', 'world_vector:3 rotation_delta:3 open_gripper:1'),
  oxe('language_table', 'rgb->head', 'effector_translation:2', 'action:2', prompt=''),
  oxe(
    'columbia_cairlab_pusht_real', 'image->head wrist_image->left_wrist', 'robot_state:2', SPLIT
  ),
  oxe(
    'stanford_kuka_multimodal', 'image->head depth_image~float', 'ee_position:3 ee_orientation:4',
    'action:4',
  ),
  oxe('nyu_rot', 'image->head', 'state:7'),
  oxe('stanford_hydra', 'image->head wrist_image->left_wrist', 'state:27'),
  oxe('austin_buds', 'image->head wrist_image->left_wrist', 'state:24'),
  oxe(
    'nyu_franka_play',
    'image->head image_additional_view depth~float depth_additional_view~float', 'state:13',
    'action:15',
  ),
  oxe(
    'maniskill', 'image->head wrist_image->left_wrist depth~uint16 wrist_depth~uint16', 'state:18'
  ),
  oxe('furniture_bench', 'image->head wrist_image->left_wrist', 'state:8', 'action:8'),
  oxe('cmu_franka_exploration', 'highres_image->head', '', 'action:8', refused=NO_STATE),
  oxe('ucsd_kitchen', 'image->head', 'state:21', 'action:8'),
  oxe('ucsd_pick_and_place', 'image->head', 'state:7', 'action:4'),
  oxe('austin_sailor', 'image->head wrist_image->left_wrist', 'state:8'),
  oxe('austin_sirius', 'image->head wrist_image->left_wrist', 'state:8'),
  oxe(
    'bc_z', 'image->head', 'present/xyz:3 present/axis_angle:3 present/sensed_close:1',
    'future/xyz_residual:30 future/axis_angle_residual:30 future/target_close:10',
  ),
  oxe('utokyo_pr2_opening_fridge', 'image->head', 'state:7', 'action:8'),
  oxe('utokyo_pr2_tabletop_manipulation', 'image->head', 'state:7', 'action:8'),
  oxe(
    'utokyo_xarm_pick_and_place', 'image->head image2 hand_image->left_wrist',
    'end_effector_pose:6',
  ),
  oxe('utokyo_xarm_bimanual', 'image->head', 'pose_r:6', 'action:14', refused=NO_STATE),
  oxe('robo_net', 'image->head image1 image2', 'state:5', 'action:5', FEATURES),
  oxe('berkeley_mvp', 'hand_image->left_wrist', 'pose:7 gripper:1', 'action:8'),
  oxe('berkeley_rpt', 'hand_image->left_wrist', 'joint_pos:7 gripper:1', 'action:8'),
  oxe('kaist_nonprehensile', 'image->head', 'state:21', 'action:20'),
  oxe('stanford_mask_vit', 'image->head', 'end_effector_pose:5', 'action:5'),
  oxe('tokyo_u_lsmo', 'image->head', 'state:13'),
  oxe('dlr_sara_pour', 'image->head', 'state:6'),
  oxe('dlr_sara_grid_clamp', 'image->head', 'state:12'),
  oxe('dlr_edan_shared_control', 'image->head', 'state:7'),
  oxe('asu_table_top', 'image->head', 'state:7'),
  oxe(
    'stanford_robocook', 'image_1->head image_2 depth_1~float depth_2~float', 'state:7'
  ),
  oxe(
    'imperialcollege_sawyer_wrist_cam', 'image->head wrist_image->left_wrist', 'state:1', 'action:8'
  ),
  oxe('iamlab_cmu_pickup_insert', 'image->head wrist_image->left_wrist', 'state:20', 'action:8'),
  oxe(
    'uiuc_d3field', 'image_1->head image_2 depth_1~float depth_2~float', '', 'action:3',
    refused=NO_STATE,
  ),
  oxe('utaustin_mutex', 'image->head wrist_image->left_wrist', 'state:24'),
  oxe('berkeley_fanuc_manipulation', 'image->head wrist_image->left_wrist', 'state:13', 'action:6'),
  oxe('cmu_playing_with_food', 'image->head finger_vision_1', 'state:6', 'action:9'),
  oxe('cmu_play_fusion', 'image->head', 'state:8', 'action:9'),
  oxe('cmu_stretch', 'image->head', 'state:4', 'action:8'),
  oxe('berkeley_gnm_recon', 'image->head', 'state:3', 'action:2'),
  oxe(
    'droid', 'exterior_image_1_left->head exterior_image_2_left wrist_image_left->left_wrist',
    'joint_position:7 gripper_position:1', facts=DROID,
  ),
  oxe('libero_object (RLDS)', 'image->head wrist_image->left_wrist', 'state:8', facts=FEATURES),
  oxe('RaceVLA', 'image->head', 'state:6', facts=FEATURES),
  hdf5(
    'ALOHA and Mobile ALOHA',
    'observations/images/cam_high->head observations/images/cam_low '
    'observations/images/cam_left_wrist->left_wrist '
    'observations/images/cam_right_wrist->right_wrist',
    'observations/qpos:14', 'action:14', 'MarkFzp/mobile-aloha, and converters',
  ),
  hdf5(
    'Kuavo, ALOHA-like with depth',
    'observations/images/cam_high->head observations/images/cam_left_wrist->left_wrist '
    'observations/images/cam_right_wrist->right_wrist observations/images_depth/cam_high '
    'observations/images_depth/cam_left_wrist observations/images_depth/cam_right_wrist',
    'observations/qpos:16', 'action:20', 'a converter of its HDF5 files',
    prompt='episode_metadata/instruction',
  ),
  hdf5(
    'RoboMIND (Franka, UR, Tien Kung)',
    'observations/rgb_images/camera_top->head observations/rgb_images/camera_left '
    'observations/depth_images/camera_top~uint16',
    'puppet/joint_position:7', 'master/joint_position:7',
    'converters of its HDF5 files', prompt='episode_metadata/language_raw',
  ),
  hdf5(
    'RoboMIND 2.0 (two arms)',
    'observations/rgb_images/camera_top->head observations/rgb_images/camera_front '
    'observations/rgb_images/camera_wrist_left->left_wrist '
    'observations/rgb_images/camera_wrist_right->right_wrist',
    'puppet/joint_position:14', 'master/joint_position:14', 'converters of its HDF5 files',
  ),
  hdf5(
    'AgiBot World', 'videos/head_color->head videos/hand_left_color->left_wrist '
    'videos/hand_right_color->right_wrist videos/head_center_fisheye_color depth/head_depth~uint16',
    'state/joint/position:14 state/effector/position:2',
    'action/joint/position:14 action/effector/position:2',
    'OpenDriveLab/AgiBot-World, and converters',
  ),
  hdf5(
    'LIBERO (HDF5)', 'obs/agentview_rgb->head obs/eye_in_hand_rgb->left_wrist',
    'obs/joint_states:7 obs/gripper_states:2', 'actions:7', 'public loaders of its files',
  ),
  hdf5(
    'robomimic (HDF5)', 'obs/agentview_image->head obs/robot0_eye_in_hand_image->left_wrist',
    'obs/robot0_eef_pos:3 obs/robot0_eef_quat:4', 'actions:7', 'public loaders of its files',
    refused=NO_STATE,
  ),
  hdf5(
    'RoboMME', 'obs/front_rgb->head obs/wrist_rgb->left_wrist obs/front_depth~uint16 '
    'obs/wrist_depth~uint16', 'obs/joint_state:7', 'action/joint_action:8',
    'its doc/h5_data_format.md', refused=NO_STATE,
  ),
  lerobot('lerobot/aloha_sim_insertion_scripted', 'images.top->head', 'observation.state:14'),
  lerobot(
    'HuaihaiLyu/hamburger_heti (ALOHA)', 'images.cam_high->head images.cam_left_wrist->left_wrist '
    'images.cam_right_wrist->right_wrist', 'observation.state:14', 'action:14',
  ),
  lerobot(
    'J-joon/aloha_biplay', 'images.cam_high->head images.cam_low images.cam_left_wrist->left_wrist '
    'images.cam_right_wrist->right_wrist', 'observation.state:14', 'action:14',
  ),
  lerobot('lerobot/xarm_lift_medium', 'image->head', 'observation.state:4', 'action:3'),
  lerobot(
    'lerobot/pusht', 'image->head', 'observation.state:2', 'action:2', success='next.success'
  ),
  lerobot(
    'aractingi/test_push_cube', 'image.image_front image.image_top->head', success='next.success'
  ),
  lerobot('abuod0/so101_vla', 'images.top->head images.wrist->left_wrist', 'observation.state:6'),
  lerobot('ywu67/record-test (SO-100)', 'images.front images.top->head'),
  lerobot('LeRobot-worldwide-hackathon/24', 'images.webcam->head images.wrist->left_wrist'),
  lerobot(
    'QianGroup/lekiwi_fetch_e2e', 'images.overhead->head images.base images.gripper->left_wrist'
  ),
  lerobot('puppet-robotics/test-roundtrip (OpenArm)', 'images.ego->head images.wrist->left_wrist'),
  lerobot(
    'lukhuang/droid_1',
    'images.exterior_image_1_left->head images.exterior_image_2_left '
    'images.wrist_image_left->left_wrist',
    'observation.state.joint_position:7 observation.state.gripper_position:1',
    refused=NO_LEROBOT_STATE,
  ),
  lerobot(
    'RoMALab/groot-robocasa-300',
    'images.robot0_agentview_left_rgb->head images.robot0_agentview_right_rgb '
    'images.robot0_eye_in_hand_rgb->left_wrist',
    'observation.state:9',
  ),
  lerobot(
    'ankile/dexmg-two-arm-threading', 'images.agentview->head '
    'images.robot0_eye_in_hand->left_wrist images.robot1_eye_in_hand->right_wrist',
    'observation.state:18', 'action:14',
  ),
  lerobot('edipark/Sample_v2 (RB-Y1)', 'images.head_rgb->head images.left_rgb images.right_rgb'),
  lerobot('nvidia GR00T robot_sim.PickNPlace', 'images.ego_view->head', facts='NVIDIA/Isaac-GR00T'),
  lerobot(
    'unitree_g1_blocks', 'images.cam_right_high->head images.cam_left_wrist->left_wrist '
    'images.cam_right_wrist->right_wrist', facts='NVIDIA/Isaac-GR00T: its modality.json',
  ),
  lerobot(
    'htrbao/vrh3-coca-serving', 'images.color.front->head images.color.left images.color.right',
    facts='its modality.json',
  ),
  lerobot(
    'zhenyuzhao/Isaac-GR00T LIBERO', 'images.image->head images.wrist_image->left_wrist',
    facts='its modality.json',
  ),
  lerobot(
    'AgiBot World (converted)', 'images.top_head->head images.hand_left->left_wrist '
    'images.hand_right->right_wrist', 'observation.state:20', facts='public converters',
  ),
  lerobot(
    'BEHAVIOR-1K', 'images.rgb.head->head images.rgb.left_wrist->left_wrist '
    'images.rgb.right_wrist->right_wrist images.depth.head images.depth.left_wrist '
    'images.depth.right_wrist images.seg_instance_id.head images.seg_instance_id.left_wrist',
    facts='StanfordVL/BEHAVIOR-1K: its features',
  ),
  lerobot(
    'Aibot2_pick_object', 'images.camera_front->head images.camera_left images.camera_right',
    'observation.state:16', 'action:16',
  ),
  lerobot(
    'RoboCOIN', 'images.cam_high_rgb->head images.cam_left_wrist_rgb->left_wrist '
    'images.cam_right_wrist_rgb->right_wrist', facts='public converters',
  ),
  lerobot(
    'Frontier-Machines/pick-globe', 'images.left_top images.left_bottom images.right_top',
    'observation.state:8', 'action:8', refused='choose, such as --camera head=observation.images.l',
    facts='its dataset_info.json',
  ),
  lerobot(
    'magic0/flexiv-test', 'images.external->head images.left_wrist->left_wrist '
    'images.right_wrist->right_wrist', 'observation.state:20', 'action:20',
  ),
  lerobot(
    'Kovavavvavava/eval_mug_table',
    'images.cam_azure_kinect_back.transformed_depth images.cam_azure_kinect_back.color',
    refused='choose, such as --camera head=observation.images.cam_azure_kinect_back.color',
  ),
  lerobot(
    'HIL-SERL and DAgger recordings of LeRobot',
    'images.camera_top->head images.camera_wrist_left->left_wrist '
    'images.camera_wrist_right->right_wrist',
    success='next.success', intervention='complementary_info.is_intervention',
    facts='recorders that write complementary_info.is_intervention',
  ),
)  # fmt: skip


def table() -> list[str]:
  """A row of the table in the docs for every set."""
  return [_row(found) for found in SETS]


def _row(found: PublicSet) -> str:
  def code(names):
    return ' '.join(f'`{name}`' for name in names) or '—'

  cameras = ' '.join(
    f'`{name}` → {camera}' if camera else f'`{name}`'
    for name, (_, camera) in found.pictures.items()
  )
  told = [f'`{name}`' for name in (found.success, found.intervention) if name]
  by_hand = ' **chosen by option**' if found.refused else ''
  cells = (
    found.name + by_hand, found.kind, code(found.state), code(found.action), cameras or '—',
    code(filter(None, [found.prompt])), ' '.join(told) or '—', found.facts,
  )  # fmt: skip
  return f'| {" | ".join(cells)} |'
