"""Flags and pictures that say what they do not mean are caught by every command that meets them."""

import io
import json
import re

import av
import command_line
import foreign
import lerobot_files
import numpy as np
from PIL import Image
import pytest

from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import index
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings
from aloe_jax.data.importers import video
from aloe_jax.data.tools import inspection
from aloe_jax.data.tools import validation

STEPS = lerobot_files.STEPS
HEAD, WRIST, SIDE = lerobot_files.FEATURES


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
  """Imports a LeRobot dataset whose first episode has these columns, the others only zeros."""

  def imported(columns, *options):
    more = {
      name: [
        list(first),
        *(
          [[0] if isinstance(first[0], list) else type(first[0])(0)] * length
          for length in STEPS[1:]
        ),
      ]
      for name, first in columns.items()
    }
    lerobot_files.write_v2(tmp_path / 'dataset', 'image', **more)
    given = ('--from', 'lerobot', tmp_path / 'dataset', '--to', tmp_path / 'out', '--name=x')
    return command_line.data(monkeypatch, capsys, 'import', *given, *options)

  return imported


NAN = float('nan')


@pytest.mark.parametrize(
  'name, values, step, found, option',
  [
    ('next.success', [0.0, 0, 0, 0, NAN], 4, 'nan', '--success=none'),
    ('next.success', [0.0, NAN, 0, 0, 1], 1, 'nan', '--success=none'),
    ('next.success', [0, 0, 0, 0, 2], 4, '2', "--success='next.success==1'"),
    ('next.success', [False, None, False, False, True], 1, 'no value', '--success=none'),
    ('next.success', [[False], [True], None, [True], [True]], 2, 'no value', '--success=none'),
    ('intervention', [[0.0], [1.0], [], [1.0], [1.0]], 2, 'no value', '--intervention=none'),
    ('intervention', [0, 0, 1, 2, 2], 3, '2', "--intervention='intervention==1'"),
    ('intervention', [-1, -1, 0, 1, 1], 0, '-1', "--intervention='intervention==1'"),
    ('is_intervention', [0.02, 0.6, 0, 1, 0], 0, '0.02', "--intervention='is_intervention>=0.5'"),
    ('is_intervention', [0.0, 1, NAN, 0, 1], 2, 'nan', '--intervention=none'),
    ('next.done', [False, False, False, None, True], 3, 'no value', 'leave out the episode'),
    ('next.done', [0.0, 0.0, 0.3, 0.0, 1.0], 2, '0.3', 'repair it'),
    ('next.reward', [0.0, 0.0, NAN, 0.0, 1.0], 2, 'nan', '--success=none'),
  ],
)  # fmt: skip
def test_a_flag_that_is_none_stops_an_import_at_its_step(
  name, values, step, found, option, run, tmp_path
):
  status, _, _ = run({name: values})
  assert re.match(
    rf'error: .*episode_000000.parquet, episode 0, step {step}: {name}: found {found}, expected',
    status,
  )
  assert option in status
  assert not (tmp_path / 'out').exists()


def ends(directory):
  found = index.load(directory, {})
  last = found.boundaries[1:] - 1
  return [types.EndReason(end).name for end in found.end_reason[last]]


@pytest.mark.parametrize(
  'columns, options, end',
  [
    ({'next.reward': [1.0] * 5}, (), 'CUT'),
    ({'next.reward': [-1.0, -1, -1, -1, 0]}, (), 'CUT'),
    ({'next.reward': [0.0, 0, 1, 0, 0]}, (), 'CUT'),
    ({'next.reward': [0.0, 0, 0, 1, 1]}, (), 'SUCCESS'),
    ({'next.reward': [0.0, 0, 0, 0.3, 0.95]}, ('--success=next.reward>=0.9',), 'SUCCESS'),
    ({'next.reward': [0.0, 0, 0, 0, 1]}, ('--success=none',), 'CUT'),
    ({'next.success': [0, 0, 0, 0, 2]}, ('--success=next.success==2',), 'SUCCESS'),
    ({'won': [False] * 4 + [True]}, ('--success=won',), 'SUCCESS'),
    ({'outcome': [''] * 4 + ['picked']}, ('--success=none',), 'CUT'),
  ],
)
def test_a_success_is_never_guessed_and_may_be_compared(columns, options, end, run, tmp_path):
  status, _, _ = run(columns, *options)
  assert status == 0
  assert ends(tmp_path / 'out')[0] == end


@pytest.mark.parametrize(
  'values, option, sources',
  [
    ([0.02, 0.01, 0.6, 0.5, 0.1], 'intervention>=0.5', 'pphhp'),
    ([0, 1, 2, 2, 1], 'intervention==2', 'pphhp'),
    ([-1, -1, 0, 1, 1], 'intervention!=-1', 'pphhh'),
  ],
)
def test_a_comparison_says_at_which_steps_a_human_acts(values, option, sources, run, tmp_path):
  status, printed, _ = run({'intervention': values}, f'--intervention={option}')
  assert status == 0
  assert f'flags: {option} -> intervention' in printed
  found = index.load(tmp_path / 'out', {}).source[:5]
  assert ''.join('dph'[source] for source in found) == sources


@pytest.mark.parametrize(
  'columns, end',
  [
    ({'next.success': [False, True, True, False, False]}, 'FAILURE'),
    ({'next.reward': [0.0, 0, 1, 0, 0]}, 'CUT'),
  ],
)
def test_a_success_that_is_lost_is_counted_by_every_command(
  columns, end, run, tmp_path, monkeypatch, capsys
):
  said = 'The task was done and then not any more, so the last step counts, in the episodes: 0.'
  status, printed, _ = run(columns)
  assert status == 0
  assert said in printed
  assert ends(tmp_path / 'out')[0] == end
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', tmp_path / 'out')
  assert said in printed
  (report,) = validation.validate(tmp_path / 'out', {})
  assert [str(note) for note in report.notes if 'done' in note.message] == [said]
  assert report.to_json()['survey']['success_lost'] == [0]
  episodes = list(index.load(tmp_path / 'out', {}).episodes())
  assert [episode.metadata['success_lost'] for episode in episodes] == [True, False, False]


def test_rows_after_a_step_that_is_done_are_kept_and_told(run, tmp_path):
  done = [False, False, True, False, False]
  status, printed, _ = run({'next.done': done, 'next.success': done})
  assert status == 0
  assert 'next.done was set before the last step, where nothing was cut, in the episodes: 0' in (
    printed
  )
  assert ends(tmp_path / 'out')[0] == 'CUT'
  assert np.diff(index.load(tmp_path / 'out', {}).boundaries).tolist() == list(STEPS)


def test_an_option_that_names_no_column_or_no_comparison_is_refused(run):
  status, _, _ = run({'won_success': [0] * 5}, '--success=won')
  assert 'expected won, as asked for by --success' in status


def test_what_looks_like_a_flag_and_is_not_read_is_told(run):
  status, printed, _ = run({'next.success': [False] * 5, 'help.intervening': [0] * 5})
  assert status == 0
  assert 'flags: next.success -> success' in printed
  assert 'flags: help.intervening: not read; --intervention=help.intervening reads it' in printed


def test_a_comparison_that_is_none_is_refused_before_anything_is_read(run):
  status, _, _ = run({'intervention': [0] * 5}, '--intervention=intervention=1')
  assert "--intervention: 'intervention=1': found no comparison" in status


# RLDS


def write(directory, step, values, **more):
  tensor = {float: np.float32, int: np.int64, bool: np.bool_, str: foreign.tfds_features().Text()}
  foreign.simple(
    directory, {name: tensor[kind] for name, kind in step.items()}, values, **more
  )  # of 4, 1 and 3 steps


@pytest.mark.parametrize(
  'name, value, step, found',
  [
    ('success', lambda e, t: NAN if t == 1 else 0.0, 1, 'nan'),
    ('success', lambda e, t: 0.7 if (e, t) == (0, 2) else 0.0, 2, '0.7'),
    ('intervention', lambda e, t: float(t == 2) * 0.02, 2, '0.02'),
    ('is_intervention', lambda e, t: -1.0 if t == 3 else 0.0, 3, '-1'),
  ],
)
def test_a_flag_of_rlds_is_checked_at_every_step(name, value, step, found, tmp_path):
  write(tmp_path / 'data', {name: float}, lambda e, t: {name: value(e, t)})
  key = 'success' if name == 'success' else 'intervention'
  message = rf'episode 0, step {step}: steps/{name}: found {found}, expected .*data.mapping.{key}'
  with pytest.raises(ValueError, match=message):
    index.load(tmp_path / 'data', {})
  (report,) = validation.validate(tmp_path / 'data', {})
  assert any(re.search(message, problem.message) for problem in report.problems)
  none = index.load(tmp_path / 'data', {key: None})
  assert len(none) == 8


def test_codes_and_scores_of_rlds_are_compared_where_the_mapping_says_so(
  tmp_path, monkeypatch, capsys
):
  write(
    tmp_path / 'data', {'source': int, 'score': float},
    lambda e, t: {'source': (0, 2, 2, 1)[t], 'score': 0.9 if t == 2 else 0.1},
  )  # fmt: skip
  with pytest.raises(
    ValueError, match=r"source: steps/source: found tensor int64 .*source=none.*'so"
  ):
    index.load(tmp_path / 'data', {})
  mapping = {'source': None, 'intervention': 'source==2', 'success': 'steps/score>=0.9'}
  found = index.load(tmp_path / 'data', mapping)
  assert ''.join('dph'[source] for source in found.source) == 'phhp' + 'p' + 'phh'
  last = found.boundaries[1:] - 1
  assert [types.EndReason(end).name for end in found.end_reason[last]] == [
    'FAILURE', 'FAILURE', 'SUCCESS',
  ]  # fmt: skip
  options = [f'--mapping.{key}={value or "none"}' for key, value in mapping.items()]
  status, printed, _ = command_line.data(
    monkeypatch, capsys, 'inspect', tmp_path / 'data', *options
  )
  assert status == 0
  assert "--config.data.mapping.success='score>=0.9'" in printed
  assert 'so the last step counts, in the episodes: 0.' in printed
  assert inspection.inspect(tmp_path / 'data', mapping).survey.told == {'success_lost': [0]}


# Pictures


def png(pixels):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, 'png')
  return buffer.getvalue()


def test_a_picture_of_16_bits_is_refused_wherever_it_comes_from(tmp_path, run, monkeypatch):
  deep = png(np.full((8, 8), 1000, np.uint16))
  for read in (image_codec.decode, image_codec.frame_format):
    with pytest.raises(ValueError, match='found a PNG of 16 bits a channel, expected 8'):
      read(deep)
  with pytest.raises(ValueError, match='step 1: found a PNG of 16 bits a channel'):
    image_codec.common_format([png(np.zeros((8, 8), np.uint8)), deep])
  monkeypatch.setattr(lerobot_files, 'png', lambda pixels: deep)
  status, _, _ = run({})
  assert "episode 0: images of 'head': step 0: found a PNG of 16 bits a channel" in status
  text = foreign.tfds_features().Text()
  foreign.simple(tmp_path / 'bytes', {'image': text}, lambda e, t: {'image': deep})
  with pytest.raises(ValueError, match='episode 0, step 0: steps/image: found a PNG of 16 bits'):
    index.load(tmp_path / 'bytes', {})


def test_pictures_of_8_bits_or_less_keep_their_values():
  grey = np.tile(np.linspace(0, 255, 48).astype(np.uint8), (32, 1))
  grey3 = np.stack([grey] * 3, axis=-1)
  colour = np.stack([grey, grey // 2, 255 - grey], axis=-1)
  palette = io.BytesIO()
  Image.fromarray(colour).quantize(255).save(palette, 'png')
  for encoded, expected in (
    (png(grey), grey3),
    (png(np.dstack([colour, np.full_like(grey, 255)])), colour),
    (palette.getvalue(), colour),
    (png(grey > 127), np.where(grey3 > 127, 255, 0)),
  ):
    assert image_codec.frame_format(encoded) == ('png', 32, 48)
    np.testing.assert_array_equal(image_codec.decode(encoded), expected)


def with_info(directory, **info):
  """Adds to what info.json says of features."""
  path = directory / 'meta/info.json'
  meta = json.loads(path.read_text())
  for feature, more in info.items():
    meta['features'][f'observation.images.{feature}'] |= more
  path.write_text(json.dumps(meta))


@pytest.mark.parametrize(
  'told',
  [
    {'info': {'video.is_depth_map': True}},
    {'info': {'is_depth_map': 'true'}},
    {'video_info': {'video.is_depth_map': 1.0}},
    {'video.is_depth_map': True},
    {'info': {'video.pix_fmt': 'gray16le'}},
  ],
)
def test_depth_is_no_camera_wherever_it_is_flagged(told, tmp_path, monkeypatch, capsys):
  lerobot_files.write_v2(tmp_path / 'dataset', 'image')
  with_info(tmp_path / 'dataset', cam_high=told, wrist={'info': {'video.is_depth_map': False}})
  given = ('--from', 'lerobot', tmp_path / 'dataset', '--name=x', '--to')
  status, printed, _ = command_line.data(monkeypatch, capsys, 'import', *given, tmp_path / 'out')
  assert status == 0
  assert index.load(tmp_path / 'out', {}).cameras == ('left_wrist',)
  assert f'images: {WRIST} -> left_wrist' in printed
  assert f'images: {HEAD}: left out: ' in printed
  assert f'images: {SIDE}: left out: its name is that of no camera' in printed
  assert 'images: none -> head, right_wrist' in printed
  status, printed, _ = command_line.data(
    monkeypatch, capsys, 'import', *given, tmp_path / 'chosen', f'--camera=head={HEAD}'
  )
  if 'gray16le' in str(told):
    assert 'found pixels of more than 8 bits (gray16le), expected colours of 8 bits' in status
  else:
    assert status == 0
    assert f'{HEAD} -> head as asked, although it is depth, as info.json says' in printed


def test_two_pictures_that_are_alike_have_to_be_told_apart(tmp_path, monkeypatch, capsys):
  image = foreign.tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  foreign.simple(
    tmp_path / 'data', {'a': {'front': image}, 'b': {'front': image}},
    lambda e, t: {name: {'front': foreign.pixels(e, t)} for name in 'ab'},
  )  # fmt: skip
  wanted = (
    'head: found steps/a/front, steps/b/front, of which none has the better name; choose, such as '
    'config.data.mapping.head=steps/a/front.'
  )
  with pytest.raises(ValueError, match=re.escape(wanted)):
    index.load(tmp_path / 'data', {})
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', tmp_path / 'data')
  assert wanted in status
  assert wanted in printed
  assert 'steps an episode' in printed  # the rest is shown
  assert 'b/front: left out: one of several that may be head' in printed
  found = index.load(tmp_path / 'data', {'images': {'head': 'b/front'}})
  assert found.cameras == ('head',)
  status, printed, _ = command_line.data(
    monkeypatch, capsys, 'inspect', tmp_path / 'data', '--mapping.head=b/front'
  )
  assert status == 0
  assert 'b/front -> head' in printed
  assert 'a/front: left out: steps/b/front was chosen for head' in printed


def test_two_features_of_lerobot_that_are_alike_are_refused_with_both_names(tmp_path, monkeypatch):
  names = ('observation.images.front', 'observation.more.front', SIDE)
  monkeypatch.setattr(lerobot_files, 'FEATURES', names)
  lerobot_files.write_v2(tmp_path / 'dataset', 'image')
  with pytest.raises(ValueError, match=f'{names[0]}, {names[1]}, .*--camera head={names[0]}'):
    lerobot.Dataset(tmp_path / 'dataset', settings.Settings())
  chosen = settings.Settings(cameras={'head': names[1]})
  first = next(iter(lerobot.Dataset(tmp_path / 'dataset', chosen)))
  wanted = lerobot_files.image(0, 0, names[1])
  np.testing.assert_array_equal(image_codec.decode(first.images['head'][0]), wanted)


@pytest.mark.parametrize(
  'pixels, codec, deep',
  [
    ('gray16le', 'ffv1', True),
    ('yuv420p16le', 'ffv1', True),
    ('gray', 'ffv1', False),
    ('yuv420p10le', 'ffv1', False),
  ],
)
def test_a_video_of_depth_is_refused_where_nothing_else_tells_it(pixels, codec, deep, tmp_path):
  path = tmp_path / 'depth.mkv'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
    for _ in range(3):
      frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 100, np.uint8), format='rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  times = np.arange(3) / 10
  if deep:
    with pytest.raises(ValueError, match=f'depth.mkv: found pixels of more than 8 bits .{pixels}'):
      video.read(video.Clip(path), times, fps=10, where='x')
    return
  jpegs = video.read(video.Clip(path), times, fps=10, where='x').jpegs
  np.testing.assert_allclose(image_codec.decode(jpegs[0]).mean(), 100, atol=3)
