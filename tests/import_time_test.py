"""Rows are put in order by their times; holes cut an episode; contradictions are refused."""

import lerobot_timed
import numpy as np
import pyarrow as pa
import pytest

from aloe_jax import types
from aloe_jax.data import fragments
from aloe_jax.data import index
from aloe_jax.data import rlds
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings as settings_lib

FPS = lerobot_timed.FPS
CUT, TAKEOVER = types.EndReason.CUT, types.EndReason.TAKEOVER
episode = lerobot_timed.episode
KINDS = ('video', 'image', None)
HOLE = [0, 1, 2, 3, 8, 9, 10, 11]


def seconds(*times):
  return pa.array(np.array(times), pa.float32())


def read(root, episodes, *, settings=None, **options):
  lerobot_timed.write(root / 'in', episodes, **options)
  return list(lerobot.Dataset(root / 'in', settings or settings_lib.Settings()))


def refusal(root, one, **options):
  with pytest.raises(ValueError) as refused:
    read(root, [episode(range(5)), one], **options)
  return str(refused.value)


def frames(found):
  """Which frame's state, action and picture each row has, once they agree."""
  numbers = found.state[:, 0].tolist()
  assert found.action[:, 0].tolist() == numbers
  for images in (found.images or {}).values():
    assert [lerobot_timed.number(frame) for frame in images] == numbers
  return numbers


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('missing', [{}, {'timestamp': None}, {'frame_index': None}])
def test_a_hole_cuts_the_episode_and_no_chunk_spans_it(kind, missing, tmp_path):
  settings = settings_lib.Settings()
  whole, holed = episode(range(6), **missing), episode(HOLE, **missing)
  found = read(tmp_path, [whole, holed], kind=kind, settings=settings)
  assert [frames(one) for one in found] == [list(range(6)), HOLE]
  assert found[1].end_reason.tolist() == [0, 0, 0, CUT, 0, 0, 0, CUT]
  assert settings.log.notes() == ['1 hole in episode 1: the episode is cut there']
  rlds.write(tmp_path / 'out', found, name='x')
  read_back = index.load(tmp_path / 'out', {})
  is_first = np.zeros(14, bool)
  is_first[read_back.boundaries[:-1]] = True
  pieces = fragments.index(read_back.source, read_back.end_reason, is_first)
  starts = fragments.starts(pieces)
  chunks = fragments.chunk(pieces, starts, 3, np.zeros(14), 0.9)
  for rows, valid in zip(chunks.action_row, chunks.valid, strict=True):
    steps = np.diff(read_back.state[rows[valid], 0])
    np.testing.assert_array_equal(steps, 1)


def test_the_holes_of_all_episodes_are_counted(tmp_path):
  settings = settings_lib.Settings()
  read(tmp_path, [episode([0, 1, 4, 6]), episode(range(4)), episode([3, 5])], settings=settings)
  assert settings.log.notes() == ['3 holes in episodes 0, 2: the episode is cut there']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('missing', [{}, {'timestamp': None}, {'frame_index': None}])
def test_rows_are_sorted_by_their_time(kind, missing, tmp_path):
  shuffled = episode([3, 0, 4, 1, 2], frames=5, **missing)
  (found,) = read(tmp_path, [shuffled], kind=kind)
  assert frames(found) == [0, 1, 2, 3, 4]
  assert found.end_reason.tolist() == [0, 0, 0, 0, CUT]


def test_flags_and_prompts_go_with_their_rows(tmp_path):
  more = {'next.success': [False, True, False], 'task_index': [0, 1, 0]}
  names = ['grasp', 'fold']
  (found,) = read(tmp_path, [episode([0, 2, 1], **more)], names=names)
  assert found.prompt == ['grasp', 'grasp', 'fold']
  assert found.end_reason.tolist() == [0, 0, types.EndReason.SUCCESS]


def test_a_take_over_in_a_hole_is_a_cut_and_told(tmp_path):
  settings = settings_lib.Settings()
  acts = [0, 0, 1, 1, 0, 0, 1, 1]  # a human, first from the step before the hole on
  holed = episode([0, 1, 2, 3, 4, 5, 8, 9], is_intervention=acts)
  (found,) = read(tmp_path, [holed], settings=settings)
  assert found.end_reason.tolist() == [0, TAKEOVER, 0, 0, 0, CUT, 0, CUT]
  (note,) = settings.log.notes()
  assert note.startswith('1 hole in episode 0: the episode is cut there; 1 of them between the pol')


def test_an_end_that_was_recorded_at_a_hole_stays():
  end_reason = np.array([0, TAKEOVER, 0, types.EndReason.FAILURE, 0, CUT], np.int8)
  numbers = np.zeros((6, 3), np.float32)
  found = settings_lib.make_episode(
    'here',
    state=numbers,
    action=numbers,
    images={},
    source=np.array([1, 1, 2, 1, 1, 1]),
    end_reason=end_reason,
    prompt='fold',
    metadata={},
    holes=[1, 2, 3],
  )
  assert found.end_reason.tolist() == [0, TAKEOVER, CUT, types.EndReason.FAILURE, 0, CUT]
  assert end_reason[2] == 0


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
  'changes, message',
  [
    ({'frame_index': [0, 1, 2, 2, 4]}, 'step 3: frame_index: found 2 twice, expected one row for'),
    ({'frame_index': [0, 1, None, 3, 4]}, 'step 2: frame_index: found nan, expected a number of 0'),
    ({'frame_index': [-1, 0, 1, 2, 3]}, 'step 0: frame_index: found -1, expected a number of 0'),
    ({'frame_index': [[0, 1]] * 5}, 'frame_index: found 2 numbers a step, expected one'),
    ({'frame_index': list('abcde')}, 'frame_index: found no number, or not one at every step'),
    ({'timestamp': seconds(0, 0.1, np.nan, 0.3, 0.4)}, 'step 2: timestamp: found nan, expected'),
    ({'timestamp': seconds(0, 0.1, np.inf, 0.3, 0.4)}, 'step 2: timestamp: found inf, expected'),
    ({'timestamp': seconds(0, 0.1, 0.1, 0.3, 0.4)}, 'step 2: timestamp: found 0.1 twice'),
    ({'timestamp': seconds(0, 0.3, 0.2, 0.1, 0.4)}, 'step 2: timestamp: found 0.2 after 0.3'),
    (
      {'timestamp': seconds(0, 0.2, 0.4, 0.6, 0.8)},
      'timestamp: found 5 steps a second, expected 1',
    ),
    ({'timestamp': seconds(0, 0.04, 0.08, 0.12, 0.16)}, 'timestamp: found 25 steps a second'),
    (
      {'timestamp': None, 'frame_index': [0, 2, 2, 6, 8]},
      'step 2: frame_index: found 2 twice, expected one row for each',
    ),
  ],
)
def test_times_that_contradict_themselves_are_refused_by_step(kind, changes, message, tmp_path):
  found = refusal(tmp_path, episode(range(5), **changes), kind=kind)
  assert 'episode_000001.parquet, episode 1' in found
  assert message in found


def test_both_columns_have_to_agree_to_half_a_frame_where_there_is_a_video(tmp_path):
  later = seconds(0.4, 0.5, 0.6, 0.7, 0.8)
  found = refusal(tmp_path / 'a', episode(range(5), frames=12, timestamp=later))
  assert 'episode 1, step 0: found timestamp 0.4000 s and frame_index 0, which is 0.0000 s' in found
  near = episode(range(5), timestamp=seconds(0.04, 0.08, 0.23, 0.3, 0.42))
  (found,) = read(tmp_path / 'b', [near])
  assert frames(found) == [0, 1, 2, 3, 4]
  (found,) = read(tmp_path / 'c', [episode(range(5), timestamp=later)], kind='image')
  assert frames(found) == [0, 1, 2, 3, 4]


def test_steps_that_tremble_are_no_hole_and_no_other_rate(tmp_path):
  times = seconds(0, 0.14, 0.2, 0.29, 0.41, 0.5)
  (found,) = read(tmp_path, [episode(range(6), timestamp=times)], kind=None)
  assert not found.end_reason[:-1].any()


def test_a_time_of_one_number_in_a_list_is_a_number(tmp_path):
  boxed = {'timestamp': [[t / FPS] for t in HOLE], 'frame_index': [[n] for n in HOLE]}
  (found,) = read(tmp_path, [episode(HOLE, **boxed)])
  assert frames(found) == HOLE


def test_the_rate_is_kept_and_has_to_be_one(tmp_path):
  (found,) = read(tmp_path / 'a', [episode(range(3))])
  assert found.metadata['fps'] == FPS
  for fps in (0, -5, True, 'fast', None):
    with pytest.raises(ValueError, match='fps: found .*, expected the steps per second'):
      read(tmp_path / str(fps), [episode(range(3))], fps=fps)


@pytest.mark.parametrize('unit', [1, 1e3, 1e6, 1e9])
@pytest.mark.parametrize('kept', [range(6), range(2, 8), HOLE])
def test_times_of_a_clock_count_from_the_place_of_the_first_row(unit, kept, tmp_path):
  clock = pa.array((1.7e9 + np.asarray(kept) / FPS) * unit, pa.float64())
  (found,) = read(tmp_path, [episode(kept, timestamp=clock)])
  assert frames(found) == list(kept)
  assert np.count_nonzero(found.end_reason) == (2 if kept is HOLE else 1)


def test_times_of_a_clock_alone_do_not_find_a_picture(tmp_path):
  clock = pa.array(1.7e9 + np.arange(6) / FPS, pa.float64())
  alone = episode(range(6), timestamp=clock, frame_index=None)
  assert 'found 1700000000, the time of a clock, and no frame_index; exp' in refusal(
    tmp_path / 'video', alone
  )
  assert frames(read(tmp_path / 'bare', [alone], kind=None)[0]) == list(range(6))
  coarse = episode(range(6), timestamp=seconds(*(1.7e9 + np.arange(6) / FPS)))
  assert 'remove the column: frame_index alone says when' in refusal(tmp_path / 'coarse', coarse)
