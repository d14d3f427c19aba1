"""Frames per second of processor time and memory of the import of LeRobot videos.

  python -m benchmarks.video_import --workdir=runs/benchmark_import

Recordings are made once and kept. They are imported by the command, and decoded and encoded by a
plain loop over PyAV and simplejpeg that writes nothing, each in a process of its own and in turn.
Medians over the rounds; a process's start, with its imports, is in its seconds.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq
import rich.table

from aloe_jax import progress

FPS = 30
CAMERAS = ('cam_high', 'cam_left_wrist', 'cam_right_wrist')
GRAIN = 8  # grey levels at most
_LOOP = """
import pathlib, sys, av, simplejpeg
for path in sorted(pathlib.Path(sys.argv[1]).rglob('*.mp4')):
  with av.open(str(path)) as container:
    for frame in container.decode(video=0):
      simplejpeg.encode_jpeg(frame.to_ndarray(format='rgb24'), quality=95)
"""


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(prog='python -m benchmarks.video_import', description=__doc__)
  parser.add_argument('--workdir', type=pathlib.Path, required=True, help='keeps the recordings')
  parser.add_argument('--episodes', type=int, default=12)
  parser.add_argument('--steps', type=int, default=200, help='of each episode')
  parser.add_argument('--size', type=int, nargs=2, default=(96, 128), metavar=('H', 'W'))
  parser.add_argument('--rounds', type=int, default=5)
  arguments = parser.parse_args()
  height, width = arguments.size
  source = arguments.workdir / f'{arguments.episodes}_{arguments.steps}_{height}x{width}'
  if not source.exists():
    _record(source, arguments.episodes, arguments.steps, (height, width))
  target = arguments.workdir / 'imported'
  line = ['import', str(source), '--from=lerobot', f'--to={target}', '--name=grain']
  commands = {
    'import': [sys.executable, '-m', 'aloe_jax.data', *line],
    'plain loop': [sys.executable, '-c', _LOOP, str(source)],
  }
  found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
  with progress.bar('Measure', arguments.rounds, 'rounds') as advance:
    for number in range(arguments.rounds):
      for name, command in commands.items():
        shutil.rmtree(target, ignore_errors=True)
        found[name].append(_measure(command))
      advance(number + 1)
  frames = len(CAMERAS) * arguments.episodes * arguments.steps
  table = rich.table.Table()
  for column in ('', 'seconds', 'processor seconds', 'frames/processor s', 'of the loop', 'memory'):
    table.add_column(column, justify='right' if column else 'left')
  loop = statistics.median(processor for _, processor, _ in found['plain loop'])
  for name, measured in found.items():
    seconds, processor, memory = map(statistics.median, zip(*measured, strict=True))
    cells = (f'{seconds:.2f}', f'{processor:.2f}', f'{frames / processor:.0f}')
    table.add_row(name, *cells, f'{loop / processor:.2f}', f'{memory / 1e6:.0f} MB')
  progress.CONSOLE.print(table)


def _measure(command: list[str]) -> tuple[float, float, float]:
  """Seconds, processor seconds and peak memory in bytes of a process."""
  start = time.perf_counter()
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  _, status, used = os.wait4(process.pid, 0)
  if status:
    raise RuntimeError(f'{command}: found the exit status {status}, expected 0.')
  seconds = time.perf_counter() - start
  return seconds, used.ru_utime + used.ru_stime, 1024.0 * used.ru_maxrss


def _record(root: pathlib.Path, episodes: int, steps: int, size: tuple[int, int]) -> None:
  """A LeRobot dataset of version 2.1 whose videos have grain."""
  import av

  partial = root.with_name(f'.{root.name}.partial')
  shutil.rmtree(partial, ignore_errors=True)
  (partial / 'meta').mkdir(parents=True)
  features = {name: {'dtype': 'float32', 'shape': [14]} for name in ('observation.state', 'action')}
  features |= {
    f'observation.images.{name}': {'dtype': 'video', 'shape': [*size, 3]} for name in CAMERAS
  }
  info = {
    'codebase_version': 'v2.1',
    'fps': FPS,
    'chunks_size': 1000,
    'features': features,
    'video_path': 'videos/{video_key}/episode_{episode_index:06d}.mp4',
  }
  (partial / 'meta/info.json').write_text(json.dumps(info))
  (partial / 'meta/tasks.jsonl').write_text(json.dumps({'task_index': 0, 'task': 'fold'}))
  lines = [json.dumps({'episode_index': e, 'length': steps}) for e in range(episodes)]
  (partial / 'meta/episodes.jsonl').write_text('\n'.join(lines))
  for e in range(episodes):
    rng = np.random.default_rng(e)
    numbers = rng.normal(size=(steps, 14)).astype(np.float32).tolist()
    times = np.arange(steps)
    columns = {
      'observation.state': numbers,
      'action': numbers,
      'timestamp': pa.array(times / FPS, pa.float32()),
      'frame_index': times,
      'episode_index': np.full(steps, e),
      'task_index': np.zeros(steps, int),
    }
    path = partial / f'data/chunk-000/episode_{e:06d}.parquet'
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    for name in CAMERAS:
      path = partial / f'videos/observation.images.{name}/episode_{e:06d}.mp4'
      path.parent.mkdir(parents=True, exist_ok=True)
      patches = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
      scene = np.asarray(patches.resize(size[::-1], Image.Resampling.BICUBIC)).astype(np.int16)
      with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=FPS)
        stream.height, stream.width, stream.pix_fmt = *size, 'yuv420p'
        for t in range(steps):
          pixels = np.roll(scene, t, axis=1) + rng.integers(-GRAIN, GRAIN + 1, scene.shape)
          frame = np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8))
          container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
  partial.rename(root)


if __name__ == '__main__':
  main()
