"""`third_party/clone.sh` brings a program to its commit, or says why it could not."""

import pathlib
import shutil
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / 'third_party' / 'clone.sh'
AS_SOMEONE = ('-c', 'user.name=a', '-c', 'user.email=a@b', '-c', 'commit.gpgsign=false')


def git(directory, *arguments):
  done = subprocess.run(
    ['git', '-C', str(directory), *AS_SOMEONE, *arguments],
    check=True,
    capture_output=True,
    text=True,
  )
  return done.stdout.strip()


@pytest.fixture
def origin(tmp_path):
  """A bare repository of two commits, and their hashes."""
  work, bare = tmp_path / 'work', tmp_path / 'origin.git'
  work.mkdir()
  git(work, 'init', '--quiet')
  commits = []
  for version in ('old', 'new'):
    (work / 'model.py').write_text(f'version = {version!r}\n')
    git(work, 'add', '.')
    git(work, 'commit', '--quiet', '-m', version)
    commits.append(git(work, 'rev-parse', 'HEAD'))
  git(tmp_path, 'clone', '--quiet', '--bare', str(work), str(bare))
  return bare, *commits


@pytest.fixture
def folder(tmp_path):
  """A folder like third_party, with the script."""
  folder = tmp_path / 'third_party'
  folder.mkdir()
  shutil.copy(SCRIPT, folder)
  return folder


def pin(folder, url, commit, name='vision'):
  (folder / 'commits.txt').write_text(f'{name} {url} {commit}\n')


def clone(folder, *names):
  done = subprocess.run([folder / 'clone.sh', *names], capture_output=True, text=True)
  return done.returncode, done.stdout, done.stderr


def assert_refused(result, *words):
  status, _, errors = result
  assert status == 1
  assert errors.startswith('error: ')
  for word in words:
    assert word in errors


def names(folder):
  return sorted(path.name for path in folder.iterdir() if path.name not in ('.git', 'clone.sh'))


def test_a_program_is_brought_to_its_commit_and_not_to_the_newest(origin, folder):
  bare, old, _ = origin
  pin(folder, bare.as_uri(), old)
  assert clone(folder) == (0, f'third_party/vision is at {old[:7]} now.\n', '')
  assert (folder / 'vision/model.py').read_text() == "version = 'old'\n"
  assert git(folder / 'vision', 'rev-parse', 'HEAD') == old
  assert names(folder) == ['commits.txt', 'vision']


def test_a_second_run_does_nothing_and_needs_no_network(origin, folder):
  bare, old, _ = origin
  pin(folder, bare.as_uri(), old)
  clone(folder)
  bare.rename(bare.with_name('gone.git'))
  assert clone(folder) == (0, f'third_party/vision is at {old[:7]} already.\n', '')


def test_a_clone_follows_when_another_commit_is_pinned(origin, folder):
  bare, old, new = origin
  for commit, text in ((old, 'old'), (new, 'new')):
    pin(folder, bare.as_uri(), commit)
    assert clone(folder)[0] == 0
    assert (folder / 'vision/model.py').read_text() == f'version = {text!r}\n'


def test_changes_of_ones_own_are_never_lost(origin, folder):
  bare, old, new = origin
  pin(folder, bare.as_uri(), old)
  clone(folder)
  (folder / 'vision/model.py').write_text('mine\n')
  pin(folder, bare.as_uri(), new)
  assert_refused(clone(folder), 'third_party/vision has changes of its own')
  assert (folder / 'vision/model.py').read_text() == 'mine\n'


def test_a_folder_that_is_no_clone_is_left_alone(origin, folder):
  bare, old, _ = origin
  pin(folder, bare.as_uri(), old)
  (folder / 'vision').mkdir()
  git(folder, 'init', '--quiet')  # the folder above being a clone does not make it one
  assert_refused(clone(folder), 'third_party/vision is there and is no clone; move it away')


def test_a_commit_that_the_repository_lacks_is_named_and_nothing_is_left(origin, folder):
  bare, _, _ = origin
  pin(folder, bare.as_uri(), 'a' * 40)
  assert_refused(clone(folder), f'commit {"a" * 40} of vision', bare.as_uri(), 'commits.txt names')
  assert names(folder) == ['commits.txt']


def test_where_there_is_no_such_repository_its_address_is_named(origin, folder, tmp_path):
  pin(folder, (tmp_path / 'nowhere').as_uri(), 'b' * 40)
  assert_refused(clone(folder), f'{tmp_path}/nowhere', 'Is there a network')
  assert names(folder) == ['commits.txt']


def test_only_what_is_named_is_brought(origin, folder):
  bare, old, new = origin
  lines = [f'vision {bare.as_uri()} {old}', f'robots {bare.as_uri()} {new}']
  (folder / 'commits.txt').write_text('\n'.join(lines) + '\n')
  assert_refused(clone(folder, 'visoin'), 'found visoin, expected one of: vision robots')
  assert clone(folder, 'robots')[0] == 0
  assert names(folder) == ['commits.txt', 'robots']


def test_a_last_line_without_its_end_is_read(origin, folder):
  bare, old, _ = origin
  (folder / 'commits.txt').write_text(f'vision {bare.as_uri()} {old}')
  assert clone(folder) == (0, f'third_party/vision is at {old[:7]} now.\n', '')


@pytest.mark.parametrize(
  'text, words',
  [
    ('', 'commits.txt is empty'),
    ('\n', "line 1: found ''"),
    ('vision url\n', "line 1: found 'vision url', expected 'NAME URL COMMIT'"),
    (f'vision url {"a" * 40}\n\n', "line 2: found ''"),
    ('vision url 0127fb6\n', "line 1: found 'vision url 0127fb6'"),
    (f'vision url {"a" * 40} more', f"line 1: found 'vision url {'a' * 40} more'"),
  ],
)
def test_a_line_that_names_no_commit_is_refused_before_any_work(text, words, folder):
  (folder / 'commits.txt').write_text(text)
  assert_refused(clone(folder), words)
  assert names(folder) == ['commits.txt']


def test_without_git_one_message_says_so_and_nothing_is_left(origin, folder, tmp_path):
  bare, old, _ = origin
  pin(folder, bare.as_uri(), old)
  programs = tmp_path / 'programs'
  programs.mkdir()
  for name in ('bash', 'dirname', 'mktemp'):
    (programs / name).symlink_to(shutil.which(name))
  done = subprocess.run(
    [folder / 'clone.sh'], capture_output=True, text=True, env={'PATH': str(programs)}
  )
  assert_refused((done.returncode, done.stdout, done.stderr), 'found no git on PATH')
  assert done.stderr.count('\n') == 1
  assert names(folder) == ['commits.txt']


def test_the_pinned_commits_are_those_that_the_table_of_provenance_names():
  readme = (SCRIPT.parent / 'README.md').read_text()
  lines = (SCRIPT.parent / 'commits.txt').read_text().splitlines()
  assert [line.split()[0] for line in lines] == ['big_vision', 'openpi']
  for name, url, commit in map(str.split, lines):
    assert len(commit) == 40
    assert f'| [{name}]({url}) | `{commit[:7]}` |' in readme
