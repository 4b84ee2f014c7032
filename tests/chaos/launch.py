"""`parley up` with a network in between: each service reaches NATS over addresses of its own.

`PARLEY_CHAOS_ROUTES`: a JSON object, the name of a service → its `PARLEY_NATS_URL`. The servers of a cluster
do not advertise one another here: a client that was told the real addresses would go past the proxies.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from cyclopts import App

from infra.local.credentials import Credentials
from infra.local.data_directory import DataDirectory
from infra.local.options import Options
from infra.local.plan import Plan, Ports, plan
from infra.local.system import run
from infra.nats.config import Config

ROUTES = "PARLEY_CHAOS_ROUTES"


def rerouted(planned: Plan, routes: dict[str, str]) -> Plan:
    """The same plan over these addresses."""
    children = tuple(
        dataclasses.replace(child, env=child.env | {"PARLEY_NATS_URL": routes[child.name]})
        if child.name in routes
        else child
        for child in planned.children
    )
    configs = tuple((path, _discreet(config)) for path, config in planned.configs)
    return dataclasses.replace(planned, children=children, configs=configs)


def _discreet(config: Config) -> Config:
    cluster = config.get("cluster")
    if not isinstance(cluster, dict):
        return config
    return config | {"cluster": cluster | {"no_advertise": True}}


def _planned(
    options: Options, directory: DataDirectory, credentials: Credentials, ports: Ports, binary: Path
) -> Plan:
    return rerouted(plan(options, directory, credentials, ports, binary), json.loads(os.environ[ROUTES]))


_DEFAULTS = Options()


def up(options: Options = _DEFAULTS) -> None:
    """As `parley up`."""
    run(options, planning=_planned)


if __name__ == "__main__":
    App(default_command=up)()
