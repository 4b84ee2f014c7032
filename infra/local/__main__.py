"""`python -m infra.local`: the same as `parley up`."""

import cyclopts

from infra.cli.up import up

cyclopts.run(up)
