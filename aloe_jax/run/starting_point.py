"""Where a run's parameters and statistics come from: nothing, published weights, or another run."""

from collections.abc import Mapping
import dataclasses
import functools
import pathlib
import re
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import rewards
from aloe_jax.models import lora
from aloe_jax.models import parts
from aloe_jax.models import pi05
from aloe_jax.models import small
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import big_vision
from aloe_jax.pretrained import lerobot_files
from aloe_jax.pretrained import openpi
from aloe_jax.pretrained import trees
from aloe_jax.run import acting
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import padded_state

# What a PaliGemma file leaves to be initialised: the action expert and its projections.
NOT_IN_PALIGEMMA = (r'PaliGemma/llm/.*_1/.*', r'action_.*', r'time_mlp_.*', lora.LEAF)


@dataclasses.dataclass(frozen=True)
class Start:
  """What `actor.checkpoint` names.

  Attributes:
    kind: 'scratch', 'openpi', 'paligemma' (an .npz), or of our own checkpoints 'warm_start', which
      gives any agent its policy, and 'run', which an agent of the same kind goes on from.
    path: as it was given; '' for 'scratch'.
  """

  kind: str
  path: str = ''

  @property
  def is_own(self) -> bool:
    """Whether it is a checkpoint of ours, which carries statistics and encoder along."""
    return self.kind in ('run', 'warm_start')


def find(path: str) -> Start:
  """Tells the kinds of checkpoint apart by what lies at `path`."""
  if not path:
    return Start('scratch')
  if '.npz' in path:
    return Start('paligemma', path)
  newest = checkpoints.Checkpoints(files.place(path) / 'checkpoints').latest()
  if newest is not None:
    raise ValueError(
      f'config.actor.checkpoint names {path}, the directory of a run; expected one of its '
      f'checkpoints, the newest of which is {path}/checkpoints/{newest}.'
    )
  if not checkpoints.is_one(files.place(path)):
    return Start('openpi', path)
  phase = checkpoints.read_meta(files.place(path)).get('phase')
  return Start('warm_start' if phase == 'warm_start' else 'run', path)


def check_states(workdir: pathlib.Path, checkpoint: str) -> None:
  """Checks what a run would go on from before anything is read of its data.

  Args:
    workdir: of the run, whose newest checkpoint counts, if there is one.
    checkpoint: `actor.checkpoint`.

  Raises:
    ValueError: its policy was told numbers that its robot does not have, see `padded_state`.
  """
  written = checkpoints.Checkpoints(workdir / 'checkpoints')
  paths = [files.place(checkpoint)] if checkpoint else []
  for path in [written.newest()] if written.latest() is not None else paths:
    if checkpoints.is_one(path):
      padded_state.check(path, checkpoints.read_meta(path))


def check(start: Start, experiment: experiment_lib.Experiment) -> None:
  """Compares a checkpoint with the networks wanted before any of its parameters is read.

  Raises:
    FileNotFoundError: there is no checkpoint.
    ValueError: it does not fit; lists all that differs. Or the run would weigh chunks by its
      critic, or see through its tower, which has learnt nothing.
  """
  _check_skipped_critic(start, experiment)
  _check_tower(start, experiment)
  if start.is_own:
    architecture = experiment.architecture()
    if start.kind == 'warm_start':  # its critic has not learnt anything
      kept = checkpoints.read_meta(files.place(start.path), 'architecture')['architecture']
      architecture['critic'] = kept.get('critic')
    checkpoints.check(files.place(start.path), architecture)
  elif start.kind != 'scratch' and not experiment.reads_images:
    raise ValueError(
      f"config.actor.checkpoint names {start.path}, which holds π0.5's weights, but "
      "config.actor.kind is 'small'; use a config of π0.5."
    )
  if start.kind == 'openpi':
    like = _shapes(experiment)['params']
    found = traverse_util.flatten_dict(openpi.shapes(files.place(start.path), like), sep='/')
    wanted = traverse_util.flatten_dict(like, sep='/')
    _check_adapters(start, experiment)
    try:
      trees.check(found, wanted, where=start.path, may_miss=_may_miss(start))
    except ValueError as error:
      raise ValueError(f'{error}{_advice(start, experiment)}') from error
    lerobot_files.check_normalization(files.place(start.path), experiment.config.data.normalization)


def _check_adapters(start: Start, experiment: experiment_lib.Experiment) -> None:
  """Refuses LoRA weights of other ranks than the config's; a checkpoint without any goes with all.

  Raises:
    ValueError: names both ranks, and the flags that fit.
  """
  found = lora.ranks(openpi.shapes(files.place(start.path)))
  wanted = {part: experiment.config.actor.lora[part] for part in found}
  if any(found.values()) and found != wanted:
    flags = ' '.join(f'--config.actor.lora.{part}={rank}' for part, rank in found.items())
    raise ValueError(
      f'{start.path} holds LoRA weights of ranks {found["language"]} (language) and '
      f'{found["expert"]} (expert), expected {wanted["language"]} and {wanted["expert"]}. Its own: '
      f'{flags} --config.actor.train=vision+projections+lora'
    )


def _may_miss(start: Start) -> tuple[str, ...]:
  """Paths that a checkpoint of openpi may lack: all adapters, and not some of them."""
  adapted = any(lora.ranks(openpi.shapes(files.place(start.path))).values())
  return () if adapted else (lora.LEAF,)


def _check_skipped_critic(start: Start, experiment: experiment_lib.Experiment) -> None:
  """Refuses to weigh chunks by random numbers, which is what an untrained critic says."""
  config = experiment.config
  weighs = experiment.agent.advantage is not None and config.actor.updates > 0
  if weighs and not config.critic.first_updates and not critic_learnt(start):
    raise ValueError(
      'config.critic.first_updates is 0, and there is no critic yet that has learnt anything: '
      f'the advantages of {experiment.agent.name!r} would be random numbers. Expected more than '
      '0, config.actor.checkpoint of a run whose critic has been trained, or an agent without a '
      "critic, such as 'filtered_bc'."
    )


def _check_tower(start: Start, experiment: experiment_lib.Experiment) -> None:
  """Refuses to see through a tower that nothing has trained: a warm start alone does it."""
  if experiment.learns_tower and not start.is_own and not warms_up(start, experiment):
    raise ValueError(
      'config.actor.warm_start_updates is 0, but the warm start alone trains the tower that '
      "sees the cameras (config.sim.observation is 'pixels'): all that comes after would see "
      'through random filters. Expected more than 0, or config.actor.checkpoint of a run that has '
      'trained its tower.'
    )


def _advice(start: Start, experiment: experiment_lib.Experiment) -> str:
  """Which fields of the config build the network that an openpi checkpoint belongs to."""
  try:
    sizes = pi05.sizes_of(openpi.shapes(files.place(start.path)))
  except KeyError:  # leaves are missing; the list above tells which
    return ''
  found = traverse_util.flatten_dict(sizes, sep='.')
  flags = [
    f'--config.actor.{field}={size}'
    for field, size in found.items()
    if config_lib.lookup(experiment.config.actor, field) != size
  ]
  return f'\nThe network it belongs to: {" ".join(flags)}' if flags else ''


def actor_params(start: Start, experiment: experiment_lib.Experiment) -> Any:
  """The actor's parameters, where the layout wants them; not of a 'run', which has a state.

  They hold the small actor's tower where the run trains it.

  What is not trained comes in the type that it is kept in: a card has room for a state that holds
  it so, and not for all of it in full before.
  """
  learner = experiment.learner(reward_scale=1.0)
  trains_tower = experiment.learns_tower and warms_up(start, experiment)
  seed, example = experiment.config.seed, experiment.example(trains_tower=trains_tower)

  def fresh_actor() -> Any:
    return _as_kept(experiment, learner.init_actor(seed, example))

  shapes = experiment.layout.shapes(fresh_actor)
  if start.kind == 'warm_start':
    return acting.read(files.place(start.path), shapes)

  def fresh_adapters() -> Any:
    leaves = traverse_util.flatten_dict(learner.init_actor(seed, example)['params'], sep='/')
    return {path: leaf for path, leaf in leaves.items() if re.fullmatch(lora.LEAF, path)}

  if start.kind == 'openpi':
    path, like = files.place(start.path), shapes['params']
    params = openpi.restore(path, like, may_miss=_may_miss(start))
    found = traverse_util.flatten_dict(params, sep='/')
    if len(found) < len(jax.tree.leaves(like)):
      found = experiment.layout.create(fresh_adapters) | found
    return {'params': traverse_util.unflatten_dict(found, sep='/')}
  fresh = experiment.layout.create(fresh_actor)
  if start.kind == 'scratch':
    return fresh
  return _with_paligemma(fresh, start.path)


def warms_up(start: Start, experiment: experiment_lib.Experiment) -> bool:
  """Whether there is imitation to be done: a checkpoint of ours has done it."""
  return not start.is_own and experiment.config.actor.warm_start_updates > 0


def tagged(start: Start) -> bool:
  """Whether the actor was last trained on prompts that tell the advantage, as RECAP's are."""
  if start.kind != 'run':
    return False
  return checkpoints.read_meta(files.place(start.path)).get('tagged', False)


def critic_learnt(start: Start) -> bool:
  """Whether a critic comes along that has learnt something."""
  if start.kind != 'run':
    return False
  meta = checkpoints.read_meta(files.place(start.path))
  return meta.get('critic_learnt', meta.get('phase') != 'warm_start')


def return_range(start: Start) -> tuple[float, float]:
  """Between which scaled returns the values of the critic that comes along reach."""
  if start.kind != 'run':
    return rewards.RETURN_RANGE
  meta = checkpoints.read_meta(files.place(start.path))
  low, high = meta.get('return_range', rewards.RETURN_RANGE)
  return low, high


def encoder_params(start: Start, experiment: experiment_lib.Experiment, actor: Any) -> Any:
  """Parameters of the critic's frozen encoder; {} where it has none, None where it is yet to be.

  Args:
    start: of the run.
    experiment: of the run.
    actor: the parameters that the run starts from; None where `start` is a 'run'.
  """
  if experiment.encoder is None:
    return {}
  if experiment.learns_tower:
    fresh_tower = functools.partial(_fresh_tower, experiment)
    if start.is_own:
      shapes = experiment.layout.shapes(fresh_tower)
      return checkpoints.restore_encoder(files.place(start.path), shapes)
    if warms_up(start, experiment):
      return None
    return experiment.layout.create(fresh_tower)
  if start.is_own:
    own = _shapes(experiment)['params']['PaliGemma']['img']
    if experiment.config.critic.encoder:
      own = _shapes_of(big_vision.load(experiment.config.critic.encoder))
    return checkpoints.restore_encoder(files.place(start.path), own)
  if experiment.config.critic.encoder:
    return jax.tree.map(jnp.asarray, big_vision.load(experiment.config.critic.encoder))
  tower = actor['params']['PaliGemma']['img']
  return jax.tree.map(lambda x: jnp.array(x, experiment.config.actor.param_dtype), tower)


def stats(start: Start, experiment: experiment_lib.Experiment) -> dict[str, normalize.Stats] | None:
  """Statistics to normalise with, or None if they are to be computed from the episodes.

  `data.norm_stats` is a file, the name of one of the checkpoint's assets, 'compute', or '': then
  those of the checkpoint, if it has one set of them, or of lerobot's files in it. Another run
  always goes on with its own.

  Raises:
    FileNotFoundError: there are none of that name; names those that there are.
    ValueError: the checkpoint has several; names them.
  """
  if start.is_own:
    path = files.place(start.path)
    return normalize.from_json(checkpoints.read_meta(path), str(path))
  wanted = experiment.config.data.norm_stats
  if wanted == 'compute':
    return None
  file = _stats_path(start, wanted)
  if file is None and start.kind == 'openpi':
    return lerobot_files.stats(files.place(start.path)) or None
  return None if file is None else normalize.read(file)


def stats_origin(start: Start, experiment: experiment_lib.Experiment) -> str:
  """Where `stats` come from, for messages; raises what it does."""
  if start.is_own:
    return f'of the run of {start.path}'
  wanted = experiment.config.data.norm_stats
  path = None if wanted == 'compute' else _stats_path(start, wanted)
  if path is None and wanted != 'compute' and stats(start, experiment) is not None:
    return f'of the policy of lerobot in {start.path}'
  return 'computed from all episodes' if path is None else str(path)


def _stats_path(start: Start, wanted: str) -> pathlib.Path | None:
  """The file that `data.norm_stats` names; None where the checkpoint has none of its own."""
  assets = openpi.assets(files.place(start.path)) if start.kind == 'openpi' else {}
  if wanted:
    path = assets.get(wanted, pathlib.Path(wanted))
    if not path.is_file():
      raise FileNotFoundError(
        f'config.data.norm_stats names {wanted}, which is neither a file nor an asset of '
        f'{start.path or "a checkpoint"}; its assets are: {", ".join(assets) or "none"}.'
      )
    return path
  if len(assets) > 1:
    raise ValueError(
      f'{start.path} has statistics of several robots: {", ".join(assets)}; name one with '
      "config.data.norm_stats, or 'compute' to take them from the episodes."
    )
  return next(iter(assets.values()), None)


def _shapes(experiment: experiment_lib.Experiment) -> Any:
  """Of the actor's parameters: shapes, the types wanted, and where they are to lie."""
  learner, example = experiment.learner(reward_scale=1.0), experiment.example()
  return experiment.layout.shapes(lambda: learner.init_actor(0, example))


def _fresh_tower(experiment: experiment_lib.Experiment) -> Any:
  """The small actor's, as it is before it is trained."""
  learner, example = experiment.learner(reward_scale=1.0), experiment.example(trains_tower=True)
  return learner.init_actor(experiment.config.seed, example)['params'][small.TOWER]


def _as_kept(experiment: experiment_lib.Experiment, actor: Any) -> Any:
  """The actor's parameters in the types that a train state keeps them in."""
  return parts.join(*experiment.trained.split(actor))


def _shapes_of(params: Any) -> Any:
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)


def _with_paligemma(fresh: Any, path: str) -> Any:
  """Fresh parameters of the actor with PaliGemma's in their place, types and places kept."""
  found = traverse_util.flatten_dict({'PaliGemma': big_vision.load(path)}, sep='/')
  wanted = traverse_util.flatten_dict(fresh['params'], sep='/')
  _resample_positions(found, wanted)
  trees.check(found, wanted, where=path, may_miss=NOT_IN_PALIGEMMA)
  placed = {
    name: jax.device_put(np.asarray(x).astype(wanted[name].dtype), wanted[name].sharding)
    for name, x in found.items()
  }
  return {'params': traverse_util.unflatten_dict(wanted | placed, sep='/')}


def _resample_positions(found: dict[str, Any], wanted: Mapping[str, Any]) -> None:
  """Fits position embeddings to images of another size."""
  name = 'PaliGemma/img/pos_embedding'
  if name in found and found[name].shape != wanted[name].shape:
    found[name] = big_vision.resample_positions(found[name], wanted[name].shape[1])
