"""LeRobot datasets of both versions, with videos or with image columns."""

import fractions
import io
import json

import av
import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq

FPS = 10
STEPS = (5, 7, 4)
TASKS = ('fold the towel', 'fold the shirt')
TASK = (0, 1, 0)  # of every episode
HEAD, WRIST, SIDE = (f'observation.images.{name}' for name in ('cam_high', 'wrist', 'side'))
FEATURES = (HEAD, WRIST, SIDE)


def image(episode, step, feature):
  """[48, 64, 3], flat: the colour tells where it belongs, even after a lossy video."""
  colour = (60 * episode + 40, 25 * step + 20, 60 * FEATURES.index(feature) + 40)
  return np.full((48, 64, 3), colour, np.uint8)


def numbers(episode):
  rng = np.random.default_rng(episode)
  shape = (STEPS[episode], 8)
  return rng.normal(size=shape).astype(np.float32), rng.normal(size=shape).astype(np.float32)


def write_video(path, images, codec='libx264', options=()):
  """By default one keyframe, then B-frames: no frame can be decoded without those before it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=FPS, options=dict(options))
    stream.height, stream.width = images[0].shape[:2]
    stream.pix_fmt = 'yuv420p'
    stream.time_base = fractions.Fraction(1, FPS)
    for pixels in images:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
    container.mux(stream.encode())


def png(pixels):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, 'png')
  return buffer.getvalue()


def rows(episode, images=(), **more):
  """The table of an episode, as LeRobot's writer makes it."""
  length = STEPS[episode]
  state, action = numbers(episode)
  vector = pa.list_(pa.float32(), 8)
  columns = {
    'observation.state': pa.array(state.tolist(), vector),
    'action': pa.array(action.tolist(), vector),
    'timestamp': pa.array(np.arange(length) / FPS, pa.float32()),
    'frame_index': np.arange(length),
    'episode_index': np.full(length, episode),
    'index': sum(STEPS[:episode]) + np.arange(length),
    'task_index': np.full(length, TASK[episode]),
  }
  for feature in images:
    columns[feature] = pa.array(
      [
        {'bytes': png(image(episode, t, feature)), 'path': f'frame_{t:06d}.png'}
        for t in range(length)
      ],
      pa.struct({'bytes': pa.binary(), 'path': pa.string()}),
    )
  return pa.table(columns | {name: pa.array(values) for name, values in more.items()})


def write_parquet(path, table, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  pq.write_table(table, path, **options)


def write_info(directory, version, dtype, columns=(), **more):
  images = {name: {'dtype': dtype, 'shape': [48, 64, 3]} for name in FEATURES}
  numbers = {'dtype': 'float32', 'shape': [8], 'names': None}
  others = {name: {'dtype': 'float32', 'shape': [1], 'names': None} for name in columns}
  info = {
    'codebase_version': version,
    'robot_type': 'aloha',
    'total_episodes': len(STEPS),
    'total_frames': sum(STEPS),
    'chunks_size': 2,
    'fps': FPS,
    'splits': {'train': f'0:{len(STEPS)}'},
    'features': {'observation.state': numbers, 'action': numbers, **others, **images},
  }
  (directory / 'meta').mkdir(parents=True)
  (directory / 'meta/info.json').write_text(json.dumps(info | more))


def write_v2(directory, dtype, version='v2.1', **more):
  """One parquet file an episode, two episodes a chunk; one video an episode and camera."""
  write_info(
    directory,
    version,
    dtype,
    more,
    data_path='data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
    video_path='videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4',
  )
  tasks = [{'task_index': number, 'task': task} for number, task in enumerate(TASKS)]
  episodes = [
    {'episode_index': number, 'tasks': [TASKS[TASK[number]]], 'length': length}
    for number, length in enumerate(STEPS)
  ]
  for name, lines in (('tasks', tasks), ('episodes', episodes)):
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (directory / f'meta/{name}.jsonl').write_text(text)
  for episode, length in enumerate(STEPS):
    chunk = f'chunk-{episode // 2:03d}'
    table = rows(
      episode,
      FEATURES if dtype == 'image' else (),
      **{name: values[episode] for name, values in more.items()},
    )
    write_parquet(directory / f'data/{chunk}/episode_{episode:06d}.parquet', table)
    for feature in FEATURES if dtype == 'video' else ():
      write_video(
        directory / f'videos/{chunk}/{feature}/episode_{episode:06d}.mp4',
        [image(episode, t, feature) for t in range(length)],
      )


def write_v3(directory, task_column='task'):
  """Episodes 0 and 1 in one parquet file and one video a camera, episode 2 in the next ones."""
  write_info(
    directory,
    'v3.0',
    'video',
    data_path='data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
    video_path='videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4',
  )
  tasks = pa.table({'task_index': [0, 1], task_column: list(TASKS)})
  write_parquet(directory / 'meta/tasks.parquet', tasks)
  starts = (0.0, STEPS[0] / FPS, 0.0)
  columns = {
    'episode_index': [0, 1, 2],
    'tasks': [[TASKS[task]] for task in TASK],
    'length': list(STEPS),
    'stats/action/mean': [[0.0] * 8] * 3,
  }
  for feature in FEATURES:
    columns |= {
      f'videos/{feature}/chunk_index': [0, 0, 0],
      f'videos/{feature}/file_index': [0, 0, 1],
      f'videos/{feature}/from_timestamp': list(starts),
      f'videos/{feature}/to_timestamp': [s + n / FPS for s, n in zip(starts, STEPS, strict=True)],
    }
  write_parquet(directory / 'meta/episodes/chunk-000/file-000.parquet', pa.table(columns))
  for file, episodes in enumerate([(0, 1), (2,)]):
    table = pa.concat_tables([rows(episode) for episode in episodes])
    path = directory / f'data/chunk-000/file-{file:03d}.parquet'
    write_parquet(path, table, row_group_size=4)
    for feature in FEATURES:
      write_video(
        directory / f'videos/{feature}/chunk-000/file-{file:03d}.mp4',
        [image(episode, t, feature) for episode in episodes for t in range(STEPS[episode])],
      )
