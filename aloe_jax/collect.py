"""Episodes of a simulated robot over the real socket: a policy server, a recorder, a human beside.

python -m aloe_jax.collect --config=experiments/laundry.py:sim --to=recordings/round_1
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
import pathlib
import time
from typing import Any

import numpy as np
import rich.table

import aloe_client
from aloe_client import connection as connection_lib
from aloe_client import episode_files
from aloe_client import events as events_lib
from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import metrics
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.envs import clock
from aloe_jax.envs import stage as stage_lib
from aloe_jax.run import experiment as experiment_lib

_HUMANS = ('watching', 'none', 'demonstrating')
_KEY = 'ALOE_API_KEY'
_SERVER = 'ws://127.0.0.1:8000'
_MISSED = (types.EndReason.FAILURE, types.EndReason.TIMEOUT)
_SEEDS = 2**31
_SILENT_SECONDS = 10.0  # without an action, after which an episode is cut
_RETURN_SECONDS = 600.0  # that a server which was lost has to be there again


def main(argv: Sequence[str] | None = None) -> None:
  """Collects the episodes of a command line; prints a table of how they ended."""
  given = command_line.parse(_parser(), argv, instead=lambda read: read.to or '')
  options = given.options
  with command_line.usage_errors():
    _check(options, given.file)
  config, _ = command_line.config(given)
  with config_lib.user_errors():
    if not config.sim.task:
      raise ValueError(
        'there is no simulator in this config; expected a variant that has one, such as :sim. On a '
        'robot its own program collects, see docs/robot.md.'
      )
    kept: list[_Ended] = []
    experiment = experiment_lib.Experiment(config)
    stage = _stage(experiment, options.human)
    if options.human == 'watching' and not stage.has_human:
      raise ValueError(
        f'{config.sim.task} has nobody who could watch; expected --human=none, or an environment '
        'with make_human, see docs/simulators.md.'
      )
    try:
      with _recorder(options, experiment, stage) as recorder:
        _check_task(recorder.metadata, config, options.server or _SERVER)
        _check_sight(recorder.metadata, experiment, options.server or _SERVER)
        _collect(recorder, stage, options, kept)
        recorder.flush()
    except (connection_lib.LostServerError, connection_lib.UnfitServerError) as error:
      there = f' {len(kept)} whole episodes are kept in {options.to}.' if kept else ''
      raise ValueError(f'{error}{there}') from error
  progress.CONSOLE.print(_table(kept, options))
  progress.CONSOLE.print(
    f'For training: python -m aloe_jax.data import {options.to} --from=recorder '
    f'--to=data/{pathlib.Path(options.to).name}/1.0.0 --name={experiment.world.name}',
    soft_wrap=True,
    highlight=False,
  )


@dataclasses.dataclass
class _Ended:
  """One episode: how it ended, its steps, and those that the human took."""

  reason: types.EndReason
  steps: int = 0
  human_steps: int = 0


def _collect(
  recorder: aloe_client.Recorder,
  stage: stage_lib.Stage,
  options: argparse.Namespace,
  kept: list[_Ended],
) -> None:
  """Plays episodes until as many are kept as were asked for; one after the other joins `kept`."""
  recorder.events.listen(_tell)
  there = len(episode_files.finished(recorder.directory))
  if there:
    _say(f'{options.to} holds {there} already; {options.episodes} more join, in other scenes.')
  pace, first = recorder.pace(), options.seed + there + _taken_back(recorder.directory)
  scene = first
  play = _demonstrated if options.human == 'demonstrating' else _played
  with progress.bar('Collect', options.episodes, 'episodes') as advance:
    while len(kept) < options.episodes:
      # What has never answered is no server that is started again.
      patience = _RETURN_SECONDS if scene > first else _SILENT_SECONDS
      watched = options.human == 'watching'
      episode = play(recorder, stage, scene % _SEEDS, pace.wait, watched, patience)
      scene += 1
      if options.human == 'demonstrating' and episode.reason != types.EndReason.SUCCESS:
        recorder.discard()
        continue
      recorder.end(episode.reason.name.lower())
      if episode.reason == types.EndReason.CUT:
        _say(
          f'The server gave no actions{_last_word(recorder)} The episode is a cut. The next one '
          f'waits for the server, {_RETURN_SECONDS / 60:.0f} minutes at most.'
        )
        continue
      kept.append(episode)
      successes = sum(e.reason == types.EndReason.SUCCESS for e in kept)
      advance(len(kept), success=successes / len(kept))


def _played(
  recorder: aloe_client.Recorder,
  stage: stage_lib.Stage,
  scene: int,
  wait: Callable[[], None],
  watched: bool,
  patience: float,
) -> _Ended:
  """One episode of the policy, in which the human may take over and go on to its end.

  It is cut where the server is lost and nobody has taken over. A scene that has not begun stands
  still until the server is there again. A server that refuses where the policy has brought the
  robot ends no command: the robot holds until its time is over.
  """
  sight, episode, by_human = stage.begin(scene), _Ended(types.EndReason.NONE), False
  since = time.monotonic()  # when the policy acted last
  while episode.reason == types.EndReason.NONE:
    wait()
    command = recorder.infer(stage_lib.request(sight))
    if not recorder.holding:
      since = time.monotonic()
    elif (waited := time.monotonic() - since) > _SILENT_SECONDS:
      if episode.steps:
        episode.reason = types.EndReason.TIMEOUT if _refuses(recorder) else types.EndReason.CUT
        break
      if not _is_lost(recorder) or waited > patience:
        raise connection_lib.LostServerError(
          f'the server gave no actions for {waited:.0f} s{_last_word(recorder)}'
        )
    if command is None or (recorder.holding and not episode.steps):  # the scene stands still
      continue
    executed = stage.executed(command)
    if not np.array_equal(executed, command):
      recorder.executed(executed)
    sight, episode.reason = stage.step(executed)
    episode.steps += 1
    episode.human_steps += by_human
    if episode.reason in _MISSED and recorder.holding == 'silent' and not _refuses(recorder):
      episode.reason = types.EndReason.CUT  # not missed by the policy
    going_on = episode.reason == types.EndReason.NONE
    if watched and going_on and not by_human and stage.alarmed():
      recorder.takeover()
      stage.take_over()
      by_human = True
  return episode


def _taken_back(directory: pathlib.Path) -> int:
  """Episodes that were put aside; their scenes have been played too."""
  aside = directory / 'discarded'
  return len([*aside.iterdir()]) if aside.is_dir() else 0


def _heard(recorder: aloe_client.Recorder) -> list[events_lib.Event]:
  """What was heard of the server, the last at the end."""
  kinds = ('server', 'lost_server', 'answers')
  return [event for event in recorder.events.recent() if event.kind in kinds]


def _is_lost(recorder: aloe_client.Recorder) -> bool:
  """Whether there is no server now."""
  heard = _heard(recorder)
  return bool(heard) and heard[-1].kind == 'lost_server'


def _refuses(recorder: aloe_client.Recorder) -> bool:
  """Whether the server is there, and has a word against what it is asked now."""
  heard = _heard(recorder)
  return bool(heard) and heard[-1].kind == 'server'


def _last_word(recorder: aloe_client.Recorder) -> str:
  """What was heard of the server last, after a colon."""
  heard = _heard(recorder)
  return f': {heard[-1].text.removeprefix("No actions: ")}' if heard else '.'


def _tell(event: events_lib.Event) -> None:
  """Says what a person waits for; loud events are on the screen already."""
  if event.kind == 'answers':
    _say(event.text)


def _say(line: str) -> None:
  progress.CONSOLE.print(line, soft_wrap=True, highlight=False, markup=False)


def _demonstrated(
  recorder: aloe_client.Recorder,
  stage: stage_lib.Stage,
  scene: int,
  wait: Callable[[], None],
  *_: float,
) -> _Ended:
  """One episode of the human alone."""
  sight, episode = stage.begin(scene), _Ended(types.EndReason.NONE)
  while episode.reason == types.EndReason.NONE:
    wait()
    action = stage.human_action()
    recorder.observe(stage_lib.request(sight), action, 'human')
    sight, episode.reason = stage.step(action)
    episode.steps += 1
    episode.human_steps += 1
  return episode


def _check_task(told: Any, config: Any, server: str) -> None:
  """Refuses a policy that was trained for another task: it would be recorded, and learnt from."""
  asked = config.task.prompt or config.sim.task
  told = (told.get('aloe') or {}).get('prompt')
  if told and told != asked:
    raise ValueError(
      f'the policy at {server} was trained to {told!r}, and this config asks for {asked!r}; serve '
      'a checkpoint of this task, or give --config of that one. If both are one task in other '
      'words, give those of the policy as --config.task.prompt.'
    )


def _recorder(
  options: argparse.Namespace, experiment: experiment_lib.Experiment, stage: stage_lib.Stage
) -> aloe_client.Recorder:
  task, part = experiment.config.task, aloe_client.Part
  action = part(task.action_size, kind=experiment.world.action_kind)
  alone = options.human == 'demonstrating'
  return aloe_client.Recorder(
    None if alone else options.server or _SERVER,
    task.prompt or experiment.config.sim.task,
    options.to,
    robot=aloe_client.Robot(action, {'state': part(task.proprio_size)}),
    key=os.environ.get(_KEY),
    hz=task.control_hz,
    execute=task.execute,
    human=lambda observation: stage.human_action(),
    hold=lambda state: stage.still(),
    real_time=bool(options.real_time),
    values=None,
    clock=clock.Stepped(None if alone else options.speed or 1.0),
  )


def _check_sight(
  metadata: Mapping[str, Any], experiment: experiment_lib.Experiment, server: str
) -> None:
  """Refuses a server whose policy wants to see what this simulator does not show."""
  told = metadata.get('aloe') or {}
  wanted = sorted(told.get('cameras') or {})
  shows = []  # features
  if experiment.encoder is not None or experiment.reads_images:
    shows = [f'images/{camera}' for camera in types.CAMERAS]
  unknown = set(wanted) - set(shows)
  if unknown or (shows and told.get('features')):
    reads = f'the pictures {", ".join(wanted)}' if wanted else 'features'
    raise ValueError(
      f'{server} serves a policy that reads {reads}, and the simulator of this config shows '
      f'{"the pictures " + ", ".join(shows) if shows else "features"}. Start the server of a run '
      'of this simulator with --robot=simulator, or collect by the config that its run was trained '
      'by, such as :sim (features) or :pixels (pictures).'
    )


def _stage(experiment: experiment_lib.Experiment, human: str) -> stage_lib.Stage:
  """The robot of an experiment's simulator; it shows pictures where the policy is to read them."""
  world = experiment.world
  see = world.see({})
  if experiment.encoder is not None:  # the server encodes them
    see = world.see_images
  return stage_lib.make(world.simulation(see, human=human))


def _table(ended: list[_Ended], options: argparse.Namespace) -> rich.table.Table:
  table = rich.table.Table(title=f'Collected in {options.to}')
  for column in ('ended', 'episodes', 'steps', 'of them by the human', 'taken over'):
    table.add_column(column, justify='left' if column == 'ended' else 'right')
  for reason in sorted({e.reason for e in ended}):
    of = [e for e in ended if e.reason == reason]
    human = sum(e.human_steps for e in of)
    table.add_row(
      reason.name.lower(),
      str(len(of)),
      str(sum(e.steps for e in of)),
      str(human),
      str(sum(0 < e.human_steps < e.steps for e in of)),
    )
  alone = [e for e in ended if not e.human_steps]
  if options.human != 'demonstrating':
    successes = sum(e.reason == types.EndReason.SUCCESS for e in alone)
    low, high = metrics.wilson_interval(successes, len(ended))
    table.caption = (
      f'The policy alone: {successes} of {len(ended)}, {100 * successes / len(ended):.0f} % '
      f'({100 * low:.0f} to {100 * high:.0f})'
    )
  return table


def _check(options: argparse.Namespace, file: str) -> None:
  """Refuses what cannot be done; names the option."""
  if not options.to:
    raise ValueError(
      '--to is missing: the directory of the recordings, such as recordings/round_1.'
    )
  if not file:
    raise ValueError('--config is missing: the simulator, such as experiments/laundry.py:sim.')
  if options.episodes < 1:
    raise ValueError(f'--episodes is {options.episodes}; expected 1 or more.')
  if options.human not in _HUMANS:
    raise ValueError(f'--human is {options.human!r}; expected one of {", ".join(_HUMANS)}.')
  if options.speed is not None and not 0 < options.speed <= 1000:
    raise ValueError(f'--speed is {options.speed}; expected more than 0, up to 1000.')
  if not 0 <= options.seed < _SEEDS:
    raise ValueError(f'--seed is {options.seed}; expected 0 to {_SEEDS - 1}.')
  if options.human == 'demonstrating':
    for name in ('real_time', 'server', 'speed'):
      if getattr(options, name) is not None:
        raise ValueError(f'--{name} is of a policy, and --human=demonstrating asks none.')


def _parser() -> argparse.ArgumentParser:
  parser = command_line.parser('aloe_jax.collect', __doc__)
  add = parser.add_argument
  add('--to', metavar='DIR', help='directory of the recordings; more are added to those there')
  add(
    '--server',
    metavar='URL',
    help=f'of the policy (default: {_SERVER}); its key is ${_KEY}',
  )
  add('--episodes', type=int, default=50, metavar='N', help='to be kept (default: %(default)s)')
  add(
    '--human',
    default='watching',
    metavar='WHAT',
    help='watching: takes over where danger is seen; none; or demonstrating: acts alone, and what '
    'fails is taken back (default: %(default)s)',
  )
  add(
    '--speed',
    type=float,
    metavar='X',
    help='of the robot: 1 is real time; the server has as much less time (default: 1)',
  )
  add('--real_time', action='store_true', default=None, help='chunks go on from the one in flight')
  add(
    '--seed',
    type=int,
    default=0,
    metavar='N',
    help='of the first scene of DIR (default: %(default)s)',
  )
  return parser


if __name__ == '__main__':
  command_line.run(main)
