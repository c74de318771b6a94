"""What the whole control plane makes of silent changes, in virtual days at the default settings.

Run from the repository's root: `python -m tests.benchmarks.silent_weeks [--seeds N] [--days N]`.  Two models are probed
as they would be (hourly questions, drift prompts, liveness every ten minutes); after some sound days the first one
changes.  Printed are the hours until anybody was told, what was told and what was done, and everything that was told
while nothing was wrong.  The models are made up (tests/silent_weeks.py): the figures say how the parts work together,
not how real models behave.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tests.silent_weeks import Weeks

Change = Callable[[Weeks], None]


def set_to(**values: object) -> Change:
    """The first model is so from now on."""

    def change(weeks: Weeks) -> None:
        weeks.keep("sound")
        for name, value in values.items():
            setattr(weeks.models["lead"], name, value)

    return change


STORIES: dict[str, Change] = {
    "a quarter of the questions unlearned": set_to(lost=0.25),
    "a tenth of the questions unlearned": set_to(lost=0.10),
    "half as slow again": set_to(slower=1.5),
    "a fifth fewer tokens": set_to(tokens=0.8),
    "a fifth more tokens, and dearer": set_to(tokens=1.2),
    "fewer bits, the words as before": set_to(leans=0.2),
    "other first words, as good": set_to(border=0.7, leans=0.5),
    "a new version, as good": set_to(version="large-2"),
    "a new version, a quarter unlearned": set_to(version="large-2", lost=0.25),
    "nothing": set_to(),
}


def played(name: str, seed: int, days: float) -> str:
    """One line of the table."""
    weeks = Weeks(seed, ("lead", "spare")).play((24 * days, STORIES[name]), (24, lambda weeks: None))
    before = len(weeks.kept["sound"].told)
    began = 24 * days
    news = [(hours, i) for hours, i in weeks.incidents if hours >= began and i.opened_at]
    first = next((hours - began for hours, i in news if i.status == "open"), None)
    told = "; ".join(weeks.told[before:]) or "-"
    hold = weeks.health("lead").hold
    false = before + sum("spare" in subject for subject in weeks.told[before:])
    noticed = f"{first:.1f} h" if first is not None else "-"
    return f"{name:38}{seed:>5}{noticed:>9}{false:>7}  {hold.state if hold else '-':12}{told}"


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="stories of each kind (1)")
    parser.add_argument("--days", type=float, default=2.0, help="sound days before the change (2)")
    options = parser.parse_args()
    say(f"{'what changed':38}{'seed':>5}{'told after':>9}{'false':>7}  {'hold':12}what was told in the day after")
    for name in STORIES:
        for seed in range(1, options.seeds + 1):
            say(played(name, seed, options.days))


if __name__ == "__main__":
    main()
