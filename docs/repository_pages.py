"""A hook of mkdocs: pages that lie outside of docs/, and links to what is no page.

README.md and CONTRIBUTING.md stay at the top of the repository, where people and GitHub look for
them; the site shows them as its first and its last page. A link to a file of code is a link on
GitHub; on the site it becomes the file's name, or a link if `repo_url` says where the code is.
"""

import logging
import os
import pathlib
import re

from mkdocs.structure import files as files_lib

PAGES = {'README.md': 'index.md', 'CONTRIBUTING.md': 'contributing.md'}  # their names on the site

_LINK = re.compile(r'(?<!!)\[([^\]]*)\]\(([^)#\s:]+)(#[^)]*)?\)')
_IMAGE = re.compile(r'(!\[[^\]]*\]\()docs/')
_CODE = re.compile(r'^( *)```.*?^\1```', re.DOTALL | re.MULTILINE)
_log = logging.getLogger('mkdocs.hooks.repository_pages')


def on_files(files, config):
  """Adds the pages that lie outside of docs/."""
  for name, page in PAGES.items():
    text = (_root(config) / name).read_text(encoding='utf-8')
    text = _outside_code(text, lambda part: _IMAGE.sub(r'\1', part))
    files.append(files_lib.File.generated(config, page, content=text))
  return files


def on_page_markdown(markdown, page, config, files):
  """Turns links that leave docs/ into what the site has in their place."""
  root = _root(config)
  source = {to: name for name, to in PAGES.items()}.get(page.file.src_uri)
  folder = pathlib.PurePosixPath(source or f'docs/{page.file.src_uri}').parent

  def link(match):
    text, target, anchor = match[1], match[2], match[3] or ''
    path = os.path.normpath(folder / target)
    if not (root / path).exists():
      _log.warning('%s: there is no %s, which it links to.', page.file.src_uri, path)
    if path in PAGES:
      target = PAGES[path]
    elif path.startswith('docs/'):
      target = path.removeprefix('docs/')
    elif config.repo_url:
      return f'[{text}]({config.repo_url.rstrip("/")}/blob/main/{path})'
    else:
      plain = text.strip('`/').replace('\\', '')
      return f'`{path}`' if path.endswith(plain) else f'{text} (`{path}`)'
    here = pathlib.PurePosixPath(page.file.src_uri).parent
    return f'[{text}]({os.path.relpath(target, here)}{anchor})'

  return _outside_code(markdown, lambda part: _LINK.sub(link, part))


def _root(config) -> pathlib.Path:
  return pathlib.Path(config.config_file_path).parent


def _outside_code(text: str, change) -> str:
  """Changes all but the blocks of code."""
  parts, end = [], 0
  for block in _CODE.finditer(text):
    parts += [change(text[end : block.start()]), block[0]]
    end = block.end()
  return ''.join([*parts, change(text[end:])])
