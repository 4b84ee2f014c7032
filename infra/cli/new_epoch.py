"""`parley new-epoch`: declares that a log is not the one that its numbers were given out for."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter, validators

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from shared.bus import Bus
from shared.errors import BadRequest, Unavailable, WrongLastSequence
from shared.ids import Partition
from shared.log_epochs import begin_epoch, judge
from shared.subjects import log_stream

TRIES_MAX = 10


async def new_epoch(
    *,
    partition: Annotated[
        int, Parameter(validator=validators.Number(gte=0), help="The log, as `parley status` numbers it.")
    ],
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Begin a new epoch of a log: after restoring a backup that nobody could tell from the log by itself.

    Every client that has seen the log is told `reset` and loads it anew, and the archive of the epoch before
    is set aside (`epochs/` in the archive). Sequencers find a log that lost its end by themselves; this is
    for when CHECKPOINTS came from the same backup and no sequencer lived through it. The log stays as it is.
    """
    directory = data_directory(data)
    run = directory.run()
    if partition >= run.partitions:
        raise BadRequest(f"--partition {partition}: the partitions are 0 to {run.partitions - 1}")
    async with Bus.connect(directory.operator_settings(), "parley new-epoch") as bus:
        for _ in range(TRIES_MAX):
            verdict = await judge(bus, Partition(partition))
            try:
                epoch = await begin_epoch(bus, verdict)
            except WrongLastSequence:  # the sequencer has saved meanwhile
                continue
            print(f"{log_stream(Partition(partition))}: epoch {epoch} in place of {verdict.epoch}")
            return
    raise Unavailable("the sequencer moves its position too fast: try again", retry_after_ms=1000)
