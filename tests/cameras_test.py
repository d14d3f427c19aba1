"""A picture is the camera that its name says, never depth, and never one of two alike by chance."""

import command_line
import pytest

from aloe_jax.data import cameras
from aloe_jax.data import schema
from aloe_jax.data.importers import lerobot_cameras


def roles(*names, **decided):
  return {k: v for k, v in cameras.assign(dict.fromkeys(names, ''), decided).roles.items() if v}


@pytest.mark.parametrize(
  'name, camera',
  [
    ('steps/observation/image', 'head'),
    ('observation.images.cam_high', 'head'),
    ('observation.images.Front', 'head'),
    ('head/rgb', 'head'),
    ('cameras/front/image', 'head'),
    ('rgb_images/camera_top', 'head'),
    ('observation.images.cam_high_rgb', 'head'),
    ('wrist/rgb', 'left_wrist'),
    ('wrist/left', 'left_wrist'),
    ('color_left_wrist', 'left_wrist'),
    ('wrist/right', 'right_wrist'),
    ('right/wrist', 'right_wrist'),
    ('right_arm/wrist/image', 'right_wrist'),
    ('observation/wrist/image_right', 'right_wrist'),
    ('images.RightWrist', 'right_wrist'),
    ('side/rgb', None),
    ('camera_left_rgb', None),
    ('images.left', None),
    ('camera_1', None),
    ('image2', None),
    ('observation/goal/image', None),
    ('next_observation/image', None),
  ],
)
def test_a_name_says_which_camera_it_is(name, camera):
  assert roles(name) == ({camera: name} if camera else {})


@pytest.mark.parametrize(
  'name, kind',
  [
    ('images_depth.cam_high', 'depth'),
    ('depth.front', 'depth'),
    ('observation.images.cam_high_depth', 'depth'),
    ('images.Depth.head', 'depth'),
    ('DepthMap/top', 'depth'),
    ('disparity/top', 'depth'),
    ('images.seg_instance_id.head', 'a mask'),
    ('mask/front', 'a mask'),
    ('segmentation/image', 'a mask'),
    ('ir/front', 'infrared'),
    ('infra1/front', 'infrared'),
    ('front/IRLeft', 'infrared'),
    ('point_cloud/front', 'points in space'),
    ('tactile/left_wrist', 'no picture of light'),
  ],
)
def test_depth_masks_and_infrared_are_no_cameras_in_any_part_of_a_name(name, kind):
  found = cameras.assign({name: ''})
  assert not any(found.roles.values())
  assert found.left_out == {name: f'{kind}, by its name'}


def test_names_that_only_look_like_another_kind_stay_cameras():
  for name in ('observation.images.third_view', 'air/front', 'stairs/top', 'first/head'):
    assert roles(name) == {'head': name}


def test_of_several_the_best_name_is_chosen_and_the_others_are_told_why():
  found = cameras.assign(dict.fromkeys(['a/front', 'image', 'b/front', 'a/side', 'a/wrist'], ''))
  assert found.roles == {'head': 'image', 'left_wrist': 'a/wrist', 'right_wrist': None}
  assert found.left_out == {
    'a/front': 'image has the better name for head',
    'b/front': 'image has the better name for head',
    'a/side': 'its name is that of no camera',
  }
  assert not found.ties
  assert found.lines({'a/wrist': 'wrist'}) == [
    'image -> head',
    'wrist -> left_wrist',
    'a/front: left out: image has the better name for head',
    'b/front: left out: image has the better name for head',
    'a/side: left out: its name is that of no camera',
    'none -> right_wrist',
  ]


@pytest.mark.parametrize(
  'names', [('a/cam_high', 'b/cam_high'), ('head/rgb', 'front/rgb'), ('head/left', 'head/right')]
)
def test_of_two_that_are_alike_none_is_chosen(names):
  found = cameras.assign(dict.fromkeys(names, ''))
  assert found.roles['head'] is None
  assert found.ties == {'head': tuple(sorted(names))}
  first, second = sorted(names)
  assert found.problem('--camera {camera}={name}') == (
    f'head: found {first}, {second}, of which none has the better name; choose, such as '
    f'--camera head={first}.'
  )


def test_the_remedy_of_a_tie_names_all_cameras_where_an_option_leaves_out_the_others():
  names = ('a.cam_high', 'b.cam_high', 'cam_left_wrist', 'cam_right_wrist')
  found = cameras.assign(dict.fromkeys(names, ''))
  assert found.problem('--camera {camera}={name}', names_all=True).endswith(
    'choose, such as --camera head=a.cam_high --camera left_wrist=cam_left_wrist '
    '--camera right_wrist=cam_right_wrist.'
  )
  assert found.problem('{camera}={name}').endswith('choose, such as head=a.cam_high.')


def test_one_picture_is_not_two_cameras():
  with pytest.raises(ValueError, match='wrist was chosen for head and for left_wrist; exp'):
    roles('wrist', head='wrist', left_wrist='wrist')


def test_what_is_said_of_a_picture_that_a_person_chose_is_true():
  decided = {'head': 'zed2', 'left_wrist': 'top', 'right_wrist': 'depth/wrist'}
  assert cameras.assign(dict.fromkeys(decided.values(), ''), decided).lines() == [
    'zed2 -> head',
    'top -> left_wrist as asked, although its name is that of head',
    'depth/wrist -> right_wrist as asked, although it is depth, by its name',
  ]
  assert cameras.assign({'cam_high': ''}, {'head': 'cam_high'}).lines()[0] == 'cam_high -> head'


@pytest.mark.parametrize(
  'names, remedy',
  [
    (('cam_high_depth', 'zed_front_view2'), 'choose, such as --camera head=zed_front_view2.'),
    (('cam_high_depth',), 'choose one with --camera head=NAME if it is of colours all the same.'),
  ],
)
def test_no_remedy_is_a_picture_of_depth(names, remedy, tmp_path):
  features = {name: {'dtype': 'video'} for name in names}
  with pytest.raises(ValueError) as refused:
    lerobot_cameras.assign(features, None, tmp_path / 'info.json')
  assert str(refused.value).endswith(remedy)


@pytest.mark.parametrize(
  'options, message',
  [
    (('head=a', 'head=b'), '--camera: found a and b for head, expected one picture a camera.'),
    (('head=a', 'left_wrist=a'), '--camera: a was chosen for head and for left_wrist; expected'),
  ],
)
def test_import_refuses_cameras_that_are_asked_for_twice(
  options, message, tmp_path, monkeypatch, capsys
):
  given = [f'--camera={option}' for option in options]
  command = ('import', tmp_path, '--from=lerobot', '--to', tmp_path / 'to', '--name=x', *given)
  assert message in command_line.data(monkeypatch, capsys, *command)[0]


def test_what_a_person_decides_counts_and_is_taken_for_nothing_else():
  names = ('a/front', 'b/front', 'wrist', 'depth/front')
  assert roles(*names, head='b/front') == {'head': 'b/front', 'left_wrist': 'wrist'}
  assert roles(*names, head='wrist') == {'head': 'wrist'}
  assert roles(*names, head='depth/front', left_wrist=None) == {'head': 'depth/front'}
  found = cameras.assign(dict.fromkeys(names, ''), {'head': None})
  assert found.left_out['a/front'] == 'none was chosen for head'


def leaf(kind, dtype, *shape):
  return schema.Leaf(kind, dtype, shape, 'png' if kind == 'image' else 'none', True)


def test_a_picture_of_more_than_8_bits_is_told_and_no_camera():
  found = cameras.pictures(
    {
      'steps/image': leaf('image', 'uint8', 96, 96, 3),
      'steps/grey': leaf('image', 'uint8', 96, 96, 1),
      'steps/head': leaf('image', 'uint16', 96, 96, 1),
      'steps/top': leaf('tensor', 'float32', 96, 96, 1),
      'steps/raw': leaf('tensor', 'uint8', 96, 96, 3),
      'steps/front': leaf('text', 'string'),
      'steps/prompt': leaf('text', 'string'),
      'steps/matrix': leaf('tensor', 'float32', 4, 4),
      'steps/features': leaf('tensor', 'float32', 2, 8, 3),
    }
  )
  assert found == {
    'steps/image': '',
    'steps/grey': '',
    'steps/head': 'found uint16 [96, 96, 1], expected 8-bit colours [H, W, 3]',
    'steps/top': 'found float32 [96, 96, 1], expected 8-bit colours [H, W, 3]',
    'steps/raw': '',
    'steps/front': '',
  }
