"""What the probabilities of first tokens add to the tokens: the same made-up models seen by both, side by side.

Run from the repository's root: `python -m tests.benchmarks.drift_probes [--streams N] [--seed S]`.  A row for each
change: the share of streams in which it was found within 30 times each prompt, and the mean delay in batches, by the
tokens, by their probabilities, and by whichever was first.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping

from tests.benchmarks.detection import LENGTH, NOW
from tests.benchmarks.first_logprobs import Kind, another, drift, moved, quiet
from tests.benchmarks.streams import Make, Scenario, streams
from understudy.services.replay import alarms

CHANGES: Mapping[str, Callable[[Kind], Make]] = {
    "another model": lambda kind: drift(kind, another),
    "another model, 30% of calls": lambda kind: drift(kind, another, 0.3),
    "another model, 3 prompts a run": lambda kind: drift(kind, another, few=3),
    "another model, 30%, 3 a run": lambda kind: drift(kind, another, 0.3, few=3),
    "fewer bits (0.3)": lambda kind: drift(kind, moved(0.3)),
    "fewer bits, 30% of calls": lambda kind: drift(kind, moved(0.3), 0.3),
    "the same, little noise": lambda kind: drift(kind, moved(0.3), 0.3, quiet),
    "fewer bits, 3 prompts a run": lambda kind: drift(kind, moved(0.3), few=3),
    "a step of training (0.15)": lambda kind: drift(kind, moved(0.15)),
    "a small step (0.05)": lambda kind: drift(kind, moved(0.05)),
}
KINDS: tuple[Kind, ...] = ("fingerprint", "logprob")


def delays(make: Make, name: str, number: int, seed: int, length: float) -> list[int | None]:
    """Of each stream the batches up to the first alarm after the change, the change's own as the first; None where
    there was none.  Streams of the same name, seed and place are of the same model."""
    found: list[int | None] = []
    for stream in streams(Scenario(name, make), number, seed):
        changed = stream.changed or 0
        seqs = [one["seq"] for one in alarms(stream.observations, now=NOW, in_control_length=length)]
        after = [seq for seq in seqs if seq >= changed]
        rows = stream.observations[changed : min(after) + 1] if after else []
        found.append(len({row["run"] for row in rows}) or None)
    return found


def cell(found: list[int | None]) -> str:
    known = [one for one in found if one is not None]
    mean = f"{statistics.fmean(known):.1f}" if known else "-"
    return f"{100 * len(known) / len(found):8.0f} %{mean:>6}"


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=20, help="of each change (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-control-length", type=float, default=LENGTH, help="(10000)")
    options = parser.parse_args()
    say(f"{'change':32}{'tokens':>16}{'probabilities':>16}{'either':>16}")
    for name, make in CHANGES.items():
        both = [delays(make(k), name, options.streams, options.seed, options.in_control_length) for k in KINDS]
        either = [min((one for one in pair if one is not None), default=None) for pair in zip(*both, strict=True)]
        say(f"{name:32}" + "".join(cell(found) for found in (*both, either)))


if __name__ == "__main__":
    main()
