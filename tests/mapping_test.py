"""Fields are found under the names of other laboratories, and wrong paths name the right ones."""

import golden_rlds
import pytest

from aloe_jax.data import mapping
from aloe_jax.data import schema

IMAGE = schema.Leaf('image', 'uint8', (96, 96, 3), 'jpeg', True)
TEXT = schema.Leaf('text', 'string', (), 'none', True)
EPISODE_TEXT = schema.Leaf('text', 'string', (), 'none', False)
FLAG = schema.Leaf('tensor', 'bool', (), 'none', True)
SUCCESS = schema.Leaf('tensor', 'bool', (), 'none', False)


def vector(*shape, dtype='float32'):
  return schema.Leaf('tensor', dtype, shape, 'none', True)


MINIMAL = {'steps/observation/state': vector(7), 'steps/action': vector(7)}
DROID = {
  'steps/observation/exterior_image_1_left': IMAGE,
  'steps/observation/exterior_image_2_left': IMAGE,
  'steps/observation/wrist_image_left': IMAGE,
  'steps/observation/joint_position': vector(7, dtype='float64'),
  'steps/observation/gripper_position': vector(1, dtype='float64'),
  'steps/observation/cartesian_position': vector(6, dtype='float64'),
  'steps/action': vector(7, dtype='float64'),
  'steps/action_dict/joint_position': vector(7, dtype='float64'),
  'steps/action_dict/gripper_position': vector(1, dtype='float64'),
  'steps/language_instruction': TEXT,
  'steps/language_instruction_2': TEXT,
  'steps/language_instruction_3': TEXT,
  'steps/is_last': FLAG,
  'steps/reward': vector(),
  'episode_metadata/file_path': EPISODE_TEXT,
}
BRIDGE = {
  'steps/observation/image_0': IMAGE,
  'steps/observation/image_1': IMAGE,
  'steps/observation/state': vector(7),
  'steps/action': vector(7),
  'steps/language_instruction': TEXT,
}
RT1 = {
  'steps/observation/image': IMAGE,
  'steps/observation/natural_language_instruction': TEXT,
  'steps/observation/state': vector(8),
  'steps/action/world_vector': vector(3),
  'steps/action/rotation_delta': vector(3),
  'steps/action/gripper_closedness_action': vector(1),
  'steps/action/terminate_episode': vector(3, dtype='int32'),
}


def test_the_golden_dataset_needs_no_mapping():
  assert mapping.resolve(schema.read(golden_rlds.DATASET).leaves, {}) == mapping.Resolved(
    images={
      'head': 'steps/observation/image',
      'left_wrist': 'steps/observation/left_wrist_image',
      'right_wrist': 'steps/observation/right_wrist_image',
    },
    state=('steps/observation/state',),
    action=('steps/action',),
    prompt=('steps/language_instruction',),
    success='episode_metadata/success',
    source='episode_metadata/source',
    intervention=None,
    end_reason=None,
    reward=None,
    features=None,
  )


def test_droid_needs_no_mapping():
  found = mapping.resolve(DROID, {})
  assert found.images == {
    'head': 'steps/observation/exterior_image_1_left',
    'left_wrist': 'steps/observation/wrist_image_left',
    'right_wrist': None,
  }
  assert found.state == (
    'steps/observation/joint_position',
    'steps/observation/gripper_position',
  )
  assert mapping.width(DROID, found.state) == 8
  assert found.action == ('steps/action',)
  assert found.prompt == (
    'steps/language_instruction',
    'steps/language_instruction_2',
    'steps/language_instruction_3',
  )
  assert (found.success, found.source, found.reward) == (None, None, None)


def test_bridge_and_rt1_need_no_mapping():
  bridge, rt1 = mapping.resolve(BRIDGE, {}), mapping.resolve(RT1, {})
  assert bridge.images['head'] == 'steps/observation/image_0'
  assert bridge.images['left_wrist'] is None
  assert rt1.action == (
    'steps/action/world_vector',
    'steps/action/rotation_delta',
    'steps/action/gripper_closedness_action',
  )
  assert rt1.prompt == ('steps/observation/natural_language_instruction',)


def test_cameras_are_found_however_deep_by_their_last_word():
  leaves = MINIMAL | {
    'steps/observation/depth/cam_high': IMAGE,
    'steps/observation/images/cam_high': IMAGE,
    'steps/observation/images/cam_left_wrist': IMAGE,
    'steps/observation/images.hand_right': IMAGE,
  }
  found = mapping.resolve(leaves, {}).images
  assert found == {
    'head': 'steps/observation/images/cam_high',
    'left_wrist': 'steps/observation/images/cam_left_wrist',
    'right_wrist': 'steps/observation/images.hand_right',
  }


def test_bytes_of_images_may_be_kept_as_texts_and_depth_is_no_camera():
  depth = schema.Leaf('image', 'uint16', (96, 96, 1), 'png', True)
  leaves = MINIMAL | {'steps/observation/image': depth, 'steps/observation/image_0': TEXT}
  assert mapping.resolve(leaves, {}).images['head'] == 'steps/observation/image_0'
  clip = schema.Leaf('image', 'uint8', (8, 96, 96, 3), 'jpeg', True)
  assert mapping.resolve(MINIMAL | {'steps/image': clip}, {}).images['head'] is None


def test_labels_with_names_are_texts():
  label = schema.Leaf('label', 'int64', (), 'none', True, ('demo', 'human'))
  found = mapping.resolve(MINIMAL | {'steps/source': label, 'steps/task': label}, {})
  assert (found.source, found.prompt) == ('steps/source', ('steps/task',))
  nameless = schema.Leaf('label', 'int64', (), 'none', True)
  with pytest.raises(ValueError, match='source: steps/source: found label int64 .*source=none'):
    mapping.resolve(MINIMAL | {'steps/source': nameless}, {})


def test_the_success_of_the_episode_comes_before_that_of_a_step_and_a_reward_has_to_be_chosen():
  leaves = MINIMAL | {'steps/is_success': FLAG, 'steps/reward': vector()}
  assert mapping.resolve(leaves, {}).success == 'steps/is_success'
  assert mapping.resolve(leaves, {'success': 'reward'}).success == 'steps/reward'
  assert mapping.resolve(leaves | {'success': SUCCESS}, {}).success == 'success'


def test_fields_at_the_top_are_found_too():
  leaves = MINIMAL | {'success': SUCCESS, 'source': EPISODE_TEXT, 'task': EPISODE_TEXT}
  found = mapping.resolve(leaves, {})
  assert (found.success, found.source, found.prompt) == ('success', 'source', ('task',))


def test_an_observation_that_is_one_vector_is_the_state():
  leaves = {'steps/observation': vector(9), 'steps/action': vector(3)}
  assert mapping.resolve(leaves, {}).state == ('steps/observation',)


def test_of_numbers_to_concatenate_all_must_exist():
  leaves = {'steps/observation/EEF_state': vector(6), 'steps/action': vector(7)}
  assert mapping.resolve(leaves, {}).state == ('steps/observation/EEF_state',)


def test_what_is_proposed_resolves_to_what_was_proposed():
  for leaves in (DROID, BRIDGE, RT1, schema.read(golden_rlds.DATASET).leaves):
    assert mapping.resolve(leaves, mapping.propose(leaves)) == mapping.resolve(leaves, {})


def test_paths_are_looked_for_among_the_steps_first():
  leaves = MINIMAL | {'steps/source': TEXT, 'source': EPISODE_TEXT, 'robot': EPISODE_TEXT}
  assert mapping.resolve(leaves, {'source': 'source'}).source == 'steps/source'
  assert mapping.resolve(leaves, {'source': 'steps/source'}).source == 'steps/source'
  assert mapping.resolve(leaves, {'source': 'robot'}).source == 'robot'


def test_a_camera_takes_the_first_field_that_exists():
  wanted = {'images': {'head': ['observation/front', 'observation/image_1'], 'left_wrist': None}}
  found = mapping.resolve(BRIDGE, wanted)
  assert found.images['head'] == 'steps/observation/image_1'


def test_none_means_there_is_none():
  leaves = schema.read(golden_rlds.DATASET).leaves
  found = mapping.resolve(
    leaves, {'images': {'head': None}, 'success': None, 'source': None, 'prompt': None}
  )
  assert found.images['head'] is None
  assert found.images['left_wrist'] == 'steps/observation/left_wrist_image'
  assert (found.success, found.source, found.prompt) == (None, None, ())
  assert set(mapping.resolve(leaves, {'images': None}).images.values()) == {None}


def test_numbers_are_concatenated_in_the_order_given():
  wanted = ['action_dict/gripper_position', 'action_dict/joint_position']
  found = mapping.resolve(DROID, {'action': wanted, 'reward': 'reward'})
  assert found.action == tuple(f'steps/{path}' for path in wanted)
  assert found.reward == 'steps/reward'


def test_features_that_stand_in_for_images_are_found():
  leaves = MINIMAL | {'steps/observation/features': vector(3, 4)}
  assert mapping.resolve(leaves, {}).features == 'steps/observation/features'


@pytest.mark.parametrize(
  'wanted, message',
  [
    ({'images': {'head': 'observation/image'}}, 'images.head: observation/image is missing.*'
     'steps/observation/image_0'),
    ({'state': 'observation/stat'}, 'state: observation/stat is missing.*observation/state'),
    ({'action': ['action', 'grip']}, 'action: grip is missing; the nearest fields are'),
    ({'prompt': ['instruction']}, 'prompt: instruction is missing.*language_instruction'),
    ({'success': 'won'}, 'success: won is missing'),
    ({'state': 'language_instruction'}, 'found text string .* of every step, expected numbers'),
    ({'success': 'action'}, 'success: steps/action: found tensor float32 .7. of every step'),
    ({'images': {'head': 'observation/state'}}, 'expected images, their bytes, or uint8 pixels'),
    ({'images': {'front': 'x'}}, "images: found the key 'front', expected some of .*'head'"),
    ({'image': {}}, "the mapping: found the key 'image'"),
  ],
)  # fmt: skip
def test_a_wrong_path_names_the_key_and_the_nearest_fields(wanted, message):
  with pytest.raises(ValueError, match=message):
    mapping.resolve(BRIDGE, wanted)


def test_a_dataset_without_a_known_state_lists_the_candidates():
  leaves = {'steps/action': vector(7), 'steps/observation/odd_name': vector(9), 'steps/x': TEXT}
  with pytest.raises(ValueError, match='state: found no field .* steps/action, steps/observation/'):
    mapping.resolve(leaves, {})
  with pytest.raises(ValueError, match='action: found no field'):
    mapping.resolve({'steps/observation/state': vector(7)}, {})


def test_numbers_of_actions_that_are_alone_are_candidates_too():
  leaves = {'steps/observation/state': vector(7), 'steps/reward': vector()}
  leaves |= {'steps/action/arm': vector(6), 'steps/action/gripper': FLAG}
  with pytest.raises(ValueError, match='steps/action/arm, steps/action/gripper, steps/obs'):
    mapping.resolve(leaves, {})


def test_a_field_with_a_name_in_use_that_cannot_be_read_is_named():
  leaves = MINIMAL | {'steps/observation/state': vector(-1)}
  with pytest.raises(ValueError, match='steps/observation/state: found tensor float32 .-1.'):
    mapping.resolve(leaves, {})


def test_lists_of_varying_length_are_refused():
  ragged = schema.Leaf('ragged', 'float32', (), 'none', True)
  with pytest.raises(ValueError, match='found ragged'):
    mapping.resolve(MINIMAL | {'steps/list': ragged}, {'action': 'list'})


def test_a_state_of_any_width_is_found():
  leaves = MINIMAL | {'steps/wide': vector(33)}
  found = mapping.resolve(leaves, {'state': ['wide', 'action']})
  assert mapping.width(leaves, found.state) == 40


def test_a_flat_table_of_texts_is_a_mapping():
  fields = {
    'head': 'observation/image',
    'left_wrist': 'none',
    'right_wrist': '',
    'state': 'observation/a, observation/b',
    'success': '',
    'reward': 'none',
  }
  assert mapping.parse(fields) == {
    'images': {'head': 'observation/image', 'left_wrist': None, 'right_wrist': ''},
    'state': ['observation/a', 'observation/b'],
    'success': '',
    'reward': None,
  }
