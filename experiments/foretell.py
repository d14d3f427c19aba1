"""What the card of an iteration foretells, kept apart from the run's own report.

  python -m experiments.foretell --workdir=runs/laundry --iteration=1 --foretell=full

Writes what `python -m aloe_jax.report` would write to `report.json` to `foretold/1/report.json` in
--workdir, 1 being the iteration; see `experiments.foretold`, which asks for all of a comparison.
"""

from collections.abc import Sequence
import json

from aloe_jax import command_line
from aloe_jax import files
from aloe_jax import report
from aloe_jax.run import compile_cache
from aloe_jax.run import kept


def main(argv: Sequence[str] | None = None) -> None:
  """Foretells for the run of a command line."""
  given = command_line.parse(report.parser('experiments.foretell', __doc__, foretells=True), argv)
  config = kept.config(given, 'report')
  compile_cache.use(config, given.workdir)
  asked = report.of(given, config)
  numbers = asked.flat(asked.foretell(full=given.options.foretell == 'full'))
  path = given.workdir / 'foretold' / str(numbers['iteration']) / 'report.json'
  files.write_text(path, json.dumps(numbers, indent=1))


if __name__ == '__main__':
  command_line.run(main)
