"""One version of a policy as it is served: every row of a batch has a prompt and noise of its own.

Legend of shapes: n numbers of the state, h steps of a chunk, A numbers of an action, V views, F
feature width.
"""

from collections.abc import Callable, Sequence
from concurrent import futures
import dataclasses
import functools
import json
from typing import Any

import jax
import numpy as np

from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.preprocessing import images as images_lib
from aloe_jax.run import answers
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import restored

# Of what is kept beside a checkpoint; see `Model._make_values`.
_BUILT_IN = ('agent', 'architecture', 'fail_cost', 'return_range')


@dataclasses.dataclass(frozen=True)
class Reading:
  """What one robot shows and asks, checked and in the units that the policy was trained in.

  Attributes:
    state: [n] float32.
    images: {camera: [H, W, 3] uint8} of any size; {} where features are given.
    features: [V, F] float32 of a simulator that draws no images, or None.
    prompt: what to do; None for what the run was trained to.
    seed: of the noise; None lets the server choose.
    values: whether Q, V and spread are wanted.
    plan: [k, A] what is carried out meanwhile, from this observation on; None for a fresh chunk.
    delay: how many of these will have been carried out before the reply is there, at most k.
  """

  state: np.ndarray
  images: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  features: np.ndarray | None = None
  prompt: str | None = None
  seed: int | None = None
  values: bool = False
  plan: np.ndarray | None = None
  delay: int = 0


@dataclasses.dataclass(frozen=True)
class Row:
  """A reading as the networks take it; no array has a leading axis.

  Attributes:
    reading: that it was made of.
    observation: for the actor, with the tag that it acts by.
    untagged: the same without a tag; None unless the policy is guided.
    judged: for the critic; None unless values are wanted.
  """

  reading: Reading
  observation: types.Observation
  untagged: types.Observation | None
  judged: types.Observation | None


@dataclasses.dataclass(frozen=True)
class Answer:
  """What a model says of one row.

  Attributes:
    actions: [h, A] float32, in the units that the policy was trained in.
    q, v, spread: of these actions, see `answers.values_by_row`; None where they were not asked for.
  """

  actions: np.ndarray
  q: float | None = None
  v: float | None = None
  spread: float | None = None


@dataclasses.dataclass(frozen=True)
class Programs:
  """What is compiled of a checkpoint, to be used for the next one too; holds no parameters.

  Attributes:
    fixed: all that is built into it, as text.
    structure: of the numbers that it is given.
    act: see `answers.act_by_row`.
    values: see `answers.values_by_row`; None where there is no critic to ask.
  """

  fixed: str
  structure: Any
  act: Callable[..., Any]
  values: Callable[..., Any] | None


class Model:
  """A policy whose programs are compiled for every batch size up to `largest`.

  Args:
    experiment: of the checkpoint.
    found: what was restored of it; its critic too where it is to be asked.
    name: of the checkpoint, for people.
    largest: batch that is ever given.
    real_time: whether chunks may go on from a plan in flight.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    found: restored.Restored,
    name: str,
    *,
    largest: int = 1,
    real_time: bool = False,
  ):
    self.experiment, self.found, self.name = experiment, found, name
    self.sizes = [2**k for k in range((largest - 1).bit_length() + 1)]
    self.real_time = real_time
    self.step = found.step
    self.policy = found.policy
    self.has_values = bool(found.critic)
    self._pool = futures.ThreadPoolExecutor(len(types.CAMERAS))  # resizing releases the lock
    self._prompts = {self.policy.prompt}  # known to fit
    self._actor_size = found.inputs.image_size or experiment.config.sim.image_size
    encoder = experiment.encoder
    self._critic_size = (encoder.image_size if encoder else 0) or self._actor_size
    # Numbers are given to the programs apart from what is fixed: a list of them is passed faster.
    self._numbers, structure = jax.tree.flatten((found.policy, found.encoder))
    act = jax.jit(functools.partial(answers.act_by_row, encoder, structure))
    self.programs = Programs(self._fixed(), structure, act, self._make_values(structure))

  @property
  def chunk_shape(self) -> tuple[int, int]:
    """(h, A)."""
    return self.policy.chunk_shape

  def take_over(self, programs: Programs) -> bool:
    """Uses the programs of an earlier checkpoint if only parameters differ; whether they do.

    Otherwise it would be compiled anew what is there, beside a server that answers robots.
    """
    if programs.fixed != self.programs.fixed:
      return False
    self.programs = programs
    return True

  def warm(self, told: Callable[[int], None] = lambda sizes: None) -> None:
    """Compiles and runs every program for every size, so that no robot waits for it.

    Args:
      told: takes how many of `sizes` are done.
    """
    for done, size in enumerate(reversed(self.sizes), 1):
      for kind in self._kinds():
        row = self.prepare(self._blank(kind))
        self.answer([row] * size)
      told(done)

  def prepare(self, reading: Reading) -> Row:
    """Does what the host has to: images to size, numbers normalised, the prompt to tokens.

    Raises:
      ValueError: the prompt is too long.
    """
    prompt = self.policy.prompt if reading.prompt is None else reading.prompt
    if prompt not in self._prompts:
      self.policy.inputs.check_prompts([prompt])
      if len(self._prompts) < 1000:  # a client may send any number of them
        self._prompts.add(prompt)
    seen = self._fitted(reading, self._actor_size)
    judged = seen
    if reading.values and self._critic_size != self._actor_size:
      judged = self._fitted(reading, self._critic_size)
    make = functools.partial(self._observation, reading, prompt)
    return Row(
      reading,
      make(self.policy.tag, seen),
      make(types.Tag.NONE, seen) if self.policy.is_guided else None,
      make(types.Tag.NONE, judged) if reading.values else None,
    )

  def answer(self, rows: Sequence[Row]) -> list[Answer]:
    """What the policy would do in each row; one alone gets what it gets among others.

    Args:
      rows: at most `largest` of them, with seeds.
    """
    filled = self._filled(rows)
    with jax.transfer_guard('allow'):  # arrays of the host as arguments are the fastest way there
      actions = np.array(self._run_act(filled))
    found = [Answer(chunk) for chunk in actions[: len(rows)]]
    asked = [i for i, row in enumerate(rows) if row.reading.values]
    if asked:
      judged = self._filled([rows[i] for i in asked])
      of = [*asked, *[asked[-1]] * (len(judged) - len(asked))]
      for i, (q, v, spread) in zip(asked, self._run_values(judged, actions[of]), strict=False):
        found[i] = dataclasses.replace(found[i], q=q, v=v, spread=spread)
    return found

  def _run_act(self, rows: Sequence[Row]) -> jax.Array:
    arguments: tuple[Any, ...] = (
      _stacked([row.observation for row in rows]),
      None if rows[0].untagged is None else _stacked([row.untagged for row in rows]),
      np.stack([row.reading.state for row in rows]),
      np.array([row.reading.seed for row in rows], np.uint32),
    )
    if any(row.reading.plan is not None for row in rows):
      arguments += self._plans(rows)
    return self.programs.act(self._numbers, *arguments)

  def _run_values(self, rows: Sequence[Row], actions: np.ndarray) -> list[tuple[float, ...]]:
    """Q, V and spread of each row."""
    assert self.programs.values is not None
    with jax.transfer_guard('allow'):
      found = self.programs.values(
        self._numbers,
        self.found.critic,
        self.found.encoder,
        _stacked([row.judged for row in rows]),
        _stacked([row.observation for row in rows]),
        np.stack([row.reading.state for row in rows]),
        actions,
        np.array([row.reading.seed for row in rows], np.uint32),
      )
      return [tuple(map(float, of_row)) for of_row in zip(*jax.device_get(found), strict=True)]

  def _make_values(self, structure: Any) -> Callable[..., Any] | None:
    if not self.has_values:
      return None
    experiment, meta = self.experiment, self.found.meta
    scale = experiment.chunking(meta['fail_cost']).reward_scale
    span = tuple(meta.get('return_range', rewards.RETURN_RANGE))
    learner = experiment.learner(scale, span)
    return jax.jit(functools.partial(answers.values_by_row, experiment.encoder, learner, structure))

  def _fixed(self) -> str:
    """All that programs are made of beside parameters: the config, statistics, what was learnt."""
    inputs, meta = self.policy.inputs, self.found.meta
    limits = inputs.limits and [x.tolist() for x in inputs.limits]
    normalized = [
      {name: np.asarray(value).tolist() for name, value in vars(normalizer).items()}
      for normalizer in (inputs.state, inputs.action)
    ]
    told = (
      self.experiment.config.to_json(sort_keys=True),
      {key: meta.get(key) for key in _BUILT_IN},
      [f'{x.dtype}{x.shape}' for x in self._numbers],
      [normalized, limits, self.policy.guidance, self.has_values],
    )
    return json.dumps(told, sort_keys=True)

  def _plans(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plans [B, h, A], their steps and delays [B]; nothing of a row that has none."""
    plans = np.zeros((len(rows), *self.chunk_shape), np.float32)
    steps, delays = np.zeros((2, len(rows)), np.int32)
    for i, row in enumerate(rows):
      if row.reading.plan is not None:
        steps[i] = min(len(row.reading.plan), len(plans[i]))
        delays[i] = min(row.reading.delay, steps[i])
        plans[i, : steps[i]] = row.reading.plan[: steps[i]]
    return plans, steps, delays

  def _filled(self, rows: Sequence[Row]) -> list[Row]:
    """Rows up to the next size that is compiled for; the last is repeated."""
    size = next(size for size in self.sizes if size >= len(rows))
    return [*rows, *[rows[-1]] * (size - len(rows))]

  def _fitted(self, reading: Reading, size: int) -> dict[str, np.ndarray] | None:
    """Images of a network's size, zeros of cameras that the robot lacks; None for features."""
    if reading.features is not None:
      return None
    images = {camera: np.zeros((size, size, 3), np.uint8) for camera in types.CAMERAS}
    shown = list(reading.images.values())
    if any(image.shape[:2] != (size, size) for image in shown):
      shown = list(self._pool.map(lambda image: images_lib.resize_with_pad(image, size), shown))
    return images | dict(zip(reading.images, shown, strict=True))

  def _observation(
    self, reading: Reading, prompt: str, tag: types.Tag, images: dict[str, np.ndarray] | None
  ) -> types.Observation:
    inputs = self.policy.inputs
    proprio = np.asarray(inputs.proprio(reading.state[None]))
    tokens, mask = inputs.prompts([prompt], proprio, [tag])
    masks = None
    if images is not None:
      masks = {camera: np.bool_(camera in reading.images) for camera in types.CAMERAS}
    return types.Observation(proprio[0], tokens[0], mask[0], reading.features, images, masks)

  def _kinds(self) -> list[str]:
    return (
      ['actions']
      + ['actions in real time'] * self.real_time
      + ['actions and values'] * self.has_values
    )

  def _blank(self, kind: str) -> Reading:
    """A reading of nothing, for which a kind of program is compiled."""
    config, size = self.experiment.config, self._actor_size
    shown: dict[str, Any] = {
      'images': {camera: np.zeros((size, size, 3), np.uint8) for camera in config.task.cameras}
    }
    if not self.experiment.reads_images and self.experiment.encoder is None:
      shown = {'features': np.zeros(self.experiment.feature_shape(), np.float32)}
    return Reading(
      np.zeros(config.task.proprio_size, np.float32),
      seed=0,
      values=kind == 'actions and values',
      plan=np.zeros((1, self.chunk_shape[1]), np.float32) if 'real time' in kind else None,
      **shown,
    )


def _stacked(trees: Sequence[Any]) -> Any:
  return jax.tree.map(lambda *x: np.stack(x), *trees)
