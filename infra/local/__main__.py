"""`python -m infra.local`: the same as `parley up`."""

import sys

from infra.cli import main

sys.argv.insert(1, "up")
main()
