"""What openpi makes of a robot's numbers, from its description and in few lines."""

import numpy as np


def text(prompt, state):
  """What π0.5 is told, of a normalised state [n]."""
  bins = np.digitize(state, np.linspace(-1, 1, 257)[:-1]) - 1
  cleaned = prompt.strip().replace('_', ' ').replace('\n', ' ')
  return f'Task: {cleaned}, State: {" ".join(map(str, bins))};\nAction: '


def stats(x):
  """Of vectors [m, n] that come in one batch."""
  edges = np.linspace(x.min(0) - 1e-10, x.max(0) + 1e-10, 5001)
  counts = np.stack([np.histogram(x[:, i], edges[:, i])[0] for i in range(x.shape[1])], 1)
  found = {'mean': x.mean(0), 'std': np.sqrt(np.maximum(0, (x**2).mean(0) - x.mean(0) ** 2))}
  for name, share in (('q01', 0.01), ('q99', 0.99)):
    first = (counts.cumsum(0) >= share * len(x)).argmax(0)
    found[name] = edges[first, np.arange(x.shape[1])]
  return found


def data(episodes, mask, chunk):
  """States [m, n], and actions of all steps of all chunks [k, A], relative where the mask says so.

  Args:
    episodes: state [T, n] and action [T, A] of each.
    mask: [A] bool.
    chunk: steps.
  """
  states = [state.astype(np.float64) for state, _ in episodes]
  actions = [
    action[t : t + chunk].astype(np.float64) - mask * state[t].astype(np.float64)
    for state, action in episodes
    for t in range(len(state))
  ]
  return np.concatenate(states), np.concatenate(actions)
