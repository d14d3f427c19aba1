"""The words shared by every room: sources, ends, observations and chunk batches.

Legend of shapes: B batch, h chunk horizon, A action width, V views (cameras), F feature
width, L prompt tokens, M samples of the policy per state, N rows (steps) of the replay.
"""

import enum

import flax.struct
import jax
import numpy as np

PROPRIO_SIZE = 32  # numbers that networks take a state at, filled up with zeros (Tables I-III)

CAMERAS = ('head', 'left_wrist', 'right_wrist')  # in the order of the views

Array = jax.Array | np.ndarray  # the replay makes NumPy arrays, compiled code JAX ones


class Source(enum.IntEnum):
  """Who chose the action of a step."""

  DEMO = 0
  POLICY = 1
  HUMAN = 2


class EndReason(enum.IntEnum):
  """Why a fragment ended; `NONE` on every step that does not end one."""

  NONE = 0
  SUCCESS = 1
  FAILURE = 2
  TIMEOUT = 3
  TAKEOVER = 4
  CUT = 5


class Tag(enum.IntEnum):
  """What a prompt says of the chunk's advantage, where the algorithm is RECAP."""

  NONE = 0
  POSITIVE = 1
  NEGATIVE = 2


@flax.struct.dataclass
class Sight:
  """What a robot shows at one step, in its own units; any leading batch axes.

  Attributes:
    state: [..., n] float32, joint angles and gripper openings.
    features: [..., V, F] float, where they stand in for images.
    images: {camera: [..., H, W, 3] uint8}.
    image_masks: {camera: [...] bool}, False where a camera is missing; None if none is.
  """

  state: Array
  features: Array | None = None
  images: dict[str, Array] | None = None
  image_masks: dict[str, Array] | None = None


@flax.struct.dataclass
class Observation:
  """What actor and critic see at one step, normalised; any leading batch axes.

  The critic reads `features`: what a frozen encoder made of the images, or, in the simulator,
  the low-dimensional object blocks that stand in for one. So does the small actor; π0.5 reads
  `images`. Who needs neither is given None.

  Attributes:
    proprio: [..., 32] float32, the normalised state, zero padded.
    prompt_tokens: [..., L] int32.
    prompt_mask: [..., L] bool, False on padding.
    features: [..., V, F] float, one pooled vector per camera.
    images: {camera: [..., H, W, 3] uint8}.
    image_masks: {camera: [...] bool}, False where a camera is missing.
  """

  proprio: Array
  prompt_tokens: Array
  prompt_mask: Array
  features: Array | None = None
  images: dict[str, Array] | None = None
  image_masks: dict[str, Array] | None = None


@flax.struct.dataclass
class Between:
  """The C later chunks that a critic's target spans too, as the critic reads them.

  C is how many of the critic's horizons e the target spans, less one.

  Attributes:
    observation: [B, C, ...], s_{t+e}, s_{t+2e} ..
    action: [B, C, e, A].
    valid: [B, C, e] bool.
    ended: [B, C] bool, True where one reaches a terminal end.
    discount: [B, C], gamma^e, gamma^2e ..; 0 where the fragment was over before.
    policy_action: [B, C, M, e, A] of the policy at these states.
    unplayed: [B, C, e, A], as in `CriticBatch`.
  """

  observation: Observation
  action: Array
  valid: Array
  ended: Array
  discount: Array
  policy_action: Array
  unplayed: Array | None


@flax.struct.dataclass
class CriticBatch:
  """Chunked transitions for the critic, Eq. (7).

  Attributes:
    observation: s_t.
    action: [B, h, A], a_t .. a_{t+h-1}; past the end of the fragment the last one repeated.
    valid: [B, h] bool, False past the end of the fragment.
    reward: [B], sum over the n steps that the target spans of gamma^k r_{t+k}, scaled.
    discount: [B], gamma^n, 0 where the fragment ended terminally.
    returns: [B], Monte-Carlo return of s_t to the end of its fragment, scaled.
    next_observation: s_{t+n}.
    ended: [B] bool, True where the chunk reaches a terminal end.
    next_action: [B, M, h, A] of the policy at s_{t+n}, from the bank, or None to sample it
      inside the step.
    policy_action: [B, M, h, A] of the policy at s_t, likewise; see `action_critic.read`.
    unplayed: [B, h, A] what stands in for the actions that a terminal end left unplayed, and those
      that were played; None where nothing does. See `data.continuations`.
    position: [B] int32, in the global batch: the key of a chunk's random numbers.
    between: the chunks after this one that its reward and discount span too; None where they span
      this one alone.
  """

  observation: Observation
  action: Array
  valid: Array
  reward: Array
  discount: Array
  returns: Array
  next_observation: Observation
  ended: Array
  next_action: Array | None
  policy_action: Array | None
  unplayed: Array | None
  position: Array
  between: Between | None = None


@flax.struct.dataclass
class ActorBatch:
  """Chunks for the actor, Eqs. (15) and (16).

  Attributes:
    observation: s_t.
    action: [B, h, A].
    valid: [B, h] bool; padded steps do not count in the loss.
    ended: [B] bool, True where the chunk reaches a terminal end.
    returns: [B], Monte-Carlo return, scaled (the advantage of AWR).
    weight: [B] the weight w of Eq. (11) computed once per phase, or None to compute it
      inside the step.
    unplayed: as in `CriticBatch`, of as many steps as the critic reads; the actor does not see it.
    position: [B] int32, in the global batch: the key of a chunk's random numbers.
  """

  observation: Observation
  action: Array
  valid: Array
  ended: Array
  returns: Array
  weight: Array | None
  unplayed: Array | None
  position: Array
