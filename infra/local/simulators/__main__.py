"""Runs one simulated provider in the foreground; its first line of output is its base URL."""

import argparse
import signal
import threading
from collections.abc import Sequence

from infra.local.simulators.faults import FAULTS
from infra.local.simulators.provider import WIRES, SimulatedProvider


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    faults = "\n".join(f"  {name:<18} {description}" for name, description in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.simulators",
        description=__doc__,
        epilog=f"faults:\n{faults}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--wire", choices=sorted(WIRES), required=True)
    parser.add_argument("--port", type=int, default=0, help="0 (the default) chooses a free one")
    parser.add_argument("--api-key", default="simulated")
    parser.add_argument("--token-delay", type=float, default=0.01, help="seconds between tokens")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="MODEL=FAULT",
        help="break a model; `*` is every model",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    provider = SimulatedProvider(
        options.wire, port=options.port, api_key=options.api_key, token_delay=options.token_delay
    )
    for pair in options.fault:
        # A model name may contain an equals sign, a fault's name does not.
        model, _, fault = pair.rpartition("=")
        try:
            provider.set_fault(model, fault)
        except ValueError as error:
            raise SystemExit(str(error)) from None
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    provider.start()
    print(provider.base_url, flush=True)
    ended.wait()
    provider.stop()


if __name__ == "__main__":
    main()
