"""Random recordings of a robot in three formats, and plain readers that know nothing of ours.

A recording has 5 to 40 numbers of state and of action, one to four cameras, its own rate, flags
of any type, rows cut off at the head and rows missing in the middle.
"""

import dataclasses
import fractions
import json

import av
import foreign
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROLES = {  # a camera's name in the recording: its role, or None
  'cam_high': 'head',
  'cam_left_wrist': 'left_wrist',
  'cam_right_wrist': 'right_wrist',
  'somewhere': None,
}
RLDS_ROLES = {
  'image': 'head',
  'wrist_image_left': 'left_wrist',
  'wrist_image_right': 'right_wrist',
  'somewhere': None,
}
FLAG_TYPES = (np.bool_, np.int64, np.float32, np.int8, np.float64)
SIZE = 32  # pixels, of a picture's edge
TOLERANCE = 4  # grey levels that video and JPEG may cost; pictures lie 8 apart


@dataclasses.dataclass
class Recorded:
  """What an episode of T rows really was.

  Attributes:
    state: [T, n] float32.
    action: [T, A] float32.
    frame: [T] int, which picture of the episode's video a row belongs to.
    human: [T] bool, or None where nothing tells who acts.
    succeeded: bool, or None where nothing tells.
    prompt: [T] texts.
  """

  state: np.ndarray
  action: np.ndarray
  frame: np.ndarray
  human: np.ndarray | None
  succeeded: bool | None
  prompt: list[str]

  @property
  def holes(self):
    """Rows before a hole."""
    return np.flatnonzero(np.diff(self.frame) > 1)


@dataclasses.dataclass
class Recordings:
  """A dataset of one robot, with what its files are made of."""

  fps: int
  cameras: list[str]
  episodes: list[Recorded]
  frames: list[int]  # pictures of each episode's videos
  flag: type


def draw(seed, *, holes, names=ROLES, steps_prompt=True):
  """A dataset; `holes` says whether rows may be missing."""
  rng = np.random.default_rng(seed)
  n, width = rng.integers(5, 41, 2)
  cameras = [str(name) for name in rng.permutation(list(names))[: rng.integers(1, 5)]]
  if not any(names[name] for name in cameras):
    cameras.append(next(iter(names)))
  tells_human, tells_success = rng.random(2) < 0.7
  episodes, frames = [], []
  for _ in range(rng.integers(2, 4)):
    length = int(rng.integers(5, 10))
    kept = np.arange(length)
    if holes:
      kept = kept[rng.integers(0, 3) :]
      if len(kept) > 4 and rng.random() < 0.5:
        start = rng.integers(1, len(kept) - 2)
        kept = np.delete(kept, np.arange(start, start + rng.integers(1, 3)))
    rows = len(kept)
    task = np.sort(rng.integers(0, 2, rows)) if steps_prompt else np.zeros(rows, int)
    episodes.append(
      Recorded(
        state=rng.normal(size=(rows, n)).astype(np.float32),
        action=rng.normal(size=(rows, width)).astype(np.float32),
        frame=kept,
        human=rng.random(rows) < 0.4 if tells_human else None,
        succeeded=bool(rng.random() < 0.5) if tells_success else None,
        prompt=[('grasp the towel', '叠毛巾 🧺')[t] for t in task],
      )
    )
    frames.append(length)
  flag = FLAG_TYPES[rng.integers(len(FLAG_TYPES))]
  return Recordings(int(rng.choice([5, 10, 15, 30, 50])), cameras, episodes, frames, flag)


def picture(first, frame, camera):
  """[32, 32, 3], flat: which frame of a file, and of which camera."""
  colour = 8 * (first + frame) + 8, 60 * camera + 20, 128
  return np.full((SIZE, SIZE, 3), colour, np.uint8)


def write_video(path, pictures, fps):
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=fps, options={'crf': '1'})
    stream.height = stream.width = SIZE
    stream.pix_fmt = 'yuv420p'
    stream.time_base = fractions.Fraction(1, fps)
    for pixels in pictures:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
    container.mux(stream.encode())


def read_video(path):
  """[(time, RGB)] of all frames, in seconds."""
  with av.open(str(path)) as container:
    return [
      (frame.time, frame.to_ndarray(format='rgb24').reshape(-1, 3).mean(0))
      for frame in container.decode(video=0)
    ]


# LeRobot


def write_lerobot(root, drawn, version):
  """v2.1: a file an episode; v3.0: all episodes in one file of rows and one video a camera."""
  whole = version.startswith('v3')
  first = np.cumsum([0, *drawn.frames])
  features = {
    'observation.state': {'dtype': 'float32', 'shape': [drawn.episodes[0].state.shape[1]]},
    'action': {'dtype': 'float32', 'shape': [drawn.episodes[0].action.shape[1]]},
  }
  for name in drawn.cameras:
    shape = [SIZE, SIZE, 3]
    features[f'observation.images.{name}'] = {'dtype': 'video', 'shape': shape}
  told = drawn.episodes[0]
  for name, is_told in (
    ('next.success', told.succeeded is not None),
    ('is_intervention', told.human is not None),
  ):
    if is_told:
      features[name] = {'dtype': np.dtype(drawn.flag).name, 'shape': [1]}
  file = 'file-{file_index:03d}' if whole else 'episode_{episode_index:06d}'
  chunk = 'chunk-{chunk_index:03d}' if whole else 'chunk-{episode_chunk:03d}'
  place = f'{{video_key}}/{chunk}' if whole else f'{chunk}/{{video_key}}'
  info = dict(
    codebase_version=version,
    fps=drawn.fps,
    chunks_size=1000,
    features=features,
    data_path=f'data/{chunk}/{file}.parquet',
    video_path=f'videos/{place}/{file}.mp4',
  )
  (root / 'meta').mkdir(parents=True)
  (root / 'meta/info.json').write_text(json.dumps(info))
  tasks = sorted({text for episode in drawn.episodes for text in episode.prompt})
  tables = [_rows(drawn, e, tasks) for e in range(len(drawn.episodes))]
  if whole:
    _write_v3_meta(root, drawn, tasks, first)
    tables = [pa.concat_tables(tables)]
  else:
    lines = [json.dumps({'task_index': i, 'task': text}) for i, text in enumerate(tasks)]
    (root / 'meta/tasks.jsonl').write_text('\n'.join(lines))
    lines = [
      json.dumps({'episode_index': e, 'length': len(episode.frame), 'tasks': tasks})
      for e, episode in enumerate(drawn.episodes)
    ]
    (root / 'meta/episodes.jsonl').write_text('\n'.join(lines))
  for number, table in enumerate(tables):
    names = dict(chunk_index=0, file_index=number, episode_chunk=0, episode_index=number)
    path = root / info['data_path'].format(**names)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    for c, name in enumerate(drawn.cameras):
      video = info['video_path'].format(video_key=f'observation.images.{name}', **names)
      total = first[-1] if whole else drawn.frames[number]
      start = 0 if whole else first[number]
      write_video(root / video, [picture(start, k, c) for k in range(total)], drawn.fps)


def _rows(drawn, e, tasks):
  episode = drawn.episodes[e]
  rows = len(episode.frame)
  columns = {
    'observation.state': episode.state.tolist(),
    'action': episode.action.tolist(),
    'timestamp': pa.array(episode.frame / drawn.fps, pa.float32()),
    'frame_index': episode.frame,
    'episode_index': np.full(rows, e),
    'task_index': [tasks.index(text) for text in episode.prompt],
  }
  if episode.succeeded is not None:
    flags = np.zeros(rows, drawn.flag)
    flags[-1] = episode.succeeded
    columns['next.success'] = flags
  if episode.human is not None:
    columns['is_intervention'] = episode.human.astype(drawn.flag)
  return pa.table(columns)


def _write_v3_meta(root, drawn, tasks, first):
  pq.write_table(
    pa.table({'task_index': list(range(len(tasks))), 'task': tasks}), root / 'meta/tasks.parquet'
  )
  count = len(drawn.episodes)
  columns = {
    'episode_index': list(range(count)),
    'length': [len(episode.frame) for episode in drawn.episodes],
  }
  for name in drawn.cameras:
    video = f'videos/observation.images.{name}'
    columns |= {
      f'{video}/chunk_index': [0] * count,
      f'{video}/file_index': [0] * count,
      f'{video}/from_timestamp': (first[:-1] / drawn.fps).tolist(),
      f'{video}/to_timestamp': (first[1:] / drawn.fps).tolist(),
    }
  path = root / 'meta/episodes/chunk-000/file-000.parquet'
  path.parent.mkdir(parents=True)
  pq.write_table(pa.table(columns), path)


def read_lerobot(root, drawn, version):
  """What pyarrow and PyAV find: [{state, action, pictures {camera: [T, 3] colours}, flags}]."""
  whole = version.startswith('v3')
  first = np.cumsum([0, *drawn.frames]) / drawn.fps
  rows = [row for path in sorted(root.glob('data/*/*.parquet')) for row in _read(path)]
  found = []
  for e in range(len(drawn.episodes)):
    own = sorted(
      (row for row in rows if row['episode_index'] == e), key=lambda row: row['frame_index']
    )
    pictures = {}
    for name in drawn.cameras:
      (path,) = (
        path
        for path in root.glob('videos/**/*.mp4')
        if name in str(path) and (whole or path.stem == f'episode_{e:06d}')
      )
      frames = read_video(path)
      start = first[e] if whole else 0.0
      pictures[name] = np.array(
        [min(frames, key=lambda frame: abs(frame[0] - start - row['timestamp']))[1] for row in own]
      )
    found.append(dict(rows=own, pictures=pictures))
  return found


def _read(path):
  return pq.ParquetFile(path).read().to_pylist()


# Plain


def write_plain(root, drawn):
  """A folder an episode; pictures as PNG files by their number."""
  for e, episode in enumerate(drawn.episodes):
    folder = root / f'episode_{e:03d}'
    folder.mkdir(parents=True)
    np.save(folder / 'state.npy', episode.state)
    np.save(folder / 'action.npy', episode.action)
    if episode.human is not None:
      np.save(folder / 'source.npy', np.where(episode.human, 'human', 'policy'))
    told = {'prompt': episode.prompt[0]}
    if episode.succeeded is not None:
      told['success'] = episode.succeeded
    (folder / 'episode.json').write_text(json.dumps(told))
    for c, name in enumerate(drawn.cameras):
      role = ROLES[name]
      if role is None:
        continue
      (folder / role).mkdir()
      for t, frame in enumerate(episode.frame):
        pixels = picture(int(sum(drawn.frames[:e])), frame, c)
        (folder / role / f'{t:06d}.png').write_bytes(foreign.png(pixels))


# RLDS


def write_rlds(root, drawn):
  """By TFDS; flags of the drawn type."""
  features = foreign.tfds_features()
  dtype = np.bool_ if drawn.flag is np.bool_ else drawn.flag
  first = drawn.episodes[0]
  observation = {
    'state': features.Tensor(shape=(first.state.shape[1],), dtype=np.float32),
    **{
      name: features.Image(shape=(SIZE, SIZE, 3), encoding_format='png') for name in drawn.cameras
    },
  }
  steps = {
    'observation': observation,
    'action': features.Tensor(shape=(first.action.shape[1],), dtype=np.float32),
    'language_instruction': features.Text(),
    'is_last': np.bool_,
  }
  if first.human is not None:
    steps['intervention'] = features.Tensor(shape=(), dtype=dtype)
  episode_features = {'episode_metadata': {'file_path': features.Text()}}
  if first.succeeded is not None:
    episode_features['episode_metadata']['success'] = features.Tensor(shape=(), dtype=dtype)

  def example(e, episode):
    base = int(sum(drawn.frames[:e]))
    rows = []
    for t in range(len(episode.frame)):
      row = {
        'observation': {
          'state': episode.state[t],
          **{name: picture(base, episode.frame[t], c) for c, name in enumerate(drawn.cameras)},
        },
        'action': episode.action[t],
        'language_instruction': episode.prompt[t],
        'is_last': t == len(episode.frame) - 1,
      }
      if episode.human is not None:
        row['intervention'] = dtype(episode.human[t])
      rows.append(row)
    metadata = {'file_path': str(e)}
    if episode.succeeded is not None:
      metadata['success'] = dtype(episode.succeeded)
    return {'steps': rows, 'episode_metadata': metadata}

  foreign.write(
    root,
    steps,
    [example(e, episode) for e, episode in enumerate(drawn.episodes)],
    episode=episode_features,
  )


def read_rlds(root):
  """What TFDS finds: [{steps: [nested dictionaries], metadata}]."""
  _, tfds = foreign.load_tensorflow()
  dataset = tfds.builder_from_directory(str(root)).as_dataset(split='train')
  episodes = []
  for episode in dataset:
    steps = list(tfds.as_numpy(episode['steps']))
    episodes.append(dict(steps=steps, metadata=tfds.as_numpy(episode['episode_metadata'])))
  return episodes
