"""What the documentation says of the comparisons is what the kept records say today."""

import pathlib
import re

import documented
import numpy as np
import pytest

from aloe_jax.comparison import foresight
from aloe_jax.comparison import payoff
from aloe_jax.comparison import store
from aloe_jax.comparison import tables
from experiments import foretold
from experiments import results
from experiments import suites

TARGET = results.STORE.parent
ANEW = 'make the pages anew: python -m experiments.results'
CALLED = {  # in the README
  'the start: imitation of demonstrations': tables.WARM_START,
  'BC, more of that imitation (control)': 'BC, as long',
}


def read(suite):
  workdir = pathlib.Path(store.WORKDIR)
  planned = suites.plan(suites.SUITES[suite], workdir, {})
  return results.read(planned, store.Store(results.STORE), workdir)


@pytest.fixture(scope='module')
def found():
  """The results of both suites that the README tells of."""
  return {suite: read(suite) for suite in ('methods', 'away')}


@pytest.mark.parametrize('suite', ['methods', 'away'])
def test_pages_of_tables_are_of_the_records(suite, found):
  written = (TARGET / suite / 'results.md').read_text(encoding='utf-8')
  assert written == results.page(suite, found[suite]), ANEW


def test_the_page_of_what_cards_foretold_is_of_the_kept_answers():
  written = (TARGET / 'foretold' / 'results.md').read_text(encoding='utf-8')
  assert written == foresight.markdown(foretold.read(foretold.STORE)), ANEW


def test_the_page_of_first_cards_is_of_the_kept_answers_and_records(found):
  written = (TARGET / 'foretold' / 'payoff.md').read_text(encoding='utf-8')
  gains = {suite: payoff.gains(runs) for suite, runs in found.items()}
  assert written == payoff.markdown(payoff.match(foretold.read(foretold.STORE), gains)), ANEW


def cells(line):
  return [cell.strip().strip('*') for cell in line.strip().strip('|').split('|')]


def rows(page, heading):
  """(cells of the head, cells of each row) of the first table below a heading."""
  _, found, section = page.read_text(encoding='utf-8').partition(f'\n## {heading}\n')
  assert found, heading
  table = re.search(r'(^\|.*\|\n)+', section.partition('\n## ')[0], re.MULTILINE)
  head, _, *rest = map(cells, table[0].splitlines())
  return head, rest


def said(difference):
  """A difference as pages tell it."""
  told = f'{difference.mean:+.1f}'
  if np.isnan(difference.low):
    return told
  return f'{told} ({difference.low:+.1f} to {difference.high:+.1f})'


def success(results, method):
  """Final success of a method, in the mean of the runs that ALOE has too."""
  own, aloe = (tables.values(results, name, tables.final) for name in (method, 'ALOE'))
  return f'{np.mean([own[key] for key in own if key in aloe]):.1f}'


def final(results, method):
  """What the README tells of a method in a suite."""
  if method not in [tables.WARM_START, *results['methods']]:
    return ['', '']
  ahead = tables.ahead(results, 'ALOE', method, tables.final)
  return [success(results, method), '' if method == 'ALOE' else said(ahead)]


def test_the_readmes_table_is_of_the_records(found):
  head, told = rows(documented.ROOT / 'README.md', 'Results')
  assert head == ['method', 'at home', 'ALOE ahead by', 'away', 'ALOE ahead by']
  for name, *numbers in told:
    method = CALLED.get(name, name.removesuffix(' (control)'))
    assert numbers == [*final(found['methods'], method), *final(found['away'], method)], name
  assert len(told) == 1 + len({*found['methods']['methods'], *found['away']['methods']})


@pytest.mark.parametrize('heading, suite', [('At home', 'methods'), ('Away', 'away')])
def test_the_pages_of_results_tell_every_method_of_the_records(heading, suite, found):
  results = found[suite]
  head, told = rows(TARGET / 'README.md', heading)
  assert head == ['method', 'its success', 'ALOE minus it, iteration 1', 'at the end', 'pairs']
  others = [name for name in (tables.WARM_START, *results['methods']) if name != 'ALOE']
  assert [name for name, *_ in told] == [tables.SHOWN.get(name, name) for name in others]
  for method, (_, *numbers) in zip(others, told, strict=True):
    first, end = (
      tables.ahead(results, 'ALOE', method, x) for x in (tables.rate_of(1), tables.final)
    )
    assert numbers == [success(results, method), said(first), said(end), str(end.pairs)], method
