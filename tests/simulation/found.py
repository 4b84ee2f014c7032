"""Histories that have found something, shrunk. Each is replayed for ever."""

from __future__ import annotations

from tests.simulation.steps import Step

FOUND: dict[str, list[Step]] = {
    "a repair that JetStream refused left its feed deaf": [
        Step("follow", 772916, 420911),
        Step("connect", 855661, 814278),
        Step("run", 25118, 432103),
        Step("run", 417373, 321378),
        Step("bus_away", 630966, 1012488),
        Step("publish", 68271, 278037),
        Step("follow", 729854, 353329),
        Step("heads", 234497, 576964),
        Step("run", 454507, 482228),
        Step("run", 159116, 564223),
    ],
    "a page held a removal, and what came after it, before any sink had heard of it": [
        Step("publish", 552780, 902803),
        Step("lag", 149684, 274269),
        Step("connect", 724172, 289894),
        Step("publish", 587072, 610706),
        Step("follow", 282168, 603702),
        Step("run", 317563, 791409),
        Step("save", 249836, 302579),
        Step("hint", 710332, 935037),
        Step("publish", 834794, 176309),
        Step("run", 566618, 914340),
        Step("publish", 580360, 1027121),
        Step("resume", 1036853, 842620),
    ],
    "a replay ended with the removal itself, and the client was not told": [
        Step("publish", 888177, 393494),
        Step("publish", 43781, 684149),
        Step("lag", 839778, 303042),
        Step("follow", 602319, 184491),
        Step("publish", 66285, 969745),
        Step("publish", 2111, 841132),
        Step("connect", 276191, 1025728),
        Step("save", 855467, 781125),
        Step("publish", 333460, 898518),
        Step("publish", 1023211, 573212),
        Step("run", 145175, 868382),
        Step("resume", 519731, 753999),
        Step("run", 146915, 188884),
    ],
    "a gap was named across a removal, and the client was not told": [
        Step("follow", 279504, 274171),
        Step("crash_archiver", 583434, 871719),
        Step("save", 12329, 1017484),
        Step("connect", 570933, 753107),
        Step("run", 1010372, 979990),
        Step("disconnect", 510636, 487335),
        Step("connect", 715308, 90481),
        Step("run", 1034400, 813995),
        Step("publish", 570376, 630339),
        Step("deliver", 848224, 484298),
        Step("run", 428453, 154583),
        Step("wait", 27833, 791071),
        Step("run", 715534, 592537),
    ],
}
"""What was wrong, and the steps that showed it."""
