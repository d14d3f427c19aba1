"""What a run needs before its first phase, found and checked in the order of what it costs."""

import dataclasses
import functools
import pathlib
from typing import Any

from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import metrics as metrics_lib
from aloe_jax import progress
from aloe_jax import stopping
from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.data import statistics
from aloe_jax.data import steps as steps_lib
from aloe_jax.envs import simulation
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.parallel import hosts
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.run import acting
from aloe_jax.run import action_kind
from aloe_jax.run import action_scale
from aloe_jax.run import appended
from aloe_jax.run import appending
from aloe_jax.run import checkpoints as checkpoints_lib
from aloe_jax.run import collected
from aloe_jax.run import collection
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import fail_cost as fail_cost_lib
from aloe_jax.run import imitated
from aloe_jax.run import indices as indices_lib
from aloe_jax.run import kept
from aloe_jax.run import learnt
from aloe_jax.run import phases
from aloe_jax.run import plan as plan_lib
from aloe_jax.run import ranges_kept
from aloe_jax.run import read_back
from aloe_jax.run import return_range as return_range_lib
from aloe_jax.run import starting_point
from aloe_jax.run import statistics_fit
from aloe_jax.run import streams
from aloe_jax.run import unfinished
from aloe_jax.run import updates as updates_lib
from aloe_jax.run.streams import Stream

Stats = dict[str, normalize.Stats] | None


@dataclasses.dataclass
class _Beginning:
  """What is known before there are demonstrations; `actor` goes as soon as a state holds it."""

  done: int | None
  origin: int | None
  start: starting_point.Start
  stats: Stats
  inputs: inputs_lib.Inputs
  actor: Any
  encoder: Any
  see: simulation.See
  data: collected.RunData


@dataclasses.dataclass
class Opened:
  """A run that is ready for its next phase.

  Attributes:
    experiment: of the run.
    workdir: of the run.
    done: number of its newest checkpoint, or None.
    origin: number of the checkpoint that its parameters are of: that one, unless something is
      learnt again.
    found: save inside the phase after it, or None.
    start: what its parameters come from.
    stats: of 'state' and 'actions', None where nothing is normalised.
    inputs: how states, actions and prompts are put to the networks.
    encoder: parameters of the critic's frozen encoder; {} for none, None while it is trained.
    see: what a policy sees of the simulator.
    data: the episodes that it was given and those that it collects.
    fail_cost: C_fail, in steps; None where imitation alone is learnt and nothing tells it.
    return_range: lowest and highest return, in scaled rewards.
    action_kind: position or velocity; empty where nobody tells.
    learner: of the experiment, in the units that the rewards are scaled to.
    checkpoints: of the run.
    metrics: where losses are written to; to be closed.
    updates: the train state, and what changes it.
  """

  experiment: experiment_lib.Experiment
  workdir: pathlib.Path
  done: int | None
  origin: int | None
  found: unfinished.Found | None
  start: starting_point.Start
  stats: Stats
  inputs: inputs_lib.Inputs
  encoder: Any
  see: simulation.See
  data: collected.RunData
  fail_cost: float | None
  return_range: tuple[float, float]
  action_kind: str
  learner: learner_lib.Learner
  checkpoints: checkpoints_lib.Checkpoints
  metrics: metrics_lib.Writer
  updates: updates_lib.Updates

  @property
  def warms_up(self) -> bool:
    """Whether there is imitation to be done first."""
    return starting_point.warms_up(self.start, self.experiment)

  @property
  def chunking(self) -> replay.Chunking:
    """How the buffer is cut and labelled."""
    return self.experiment.chunking(self.fail_cost)

  def buffer(self, iteration: int) -> replay.Replay:
    """D_i; of a warm start that trains a tower with images of the size that it reads."""
    inputs = self.inputs
    if self.encoder is None:
      inputs = dataclasses.replace(inputs, image_size=self.experiment.config.sim.image_size)
    return self.data.replay(iteration, inputs, self.chunking)

  def freeze_tower(self) -> None:
    """What the warm start has made of the small actor's tower is the encoder from now on."""
    self.encoder = self.updates.take_tower()
    self.see = self.experiment.world.see(self.encoder)
    self.data.encode(self.encoder)

  def collector(self) -> collection.Collector:
    """Who plays the task in the simulator."""
    return collection.Collector(self.experiment, self.see)


def open_run(
  experiment: experiment_lib.Experiment,
  workdir: pathlib.Path,
  indices: indices_lib.Indices | None = None,
  *,
  profile: bool = False,
  asked: str = '',
) -> Opened:
  """Finds what a run starts from, has the human demonstrate, reads the data and makes the state.

  What is wrong with what the user gave ends the program with one message.

  Args:
    experiment: what to run.
    workdir: of the run; new, or of the same experiment, to go on with.
    indices: of datasets that are open already.
    profile: whether a few calls of each phase are traced, to `profile/` of the run.
    asked: the iteration that a user wants appended, see `appended.asked`.
  """
  checkpoints = checkpoints_lib.Checkpoints(workdir / 'checkpoints')
  with config_lib.user_errors():
    world, task = experiment.world, experiment.config.sim.task
    ranges_kept.check(world, task, workdir)
    beginning = _begin(experiment, workdir, checkpoints, indices, asked)
    ranges_kept.check(world, task, workdir, keeps=True)  # of a run that nothing has refused
    if experiment.config.sim.task:
      _demonstrate(experiment, workdir, beginning)
  return _open(experiment, workdir, checkpoints, beginning, profile)


def _begin(
  experiment: experiment_lib.Experiment,
  workdir: pathlib.Path,
  checkpoints: checkpoints_lib.Checkpoints,
  indices: indices_lib.Indices | None,
  asked: str,
) -> _Beginning:
  """What the run starts from, the actor and the frozen encoder; indexes the data given."""
  done = begins = checkpoints.latest()
  has_critic = experiment.agent.critic is not None
  plan = plan_lib.read(experiment.config, workdir)
  appending.check_listed(plan, workdir)
  if asked:
    plan = appending.append(asked, plan, workdir, '' if has_critic else experiment.agent.name)
  start = starting_point.find(experiment.config.actor.checkpoint)
  if done is not None:
    begins = plan.origin(done, warms_up=False, has_critic=has_critic)
    assert begins is not None
    start = starting_point.Start('run', str(checkpoints.path(begins)))
  elif start.is_own:
    learnt.check(files.place(start.path), experiment.config)
    ranges_kept.check_start(experiment.world, experiment.config.sim.task, files.place(start.path))
  starting_point.check(start, experiment)
  stats = None
  if experiment.config.data.normalization != 'none':
    stats = starting_point.stats(start, experiment)
  inputs = experiment.inputs(stats)
  if not experiment.config.sim.task and indices is None:
    indices = indices_lib.open_given(experiment.config)
  data = collected.RunData(experiment, workdir, plan, indices)
  data.open_given()
  if asked and data.new:
    raise ValueError(
      f'--{asked} collects nothing, and config.data.episodes names datasets that the run was not '
      'trained on; give one of them, and then the other.'
    )
  if not experiment.config.sim.task:
    assert indices is not None
    if stats is None and experiment.config.data.normalization != 'none':
      first = [indices[directory] for directory in data.directories(0)]
      stats = _statistics(experiment, steps_lib.Steps(first), inputs)
      inputs = experiment.inputs(stats)
    if stats is not None:
      origin = starting_point.stats_origin(start, experiment)
      statistics_fit.check(experiment.config, indices, stats, inputs, origin, own=start.is_own)
  actor = None if start.kind == 'run' else starting_point.actor_params(start, experiment)
  encoder = starting_point.encoder_params(start, experiment, actor)
  if encoder is not None:
    data.encode(encoder)
  see = experiment.world.see(encoder)
  return _Beginning(done, begins, start, stats, inputs, actor, encoder, see, data)


def _demonstrate(
  experiment: experiment_lib.Experiment, workdir: pathlib.Path, beginning: _Beginning
) -> None:
  """Has the human demonstrate until enough episodes succeed; keeps those."""
  directory = beginning.data.directory(0)
  if not experiment.config.task.demonstrations or collection.is_written(directory):
    return
  collector = collection.Collector(experiment, beginning.see)
  key = functools.partial(streams.key, experiment.config.seed, Stream.DEMONSTRATIONS)
  with stopping.saying('The demonstrations are repeated from their beginning by the same command.'):
    episodes = collector.demonstrate(key)
    _keep_config(experiment, workdir)
    collection.write(directory, episodes, experiment.world.name)


def _open(
  experiment: experiment_lib.Experiment,
  workdir: pathlib.Path,
  checkpoints: checkpoints_lib.Checkpoints,
  beginning: _Beginning,
  profile: bool,
) -> Opened:
  """Reads what there is on disk: data, its statistics, and the state to go on from."""
  config, start, data = experiment.config, beginning.start, beginning.data
  stats, inputs = beginning.stats, beginning.inputs
  with config_lib.user_errors():
    data.check()
    steps = data.read(0)
    fail_cost = fail_cost_lib.find(config, steps)
    chunking = experiment.chunking(fail_cost)
    if stats is None and config.data.normalization != 'none':
      stats = _statistics(experiment, steps, inputs)
      inputs = experiment.inputs(stats)
    if config.data.normalization == 'none':
      action_scale.say_unscaled(steps)
    if config.sim.task and config.data.episodes:
      action_scale.say_outside(steps, experiment.world)
    kind = action_kind.find(experiment.world.action_kind, data.action_kinds(), start)
    # Building the buffer checks the data before anything is written.
    buffer = replay.Replay(steps, inputs, chunking)
    is_demonstration = buffer.source[buffer.starts] == types.Source.DEMO
    if starting_point.warms_up(start, experiment) and not is_demonstration.any():
      raise ValueError(
        'there is no demonstration in the episodes, which the actor imitates first; give some, '
        'or --config.actor.warm_start_updates=0 for a checkpoint that has done so.'
      )
    if not config.sim.task and config.iterations and config.actor.updates:
      imitated.rows(experiment.agent, buffer, iteration=1)  # nothing is collected any more
    return_range = return_range_lib.find(
      buffer,
      experiment.agent,
      starting_point.return_range(start),
      learns=data.plan.critic_learns(beginning.done),
    )
    if data.new:  # what its iteration would refuse is refused before it is part of the run
      joined = replay.Replay(data.read_all(), inputs, chunking)
      return_range_lib.check(joined, experiment.agent, return_range, return_range_lib.WANTED)
  learner = experiment.learner(chunking.reward_scale, return_range, inputs)
  example = experiment.example()
  if beginning.encoder is not None:
    example = buffer.actor_batch(buffer.starts[:1], images=experiment.reads_images)
  state = _state(experiment, learner, example, beginning)
  found = _found(experiment, workdir, beginning)
  with config_lib.user_errors():
    imitates = starting_point.warms_up(start, experiment)
    data.keep_given(0 if imitates or not config.iterations else 1)
  _keep_config(experiment, workdir)
  appended.keep(workdir, data.plan.appended)  # after the config, which may say how it learns
  with config_lib.user_errors():
    metrics = metrics_lib.open_writer(
      workdir / 'metrics',
      # Without a checkpoint too: a start that was stopped before its first begins anew.
      resume_step=(found.step if found else int(state.step)) + 1,
      wandb_name=workdir.resolve().name if config.train.wandb else '',
    )
  trace = workdir / 'profile' if profile else None
  updates = updates_lib.Updates(experiment, learner, state, metrics, checkpoints, trace)
  if beginning.done is not None and acting.trained(files.place(start.path)) == learner.trained:
    updates.is_saved(files.place(start.path))
    if beginning.origin != beginning.done:
      updates.is_counted_anew()
  return Opened(
    experiment=experiment,
    workdir=workdir,
    done=beginning.done,
    origin=beginning.origin,
    found=found,
    start=start,
    stats=stats,
    inputs=inputs,
    encoder=beginning.encoder,
    see=beginning.see,
    data=data,
    fail_cost=fail_cost,
    return_range=return_range,
    action_kind=kind,
    learner=learner,
    checkpoints=checkpoints,
    metrics=metrics,
    updates=updates,
  )


def _statistics(
  experiment: experiment_lib.Experiment, steps: steps_lib.Steps, inputs: inputs_lib.Inputs
) -> dict[str, normalize.Stats]:
  """Those of all chunks of some steps."""
  chunking = experiment.chunking(fail_cost=None)  # statistics know no rewards
  with progress.bar('Statistics', len(steps), 'steps') as advance:
    return statistics.compute(steps, inputs, chunking, progress=advance)


def _state(
  experiment: experiment_lib.Experiment,
  learner: learner_lib.Learner,
  example: types.ActorBatch,
  beginning: _Beginning,
) -> TrainState:
  """The state to go on from, read back or made."""
  start = beginning.start

  def create(actor: Any = None) -> TrainState:
    return learner.init(experiment.config.seed, example, actor)

  if start.kind != 'run':
    if start.path:
      progress.CONSOLE.print(f'Starting from the weights of {start.path}.')
    state = experiment.layout.create(create, beginning.actor)
    beginning.actor = None
    return state
  path, newest = files.place(start.path), None
  if beginning.done is not None:  # updates are counted on, also where something is learnt again
    newest = checkpoints_lib.Checkpoints(path.parent).path(beginning.done)
  with config_lib.user_errors():
    state = read_back.state(experiment, learner, example, path, newest)
  progress.CONSOLE.print(f'Going on from {start.path}, after {int(state.step)} updates.')
  return state


def _found(
  experiment: experiment_lib.Experiment, workdir: pathlib.Path, beginning: _Beginning
) -> unfinished.Found | None:
  """The save to go on from inside the phase that is next."""
  if hosts.is_first():
    checkpoints = checkpoints_lib.Checkpoints(workdir / 'checkpoints')
    checkpoints.sweep()
    unfinished.clear(workdir)
    beginning.data.sweep()
    with config_lib.user_errors():
      checkpoints.check_free()
    if others := checkpoints.others():
      progress.CONSOLE.print(
        f'{checkpoints.directory}: {", ".join(others)}: no checkpoint of this run; left as it is.',
        highlight=False,
        soft_wrap=True,
      )
  found = unfinished.find(workdir, beginning.done)
  following = phases.following(
    beginning.done,
    warms_up=starting_point.warms_up(beginning.start, experiment),
    has_critic=experiment.agent.critic is not None,
  )
  return found if found is not None and found.number == following else None


def _keep_config(experiment: experiment_lib.Experiment, workdir: pathlib.Path) -> None:
  if hosts.is_first():
    kept.keep(experiment.config, workdir)
