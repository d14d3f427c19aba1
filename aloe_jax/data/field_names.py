"""Names that laboratories give their fields (Open X-Embodiment, DROID, LIBERO, LeRobot and others).

Where several are given the best comes first.
"""

CAMERA_NAMES = {  # the last word of a field's path counts; see `cameras`
  'head': (
    'image head_image image_primary image_0 front_image static_image rgb_static image_1 rgb '
    'exterior_image_1_left top_image agentview_rgb cam_high agentview_image front_rgb '
    'head cam_head head_camera high top cam_top overhead front cam_front base agentview ego_view '
    'head_color head_rgb head_center top_head camera_head camera_top camera_front exterior_1_left '
    'robot0_agentview_left_image robot0_agentview_left robot0_agentview_image highres_image '
    'cam_right_high cam_left_high cam_third_view third_view primary main ego egocentric scene '
    'static base_0_rgb front_camera top_camera camera_high image_top image_front webcam table_cam '
    'external robot0_agentview_left_rgb'
  ),
  'left_wrist': (
    'left_wrist_image wrist_image_left cam_left_wrist wrist_image image_wrist hand_image '
    'eye_in_hand_rgb eye_in_hand_image rgb_gripper wrist_rgb hand_color_image wristcam '
    'left_wrist wrist_left left_wrist_camera hand_left wrist cam_wrist wrist_camera gripper '
    'hand_left_color left_wrist_rgb left_wrist_0_rgb camera_left_wrist camera_wrist_left left_hand '
    'left_hand_image left_gripper robot0_eye_in_hand_image robot0_eye_in_hand eye_in_hand '
    'wrist45_image hand handcam camera_wrist wrist_cam wrist_view left_wrist_cam gripper_image '
    'robot0_eye_in_hand_rgb'
  ),
  'right_wrist': (
    'right_wrist_image wrist_image_right cam_right_wrist right_wrist wrist_right '
    'right_wrist_camera hand_right '
    'hand_right_color right_wrist_rgb right_wrist_0_rgb camera_right_wrist camera_wrist_right '
    'right_hand right_hand_image right_gripper robot1_eye_in_hand_image robot1_eye_in_hand '
    'robot1_eye_in_hand_rgb right_wrist_cam'
  ),
}
STATES = (  # each concatenated
  ('observation/state',),
  ('observation/proprio',),
  ('observation/joint_position', 'observation/gripper_position'),
  ('observation/joint_state', 'observation/gripper_state'),
  ('observation/EEF_state', 'observation/gripper_state'),
  ('observation/joint_state',),
  ('observation/EEF_state',),
  ('observation/robot_obs',),
  ('observation/robot_state',),
  ('observation/joint_position',),
  ('observation/qpos',),
  ('observations/qpos',),
  ('observation/joint_positions', 'observation/gripper_position'),
  ('observation/joint_positions', 'observation/gripper_positions'),
  ('observation/joint_positions',),
  ('observation/joint_states', 'observation/gripper_states'),
  ('observation/joint_states',),
  ('observation/joint_pos', 'observation/gripper'),
  ('observation/joint_pos', 'observation/gripper_pos'),
  ('observation/joint_pos',),
  ('observation/arm_joint_position', 'observation/gripper_position'),
  ('observation/pose', 'observation/gripper'),
  ('puppet/joint_position',),
  ('state/joint/position', 'state/effector/position'),
  ('obs/joint_states', 'obs/gripper_states'),
  ('observation/end_effector_pose',),
  ('observation/end_effector_cartesian_pos',),
  ('observation/base_pose_tool_reached', 'observation/gripper_closed'),
  (
    'observation/clip_function_input/base_pose_tool_reached',
    'observation/gripper_closed',
  ),
  (
    'observation/present/xyz',
    'observation/present/axis_angle',
    'observation/present/sensed_close',
  ),
  ('observation/ee_position', 'observation/ee_orientation'),
  ('observation/effector_translation',),
  ('observation/proprioception',),
  ('observation',),
  ('state',),
  ('qpos',),
  ('proprio',),
)
ACTIONS = (
  ('action',),
  ('actions',),
  ('action_dict/joint_position', 'action_dict/gripper_position'),
  ('action/world_vector', 'action/rotation_delta', 'action/gripper_closedness_action'),
  ('action/world_vector', 'action/rotation_delta', 'action/open_gripper'),
  ('action/joint_position', 'action/gripper_position'),
  ('action/rel_actions_world',),
  (
    'action/future/xyz_residual',
    'action/future/axis_angle_residual',
    'action/future/target_close',
  ),
  ('action/world_vector', 'action/gripper_closedness_action'),
  ('action/joint/position', 'action/effector/position'),
  ('master/joint_position',),
)
_INSTRUCTIONS = (
  'language_instruction',
  'language_instruction_2',
  'language_instruction_3',
  'natural_language_instruction',
  'instruction',
  'task_description',
  'task_instruction',
  'language_text',
  'language',
  'language_raw',
  'prompt',
  'task',
)
PROMPT = (
  *(f'steps/{name}' for name in _INSTRUCTIONS),
  *(f'steps/observation/{name}' for name in _INSTRUCTIONS),
  *(f'episode_metadata/{name}' for name in _INSTRUCTIONS),
  *_INSTRUCTIONS,
)
SUCCESS = tuple(
  f'{place}{name}'
  for place in ('episode_metadata/', '', 'steps/')
  for name in (
    'success',
    'is_success',
    'successful',
    'episode_success',
    'task_success',
    'is_episode_successful',
    'outcome',
  )
)
SOURCE = ('steps/source', 'episode_metadata/source', 'source')
_INTERVENTIONS = (
  'intervention',
  'is_intervention',
  'human_intervention',
  'human_control',
  'is_human_control',
  'intervened',
  'is_human',
  'is_human_action',
)
INTERVENTION = tuple(
  f'steps/{place}{name}' for place in ('', 'observation/', 'info/') for name in _INTERVENTIONS
)
END_REASON = ('steps/end_reason',)

# Of LeRobot, whose names have dots
LEROBOT_STATE = ('observation.state', 'state', 'observation.qpos', 'qpos', 'observation.states')
LEROBOT_ACTION = ('action', 'actions')
LEROBOT_INTERVENTION = tuple(
  f'{place}{name}'
  for place in ('complementary_info.', '', 'observation.', 'info.')
  for name in _INTERVENTIONS
)
LEROBOT_SUCCESS = (
  'next.success',
  'success',
  'is_success',
  'episode_success',
  'is_episode_successful',
  'outcome',
)
FEATURES = 'steps/observation/features'

OUTCOMES = {
  word: succeeded
  for succeeded, words in (
    (True, ('1', 'true', 'yes', 'success', 'successful', 'succeeded')),
    (False, ('0', 'false', 'no', 'failure', 'fail', 'failed', 'unsuccessful')),
  )
  for word in words
}
