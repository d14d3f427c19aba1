"""Names that laboratories give their fields (Open X-Embodiment, DROID, LIBERO, LeRobot and others).

Where several are given the best comes first.
"""

CAMERA_NAMES = {  # the last word of a field's path counts
  'head': (
    'image head_image image_primary image_0 front_image static_image rgb_static image_1 rgb '
    'exterior_image_1_left top_image agentview_rgb cam_high agentview_image front_rgb '
    'head cam_head head_camera high top cam_top overhead front cam_front base agentview ego_view'
  ),
  'left_wrist': (
    'left_wrist_image wrist_image_left cam_left_wrist wrist_image image_wrist hand_image '
    'eye_in_hand_rgb eye_in_hand_image rgb_gripper wrist_rgb hand_color_image wristcam '
    'left_wrist wrist_left left_wrist_camera hand_left wrist cam_wrist wrist_camera gripper'
  ),
  'right_wrist': (
    'right_wrist_image wrist_image_right cam_right_wrist right_wrist wrist_right '
    'right_wrist_camera hand_right'
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
  ('observation',),
)
ACTIONS = (
  ('action',),
  ('actions',),
  ('action_dict/joint_position', 'action_dict/gripper_position'),
  ('action/world_vector', 'action/rotation_delta', 'action/gripper_closedness_action'),
  ('action/world_vector', 'action/rotation_delta', 'action/open_gripper'),
  ('action/joint_position', 'action/gripper_position'),
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
  for name in ('success', 'is_success')
)
SOURCE = ('steps/source', 'episode_metadata/source', 'source')
INTERVENTION = (
  'steps/intervention',
  'steps/is_intervention',
  'steps/human_intervention',
  'steps/observation/intervention',
)
END_REASON = ('steps/end_reason',)
FEATURES = 'steps/observation/features'

OUTCOMES = {
  word: succeeded
  for succeeded, words in (
    (True, ('1', 'true', 'yes', 'success')),
    (False, ('0', 'false', 'no', 'failure', 'fail')),
  )
  for word in words
}
