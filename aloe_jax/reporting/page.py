"""One HTML page that holds all it shows: no script, no font, no image from elsewhere."""

from collections.abc import Sequence
import html
import io
import re

import matplotlib
from matplotlib import figure

from aloe_jax.reporting import card

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882;
  --good: #009e73; --fair: #e69f00; --bad: #d55e00; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 68rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
p { margin: .3rem 0; } .soft { opacity: .75; font-size: .9rem; }
.warn { border-left: 4px solid var(--bad); background: var(--soft); padding: .5rem .8rem; }
.cards { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
.card { border: 1px solid var(--line); border-left: 5px solid var(--line); border-radius: 6px;
  padding: .6rem .8rem; }
.good { border-left-color: var(--good); } .fair { border-left-color: var(--fair); }
.bad { border-left-color: var(--bad); }
.card b { display: block; } .value { font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.figures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
figure { margin: 0; } figcaption { font-size: .9rem; opacity: .75; }
svg { width: 100%; height: auto; max-width: 32rem; } svg text { fill: currentColor; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; white-space: nowrap; padding: .2rem .7rem;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
"""
_WORDS = {
  card.GOOD: 'Good',
  card.FAIR: 'Fair',
  card.BAD: 'Bad',
  card.TOLD: 'For information',
  card.UNDEFINED: 'Not defined here',
}


def page(title: str, sections: Sequence[tuple[str, str]]) -> str:
  """The page of some sections: (heading, HTML) each; one without a heading has none."""
  body = '\n'.join(
    (f'<h2>{html.escape(heading)}</h2>\n' if heading else '') + content
    for heading, content in sections
  )
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f'<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
    f'<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n'
  )


def paragraph(text: str, kind: str = '') -> str:
  """A paragraph; `kind` is '', 'soft' or 'warn'."""
  return f'<p class="{kind}">{html.escape(text)}</p>\n'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A table, scrolled by itself where it is wider than the screen."""
  head = ''.join(f'<th>{html.escape(cell)}</th>' for cell in header)
  body = ''.join(
    '<tr>' + ''.join(f'<td>{html.escape(cell)}</td>' for cell in row) + '</tr>\n' for row in rows
  )
  return (
    f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n'
    '</table></div>\n'
  )


def cards(lines: Sequence[card.Line]) -> str:
  """The report card."""
  shown = ''.join(
    f'<div class="card {line.verdict}"><b>{html.escape(line.title)}</b>'
    f'<span class="value">{html.escape(line.value)}</span>'
    f'<p><strong>{_WORDS[line.verdict]}.</strong> {html.escape(line.advice)}</p>'
    f'<p class="soft">{html.escape(line.meaning)}</p></div>\n'
    for line in lines
  )
  return f'<div class="cards">\n{shown}</div>\n'


def figures(drawings: Sequence[tuple[str, figure.Figure, str]]) -> str:
  """Figures side by side where there is room: (name, drawing, caption) each; no name twice."""
  shown = ''.join(
    f'<figure>{_svg(drawing, name)}<figcaption>{html.escape(caption)}</figcaption></figure>\n'
    for name, drawing, caption in drawings
  )
  return f'<div class="figures">\n{shown}</div>\n'


def _svg(drawing: figure.Figure, name: str) -> str:
  """A figure as an element of the page: black becomes the colour of the page's text."""
  written = io.StringIO()
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
    nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    drawing.savefig(written, format='svg', transparent=True, metadata=nothing)
  text = written.getvalue()
  text = text[text.index('<svg') :]
  text = re.sub(r' xmlns(:\w+)?="[^"]*"', '', text)  # a page needs none
  text = re.sub(r'(width|height)="[\d.]+pt" ?', '', text, count=2)  # the style says how wide
  text = text.replace('xlink:href="', 'href="')
  # Several figures share a page: what one refers to is to be its own.
  for before in ('id="', 'href="#', 'url(#'):
    text = text.replace(before, f'{before}{name}-')
  return re.sub('#(000000|555555)', 'currentColor', text)
