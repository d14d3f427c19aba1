"""LeRobot datasets whose rows are not one for each frame of their video: trimmed, cut, shuffled."""

import json

import lerobot_files
import numpy as np
import pyarrow as pa

from aloe_jax.data import image_codec

FPS = 10
TOP = 'observation.images.top'


def picture(number):
  """[32, 32, 3], grey: tells which frame of all that were recorded it is."""
  return np.full((32, 32, 3), 8 * number + 4, np.uint8)


def number(frame):
  """Which frame an image is."""
  pixels = image_codec.decode(frame) if isinstance(frame, bytes) else frame
  return round((float(pixels.mean()) - 4) / 8)


def episode(kept, *, frames=None, **columns):
  """Rows of the frames `kept`, of a video that has so many `frames`; a column None is left out."""
  kept = np.asarray(kept)
  values = np.tile(kept[:, None], (1, 7)).astype(np.float32)
  told = {
    'observation.state': values.tolist(),
    'action': values.tolist(),
    'timestamp': pa.array(kept / FPS, pa.float32()),
    'frame_index': kept,
    'task_index': np.zeros(len(kept), int),
  }
  return {'columns': told | columns, 'frames': max(kept) + 1 if frames is None else frames}


def write(root, episodes, *, kind='video', version='v2.1', places=None, names=None, **info):
  """Writes the episodes.

  Args:
    root: to make.
    episodes: of `episode`.
    kind: 'video', 'image' for columns of images, or None for no camera.
    version: v2.1 has a file an episode, v3.0 one of rows and one of video for all.
    places: [(from_timestamp, to_timestamp)] in version 3; by default one after another.
    names: tasks; by default one.
    info: more of info.json.
  """
  whole = version.startswith('v3')
  features = {
    name: {'dtype': 'float32', 'shape': [1]}
    for one in episodes
    for name in one['columns']
    if name not in ('timestamp', 'frame_index', 'task_index')
  }
  if kind:
    features[TOP] = {'dtype': kind, 'shape': [32, 32, 3]}
  told = {
    'codebase_version': version,
    'fps': FPS,
    'chunks_size': 1000,
    'features': features,
    'video_path': 'videos/{video_key}/file-000.mp4'
    if whole
    else 'videos/{video_key}/episode_{episode_index:06d}.mp4',
  }
  (root / 'meta').mkdir(parents=True)
  (root / 'meta/info.json').write_text(json.dumps(told | info))
  tables = []
  starts = np.cumsum([0] + [one['frames'] for one in episodes])
  for e, one in enumerate(episodes):
    columns = {name: values for name, values in one['columns'].items() if values is not None}
    length = len(columns['action'])
    columns['episode_index'] = np.full(length, e)
    if kind == 'image':
      kept = np.asarray(one['columns']['action'])[:, 0].astype(int)
      columns[TOP] = [{'bytes': lerobot_files.png(picture(n))} for n in kept]
    tables.append(pa.table({name: pa.array(values) for name, values in columns.items()}))
  names = names or ['fold the towel']
  lengths = [len(table) for table in tables]
  if whole:
    places = places or [(starts[e] / FPS, starts[e + 1] / FPS) for e in range(len(episodes))]
    meta = {'episode_index': list(range(len(episodes))), 'length': lengths}
    for key, values in (
      ('chunk_index', [0] * len(episodes)),
      ('file_index', [0] * len(episodes)),
      ('from_timestamp', [float(start) for start, _ in places]),
      ('to_timestamp', [stop for _, stop in places]),
    ):
      if any(value is not None for value in values):
        meta[f'videos/{TOP}/{key}'] = values
    path = root / 'meta/episodes/chunk-000/file-000.parquet'
    lerobot_files.write_parquet(path, pa.table(meta))
    tasks = pa.table({'task_index': list(range(len(names))), 'task': names})
    lerobot_files.write_parquet(root / 'meta/tasks.parquet', tasks)
    tables = [pa.concat_tables(tables)]
  else:
    lines = [{'task_index': i, 'task': text} for i, text in enumerate(names)]
    (root / 'meta/tasks.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    lines = [{'episode_index': e, 'length': length} for e, length in enumerate(lengths)]
    (root / 'meta/episodes.jsonl').write_text('\n'.join(map(json.dumps, lines)))
  for e, table in enumerate(tables):
    lerobot_files.write_parquet(root / f'data/chunk-000/episode_{e:06d}.parquet', table)
  if kind != 'video':
    return
  if whole:
    frames = [picture(n) for one in episodes for n in range(one['frames'])]
    lerobot_files.write_video(root / f'videos/{TOP}/file-000.mp4', frames)
    return
  for e, one in enumerate(episodes):
    frames = [picture(n) for n in range(one['frames'])]
    lerobot_files.write_video(root / f'videos/{TOP}/episode_{e:06d}.mp4', frames)
