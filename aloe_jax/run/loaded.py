"""A run's policy and critic as a library gives them: camera images in, robot's units out.

  policy = aloe_jax.load('runs/laundry')
  chunk = policy.act({'head': image, ...}, state)
  q, v = policy.q({'head': image, ...}, state, chunk), policy.v({'head': image, ...}, state)

Legend of shapes: B batch, n numbers of the state, h steps of a chunk, A numbers of an action,
K members of the critic's ensemble.
"""

from collections.abc import Callable, Mapping
from concurrent import futures
import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.learning.learner import Learner
from aloe_jax.preprocessing import images as images_lib
from aloe_jax.preprocessing import readings as readings_lib
from aloe_jax.run import answers
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import restored

Images = Mapping[str, np.ndarray]  # {camera: [H, W, 3] uint8} of one reading, or [B, H, W, 3]


@dataclasses.dataclass(frozen=True)
class Metadata:
  """What is to be known of a policy to use it; `dataclasses.asdict` makes JSON of it.

  Attributes:
    path: of the checkpoint.
    agent: the algorithm.
    phase: after which it was saved: 'warm_start', 'critic' or 'actor'. After 'actor' the critic is
      still that of the policy before.
    iteration: of the run.
    step: updates done by then.
    prompt: what the policy is asked to do unless it is told otherwise.
    cameras: whose images it reads, all of them.
    image_size: edge in pixels of the square that images are fitted into; give any size.
    state_size: n.
    action_size: A.
    horizon: h.
    execute: steps of a chunk that the run plays before it plans anew.
    control_hz: steps per second.
    normalization: of state and actions: 'quantile', 'zscore' or 'none'; done within.
    best_of: chunks among which the critic chooses when the policy acts.
    critic: 'action' where there are `q` and `v`, 'state' where there is `v`, else None.
  """

  path: str
  agent: str
  phase: str
  iteration: int
  step: int
  prompt: str
  cameras: tuple[str, ...]
  image_size: int
  state_size: int
  action_size: int
  horizon: int
  execute: int
  control_hz: float
  normalization: str
  best_of: int
  critic: str | None


def load(
  path: str | os.PathLike[str], *, tokenizer: str | None = None, encoder: str | None = None
) -> 'LoadedPolicy':
  """Makes the policy of a run ready; the critic is read from the disk when it is first asked.

  All settings are those that the run was trained with, kept in its checkpoints.

  Args:
    path: the working directory of a run, whose newest checkpoint is taken, or one checkpoint,
      such as runs/laundry/checkpoints/4.
    tokenizer: where π0.5's tokenizer lies, if not where it lay in training (`actor.tokenizer`).
    encoder: likewise of an image tower given to the critic (`critic.encoder`).

  Raises:
    FileNotFoundError: there is no checkpoint, or one of these files is not there.
    ValueError: the policy reads no images, but the embedded simulator's object blocks.
  """
  found = checkpoints.find(files.absolute(path))
  config = _config(found, tokenizer=tokenizer, encoder=encoder)
  experiment = experiment_lib.Experiment(config)
  return LoadedPolicy(experiment, restored.restore(experiment, found), found)


class LoadedPolicy:
  """The policy of a checkpoint, and what its critic says; `load` makes it.

  Everything is in the robot's units, values in environment steps. One reading, or a batch of B with
  a leading axis everywhere; results have that axis too. A program is compiled at the first call of
  `act`, `q` and `v` with a new B, or a new size of the images that they fit themselves, and serves
  all calls after it, whatever the prompt.

  All randomness is `seed`: the same arguments give the same chunk. A robot that is to sample counts
  it up from chunk to chunk; rows of a batch have noise of their own.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    found: restored.Restored,
    path: pathlib.Path,
  ):
    config, meta = experiment.config, found.meta
    self._experiment = experiment
    self._policy = found.policy
    self._path = path
    self._fail_cost = meta['fail_cost']
    self._return_range = tuple(meta.get('return_range', rewards.RETURN_RANGE))
    self._pool = futures.ThreadPoolExecutor(len(types.CAMERAS))  # resizing releases the lock
    self._checked = {found.policy.prompt}  # prompts known to fit
    self._robot = readings_lib.Robot(
      tuple(config.task.cameras), config.task.proprio_size, found.policy.chunk_shape
    )
    self._seen_size = found.inputs.image_size or config.sim.image_size
    self._critic_size = self._seen_size
    if experiment.encoder is not None and experiment.encoder.image_size:
      self._critic_size = experiment.encoder.image_size
    # Numbers are given to the programs apart from what is fixed: a list of them is passed faster.
    self._numbers, self._structure = jax.tree.flatten((found.policy, found.encoder))
    self._act = jax.jit(functools.partial(answers.act, experiment.encoder, self._structure))
    self.metadata = Metadata(
      path=str(path),
      agent=experiment.agent.name,
      phase=meta['phase'],
      iteration=meta['iteration'],
      step=found.step,
      prompt=found.policy.prompt,
      cameras=self._robot.cameras,
      image_size=self._seen_size,
      state_size=self._robot.state_size,
      action_size=self._robot.chunk[1],
      horizon=self._robot.chunk[0],
      execute=config.task.execute,
      control_hz=config.task.control_hz,
      normalization=config.data.normalization,
      best_of=config.actor.best_of,
      critic=experiment.agent.critic if _has_learnt(meta) else None,
    )

  def act(
    self, images: Images, state: np.ndarray, prompt: str | None = None, *, seed: int = 0
  ) -> np.ndarray:
    """What the policy would do: a chunk of actions.

    Args:
      images: {camera: [H, W, 3] uint8} of every camera, of any size; or [B, H, W, 3].
      state: [n] or [B, n].
      prompt: what to do; by default what the run was trained to.
      seed: of the noise that the chunk is made of.

    Returns:
      [h, A] or [B, h, A] float32.

    Raises:
      ValueError: naming the argument, what was found and what was expected.
    """
    seen = self._robot.read(images, state)
    return _run(self._act, self._numbers, *self._acted_on(seen, prompt, seed), seen=seen)

  def program(
    self, images: Images, state: np.ndarray, prompt: str | None = None, *, seed: int = 0
  ) -> tuple[Callable[..., jax.Array], tuple]:
    """What `act` runs, a compiled function, and the arguments that it gives it; for measuring."""
    seen = self._robot.read(images, state)
    return self._act, (self._numbers, *self._acted_on(seen, prompt, seed))

  def q(
    self,
    images: Images,
    state: np.ndarray,
    chunk: np.ndarray,
    prompt: str | None = None,
    *,
    ensemble: bool = False,
  ) -> np.ndarray:
    """Q of a chunk, Eq. (9): what the critic expects if the chunk is played and the policy goes on.

    Args:
      images, state, prompt: as for `act`.
      chunk: [h, A] or [B, h, A], a whole one, such as `act` gives.
      ensemble: give what every member of the ensemble says, and not their lower bound.

    Returns:
      [] or [B] float32, in environment steps; [K] or [B, K] of the ensemble.

    Raises:
      ValueError: as `act` does, or the run's agent has no critic of actions.
    """
    self._check_critic('q', ('action',))
    seen = self._robot.read(images, state)
    chunk = self._robot.read_chunk(chunk, seen)
    prompt, policy = self._checked_prompt(prompt), self._policy
    critic, encoder_params = self._critic
    shown = self._fitted(seen, self._critic_size)
    observation = self._observation(seen, prompt, types.Tag.NONE, shown)
    given = observation, policy.inputs.chunk(chunk, seen.state)
    members, pessimistic = _run(self._q, critic, encoder_params, *given, seen=seen)
    return members if ensemble else pessimistic

  def v(
    self, images: Images, state: np.ndarray, prompt: str | None = None, *, seed: int = 0
  ) -> np.ndarray:
    """V of a state: of a critic of actions the mean Q of `actor.samples` chunks, Eq. (10).

    Args:
      images, state, prompt: as for `act`.
      seed: of the chunks; a critic of states (AWR, RECAP) needs none.

    Returns:
      [] or [B] float32, in environment steps.

    Raises:
      ValueError: as `act` does, or the run's agent has no critic.
    """
    self._check_critic('v', ('action', 'state'))
    seen = self._robot.read(images, state)
    prompt = self._checked_prompt(prompt)
    critic, encoder_params = self._critic
    shown = self._fitted(seen, self._critic_size)
    observation = self._observation(seen, prompt, types.Tag.NONE, shown)
    acted_on = observation
    if self._seen_size != self._critic_size:
      fitted = self._fitted(seen, self._seen_size)
      acted_on = self._observation(seen, prompt, types.Tag.NONE, fitted)
    given = observation, acted_on, _checked_seed(seed)
    return _run(self._v, self._numbers, critic, encoder_params, *given, seen=seen)

  def _acted_on(self, seen: readings_lib.Readings, prompt: str | None, seed: int) -> tuple:
    """What the program of `act` is given of readings."""
    prompt, policy = self._checked_prompt(prompt), self._policy
    shown = self._fitted(seen, self._seen_size)
    observation = self._observation(seen, prompt, policy.tag, shown)
    untagged = None
    if policy.is_guided:
      untagged = self._observation(seen, prompt, types.Tag.NONE, shown)
    return observation, untagged, seen.state, _checked_seed(seed)

  @functools.cached_property
  def _learner(self) -> Learner:
    """Agent, networks and settings, in the units that the critic was trained in."""
    scale = self._experiment.chunking(self._fail_cost).reward_scale
    return self._experiment.learner(scale, self._return_range)

  @functools.cached_property
  def _critic(self) -> tuple[Any, Any]:
    """Parameters of the critic and of its encoder, read once they are needed."""
    return restored.read_critic(self._experiment, self._path)

  @functools.cached_property
  def _q(self) -> Callable[..., jax.Array]:
    return jax.jit(functools.partial(answers.q, self._experiment.encoder, self._learner))

  @functools.cached_property
  def _v(self) -> Callable[..., jax.Array]:
    fixed = self._experiment.encoder, self._learner, self._structure
    return jax.jit(functools.partial(answers.v, *fixed))

  def _check_critic(self, name: str, kinds: tuple[str, ...]) -> None:
    kind, agent = self._experiment.agent.critic, self.metadata.agent
    if kind not in kinds:
      has = 'a critic of states alone, which v asks' if kind == 'state' else 'no critic'
      raise ValueError(
        f'{name}: {self._path} was trained by {agent!r}, which has {has}; expected the run of an '
        f'agent with a critic of {"states or " if "state" in kinds else ""}actions.'
      )
    if self.metadata.critic is None:
      raise ValueError(
        f'{name}: the critic of {self._path} had learnt nothing when it was saved; expected a '
        'checkpoint of a later phase.'
      )

  def _checked_prompt(self, prompt: str | None) -> str:
    if prompt is None:
      return self._policy.prompt
    if not isinstance(prompt, str):
      raise ValueError(f'prompt: found {type(prompt).__name__}, expected a text, or None.')
    if prompt not in self._checked:
      self._policy.inputs.check_prompts([prompt])
      self._checked.add(prompt)
    return prompt

  def _fitted(self, seen: readings_lib.Readings, size: int) -> tuple[dict, dict]:
    """Images of a network's size, zeros of cameras that the robot lacks, and which are there."""
    batch = len(seen)
    images = dict(seen.images)
    jobs: list[tuple[np.ndarray, np.ndarray]] = []
    for camera in types.CAMERAS:
      if camera not in images or images[camera].shape[1:3] != (size, size):
        images[camera] = np.zeros((batch, size, size, 3), np.uint8)
        jobs += zip(images[camera], seen.images.get(camera, ()), strict=False)

    def fit(job: tuple[np.ndarray, np.ndarray]) -> None:
      job[0][:] = images_lib.resize_with_pad(job[1], size)

    if jobs:
      list(self._pool.map(fit, jobs))
    masks = {camera: np.full(batch, camera in seen.images) for camera in types.CAMERAS}
    return images, masks

  def _observation(
    self, seen: readings_lib.Readings, prompt: str, tag: types.Tag, shown: tuple[dict, dict]
  ) -> types.Observation:
    """Readings as the networks take them, made by what made the batches of training."""
    inputs = self._policy.inputs
    proprio = inputs.proprio(seen.state)
    tokens, mask = inputs.prompts([prompt] * len(seen), proprio, [tag] * len(seen))
    images, masks = shown
    return types.Observation(proprio, tokens, mask, images=images, image_masks=masks)


def _run(program: Any, *arguments: Any, seen: readings_lib.Readings) -> Any:
  """What a program returns on the host, without the axis of the batch where there was none."""
  with jax.transfer_guard('allow'):  # arrays of the host as arguments are the fastest way there
    found = jax.device_get(program(*arguments))
  # A copy may be written to, and [()] makes of an array without axes a number.
  return jax.tree.map(lambda x: np.array(x if seen.batched else x[0])[()], found)


def _has_learnt(meta: dict[str, Any]) -> bool:
  """Whether the critic of a checkpoint is more than random numbers."""
  return meta.get('critic_learnt', meta['phase'] != 'warm_start')


def _checked_seed(seed: int) -> np.uint32:
  if not 0 <= seed < 2**32:
    raise ValueError(f'seed: found {seed}, expected 0 to {2**32 - 1}.')
  return np.uint32(seed)


def _config(
  path: pathlib.Path, *, tokenizer: str | None, encoder: str | None
) -> ml_collections.ConfigDict:
  """What a checkpoint's run was told, for the devices of this machine."""
  meta = checkpoints.read_meta(path, 'config', 'phase', 'iteration', 'fail_cost')
  config = config_lib.from_json(meta['config'], str(path))
  config.parallel.update(mode='fsdp', fsdp=0)  # all devices here, however many trained
  if config.actor.kind != 'pi05' and config.sim.observation != 'pixels':
    raise ValueError(
      f"{path} is of a run with config.sim.observation='objects': its policy reads what the "
      f'simulator of {config.sim.task!r} knows of the objects, and no images. Expected a run of '
      "π0.5 (config.actor.kind='pi05'), or one with config.sim.observation='pixels'; "
      '`python -m aloe_jax.evaluate` plays any.'
    )
  config.actor.tokenizer = tokenizer or config.actor.tokenizer
  config.critic.encoder = encoder or config.critic.encoder
  for name, given, field in (
    ('tokenizer', config.actor.tokenizer, 'actor.tokenizer'),
    ('encoder', config.critic.encoder.partition('.npz')[0] + '.npz', 'critic.encoder'),
  ):
    if given not in ('words', '.npz') and not pathlib.Path(given).is_file():
      raise FileNotFoundError(
        f'{given}: no such file; the run of {path} was trained with it (config.{field}). Say where '
        f"it lies now: aloe_jax.load(..., {name}='path/to/it')."
      )
  return config
