"""What stands in a chunk for the actions that a terminal end left unplayed.

No action past the end can change the return, so any will do for a critic that says nothing of the
end. The policy's plan says a lot: what is executed answers what happened meanwhile, and an open
plan does not. So the actions are taken from a *donor*, another chunk of the buffer that went on
where this one ended, after a like beginning in a like state. A linear model tells from the state
and from the n actions that were played what comes next; the donor is the chunk of which it tells
most nearly the same, and among several that whose state and beginning are the most like: they may
differ in more than the mean. This is predictive mean matching, the hot-deck imputation of missing
values (Rubin, 1986; Little, 1988): what is filled in was executed as it stands, noise and all.

Where chunks are alike they are one another's donors by chance, each as often as any other to within
one, so that what is filled in has the distribution that it has where nothing ended: Q is then
exact, see tests/ended_chunks_test.py.

Legend of shapes: N rows, E chunks that ended, C donors, h chunk horizon, A action width, D numbers
of a state.
"""

from collections.abc import Callable
import dataclasses

import numpy as np

DONORS = 32_768  # among how many chunks one is looked for, drawn where there are more
WIDTH = 256  # numbers of a state that the model reads, projected at random where there are more
BLOCK = 256  # ended chunks that are compared with all donors at a time
RIDGE = 1e-3  # of the linear model, over the number of chunks, in standard deviations
FINEST = 0.05  # part of its deviation to which an action is matched at most
STILL = 1e-12  # variance up to which a number never moves
SAME = 1e-2  # weight of the state and the played actions themselves beside what the model tells
TIE = 1e-4  # squared distance, in residual standard deviations, below which donors are alike


@dataclasses.dataclass(frozen=True)
class Continuations:
  """Where the actions of every ended chunk are to be had.

  Attributes:
    rows: [E] int64 ascending, rows at which the chunks start that a terminal end cut short.
    source: [E, h] int64, row at which the chunk starts whose k-th action stands at step k: its own
      row while it was played.
  """

  rows: np.ndarray
  source: np.ndarray

  def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of rows [B] start an ended chunk, [B] bool, and the sources of those, [.., h]."""
    if not len(self.rows):
      return np.zeros(len(rows), bool), np.zeros((0, self.source.shape[1]), np.int64)
    place = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
    ended = self.rows[place] == rows
    return ended, self.source[place[ended]]


@dataclasses.dataclass(frozen=True)
class Recorded:
  """What is known of chunks.

  Attributes:
    starts: [S] int64 ascending, rows at which a chunk starts.
    steps: [S] int64, n = min(h, steps that were played).
    ended: [S] bool, whether a terminal end cut it short: n < h.
    group: [S] int, that each belongs to: donors are of the same one where it has any.
    state: of rows [B], [B, D] float32.
    action: of the chunk that starts at rows [B, k], its k-th action, [B, k, A] float32, as the
      critic reads it.
    horizon: h.
    lends: [S] bool, which of them may be a donor; None for all.
  """

  starts: np.ndarray
  steps: np.ndarray
  ended: np.ndarray
  group: np.ndarray
  state: Callable[[np.ndarray], np.ndarray]
  action: Callable[[np.ndarray], np.ndarray]
  horizon: int
  lends: np.ndarray | None = None


def find(
  recorded: Recorded, *, seed: int = 0, progress: Callable[[int], None] = lambda done: None
) -> Continuations:
  """Finds a donor for every chunk that a terminal end cut short.

  Chunks that were played for longer are done first: a donor that ended itself, later, hands on
  what its own donor gave it. So an action after n steps is one of those that were executed by
  whatever came as far, and not only by what survived all h.

  Args:
    recorded: the chunks.
    seed: of the choice among what is alike, and of the draw of donors.
    progress: told the chunks done so far.

  Raises:
    ValueError: nothing went on where some chunk ended, or a state is not finite.
  """
  rng = np.random.default_rng(seed)
  ended = np.flatnonzero(recorded.ended)
  rows, steps = recorded.starts[ended], recorded.steps[ended]
  found = Continuations(rows, np.repeat(rows[:, None], recorded.horizon, axis=1))
  if not len(rows):
    return found
  donors = _Donors(recorded, rng)
  done = 0
  for played in range(recorded.horizon - 1, 0, -1):
    same = np.flatnonzero(steps == played)
    if not len(same):
      continue
    guess = donors.predictor(played)
    for group in np.unique(recorded.group[ended[same]]):
      asked = same[recorded.group[ended[same]] == group]
      able = donors.able(played, group)
      told = guess(donors.state[able], donors.action[able])
      state = donors.told(recorded.state(rows[asked]))
      action = recorded.action(found.source[asked])
      first, alike = _alike(_columns(state, action[:, :played]))
      for start in range(0, len(first), BLOCK):
        some = first[start : start + BLOCK]
        near = _nearest(guess(state[some], action[some]), told)
        for place, members in zip(near, alike[start : start + BLOCK], strict=True):
          drawn = able[place[_spread(len(place), len(members), rng)]]
          found.source[asked[members], played:] = donors.source[drawn, played:]
          done += len(members)
        progress(done)
    donors.learn(recorded, found)
  return found


class _Donors:
  """C chunks: where their actions are to be had, and a linear model of the later ones."""

  def __init__(self, recorded: Recorded, rng: np.random.Generator):
    told = (recorded.steps == recorded.horizon) | recorded.ended
    able = np.flatnonzero(told if recorded.lends is None else told & recorded.lends)
    able = rng.permutation(_drawn(able, recorded.group[able], rng))
    self.rows = recorded.starts[able]
    self.steps = recorded.steps[able]
    self.group = recorded.group[able]
    self.source = np.repeat(self.rows[:, None], recorded.horizon, axis=1)
    state = recorded.state(self.rows)
    wrong = ~np.isfinite(state).all(axis=1)
    if wrong.any():
      raise ValueError(
        f'the state or the features of row {self.rows[wrong][0]} of the buffer are not finite '
        'numbers; expected finite ones. Look for the step with `data validate`.'
      )
    self._mean = state.mean(axis=0, dtype=np.float64)
    self._deviation = state.std(axis=0, dtype=np.float64) + 1e-6
    self._projection: np.ndarray | None = None
    if (size := state.shape[1]) > WIDTH:
      self._projection = rng.normal(0, size**-0.5, (size, WIDTH)).astype(np.float32)
    self.state = self.told(state)
    self.action = recorded.action(self.source)
    self._whole = self.steps == recorded.horizon
    self._fit()

  def told(self, state: np.ndarray) -> np.ndarray:
    """What the model reads of states [B, D]: in standard deviations, none further out than 5."""
    scaled = np.clip((state - self._mean) / self._deviation, -5, 5).astype(np.float32)
    return scaled if self._projection is None else scaled @ self._projection

  def able(self, played: int, group: int) -> np.ndarray:
    """Those that were played for longer, of a group, where it has any; like ones side by side.

    Raises:
      ValueError: there is none.
    """
    longer = self.steps > played
    same = longer & (self.group == group)
    able = np.flatnonzero(same if same.any() else longer)
    if not len(able):
      raise ValueError(
        f'a chunk met a terminal end after {played} steps, but none of the {len(self.steps)} '
        f'chunks that were looked at went on for longer; expected some of {self.source.shape[1]} '
        'steps that nothing cut short. Give longer or more episodes; or, for a new run, a shorter '
        "--config.critic.horizon or --config.task.chunk, or --config.critic.past_end='mask'."
      )
    return _in_order(able, self.action[:, played:])

  def learn(self, recorded: Recorded, found: Continuations) -> None:
    """Takes over what has been found for those of the donors that ended themselves."""
    ended, source = found.of(self.rows)
    changed = np.flatnonzero(ended)[(self.source[ended] != source).any(axis=1)]
    self.source[ended] = source
    self.action[changed] = recorded.action(self.source[changed])

  def predictor(self, played: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Of what is told of states and action [B, h, A], the mean of the actions after `played` steps.

    It is given in standard deviations of what the model leaves open, [B, (h - played) A].
    """
    size = self.state.shape[1] + played * self.action.shape[2]
    known, rest = self._gram[:size, :size], self._gram[:size, size:]
    weight = np.linalg.solve(known + self._ridge * np.eye(size), rest)
    whole = np.diag(self._gram)[size:]
    left = whole - np.einsum('ij,ij->j', rest, weight)
    # What the model tells to a small part of its deviation need not be told more exactly; a number
    # that never moves tells nothing.
    variance = np.maximum(left, FINEST**2 * whole) / max(self._whole.sum(), 1)
    moves = variance > STILL
    scaled = np.where(moves, weight / np.sqrt(np.where(moves, variance, 1)), 0)
    # What the model does not tell decides among those of which it tells the same.
    moving = int(np.count_nonzero(np.diag(known) > STILL * self._whole.sum()))
    share = np.sqrt(SAME / max(1, moving))

    def guess(state: np.ndarray, action: np.ndarray) -> np.ndarray:
      columns = _columns(state, action[:, :played]) - self._center[:size]
      return np.concatenate([columns @ scaled, share * columns], axis=1)

    return guess

  def _fit(self) -> None:
    """Second moments of state and actions about their means, of the chunks played whole."""
    columns = _columns(self.state, self.action)[self._whole]
    self._center = columns.mean(axis=0) if len(columns) else np.zeros(columns.shape[1])
    columns = columns - self._center
    self._gram = columns.T @ columns
    self._ridge = RIDGE * max(len(columns), 1)


def _drawn(numbers: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Of numbers [n] of groups [n], at most `DONORS`, so that small groups are kept whole."""
  if len(numbers) <= DONORS:
    return numbers
  names, own = np.unique(group, return_inverse=True)
  sizes = np.sort(np.bincount(own))
  # The most that each group may have: those that have fewer leave what is over to the others.
  room, most = DONORS, 0
  for place, size in enumerate(sizes):
    most = max(1, room // (len(sizes) - place))
    if size >= most:
      break
    room -= size
  kept = [rng.permutation(numbers[own == name])[:most] for name in range(len(names))]
  return np.sort(np.concatenate(kept))


def _columns(state: np.ndarray, action: np.ndarray) -> np.ndarray:
  """[B, D + n A] float64 of states [B, D] and action [B, n, A], the actions clipped to [-3, 3]."""
  flat = np.clip(action.reshape(len(action), -1), -3, 3)
  return np.concatenate([state, flat], axis=1, dtype=np.float64)


def _in_order(numbers: np.ndarray, actions: np.ndarray) -> np.ndarray:
  """Numbers [n] of actions [C, k, A], some order of the actions: equal ones are side by side."""
  rows = np.ascontiguousarray(actions[numbers].reshape(len(numbers), -1))
  keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
  return numbers[np.argsort(keys, kind='stable')]


def _alike(columns: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
  """The first of every kind of equal rows [B, F], [kinds], and all that are of each kind."""
  kinds: dict[bytes, list[int]] = {}
  for number, row in enumerate(columns):
    kinds.setdefault(row.tobytes(), []).append(number)
  members = [np.array(numbers) for numbers in kinds.values()]
  return np.array([numbers[0] for numbers in members]), members


def _nearest(asked: np.ndarray, donors: np.ndarray) -> list[np.ndarray]:
  """Numbers of the donors [C, F] nearest to each of asked [B, F]: one, or all that are alike."""
  distance = np.square(donors).sum(axis=1) - 2 * asked @ donors.T  # but for what is common to all
  bound = distance.min(axis=1, keepdims=True) + TIE
  return [np.flatnonzero(near) for near in distance <= bound]


def _spread(choices: int, count: int, rng: np.random.Generator) -> np.ndarray:
  """[count] of 0 .. choices - 1: each as likely as any other, and as evenly as can be.

  Choices in a row are taken in their proportion to within one, which single draws would miss by
  the root of their number (systematic sampling).
  """
  place = ((np.arange(count) + rng.random()) * choices / count).astype(int)
  return rng.permutation(np.minimum(place, choices - 1))
