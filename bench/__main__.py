"""Compares netmon with similar tools in a guest; writes tables, a plot and the measurements."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import cidrs, native, plot, report, rules
from bench.byte_counts import COUNTERS
from bench.host import GuestDiedError, Result, run_in_guest
from bench.monitors import COUNTED as COUNTED_MONITORS
from bench.monitors import names_for
from bench.plan import BYTE_COUNTS, COUNTED, DEFAULT, LONG, QUICK, RULES, Plan
from vm.architecture import X86_64
from vm.archive import KERNELS
from vm.image import BUILD, PROJECT

RESULTS = PROJECT / "bench/results"
UNFINISHED = BUILD / "bench"
# Benchmarks that run on this host, with options of their own.
ALONE = {"--native": native.main, "--cidrs-native": cidrs.main, "--rules-native": rules.main}
BESIDE_RULES = ("netmon", "netmon-reject")  # without rules
REPORTS = {
    "long": report.long_run,
    "rules": report.rules,
    "instructions": report.instructions,
    "bytes": report.byte_counts,
    "guest": report.comparison,
}
SIZES = ("rounds", "connections", "processes", "idle", "flood")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build.py bench", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--native", action="store_true", help="run the benchmark of the Python half, with the arguments that follow"
    )
    parser.add_argument("--cidrs-native", action="store_true", help="likewise, for that of long lists of CIDRs")
    parser.add_argument("--rules-native", action="store_true", help="likewise, for that of rules")
    kernels = tuple(name for name, line in KERNELS.items() if line.architecture == X86_64)
    parser.add_argument("--kernel", choices=kernels, default="6.12")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="one round of small loads")
    kind.add_argument("--bytes", action="store_true", help="compare how many bytes netmon and other monitors count")
    kind.add_argument("--long", action="store_true", help="netmon only: floods, then a busy day with reloads")
    kind.add_argument(
        "--instructions", action="store_true", help="count instructions: each option of netmon, and other monitors"
    )
    kind.add_argument(
        "--rules", action="store_true", help="likewise, of netmon with rules that want nothing of the load"
    )
    parser.add_argument("--only", metavar="NAMES", help="monitors, separated by commas; and CIDRs only if given")
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"default {getattr(DEFAULT, name):,}")
    parser.add_argument("--cidrs", metavar="N,N...", help="sizes of netmon's filters; empty: none")
    parser.add_argument("--output", type=Path, help="directory (default: bench/results; of a run in part, build/bench)")
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the plan that the options describe. Raises ValueError if there is no monitor of a name."""
    chosen = {"long": LONG, "quick": QUICK, "instructions": COUNTED, "bytes": BYTE_COUNTS, "rules": RULES}
    plan = next((plan for name, plan in chosen.items() if getattr(options, name)), DEFAULT)
    known = names_for(options.kernel)
    if plan.counted or plan.byte_counts:
        known = tuple(COUNTED_MONITORS if plan.counted else COUNTERS)
    monitors = tuple(options.only.split(",")) if options.only else BESIDE_RULES if plan.rules else known
    if unknown := set(monitors) - set(known):
        raise ValueError(f"not on {options.kernel}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    changes = {name: getattr(options, name) for name in SIZES if getattr(options, name) is not None}
    if options.cidrs is not None:
        changes["cidrs"] = tuple(map(int, filter(None, options.cidrs.split(","))))
    elif options.only and not plan.rules:
        changes["cidrs"] = ()
    return dataclasses.replace(plan, kernel=options.kernel, monitors=monitors, **changes)


def write(result: Result, directory: Path) -> None:
    """Write a run's results, and print its table."""
    directory.mkdir(parents=True, exist_ok=True)
    plan = result["plan"]
    kinds = {"flood": "long", "rules": "rules", "counted": "instructions", "byte_counts": "bytes"}
    kind = next((kind for key, kind in kinds.items() if plan[key]), "guest")
    name = f"{kind}-{result['kernel']}"
    text = REPORTS[kind](result)
    (directory / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (directory / f"{name}.md").write_text(text)
    if draw := {"guest": plot.svg, "bytes": plot.bytes_svg, "instructions": plot.instructions_svg}.get(kind):
        (directory / f"{name}.svg").write_text(draw(result))
    print(text)
    print(f"bench: written to {directory}/{name}.*", file=sys.stderr)


def main() -> int:
    """Run the benchmark that the arguments describe."""
    if sys.argv[1:2] and (alone := ALONE.get(sys.argv[1])):
        alone(sys.argv[2:])
        return 0
    options = parse(sys.argv[1:])
    try:
        plan = plan_of(options)
        result = run_in_guest(plan)
    except (GuestDiedError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    whole = not (options.quick or options.only)
    write(result, options.output or (RESULTS if whole else UNFINISHED))
    return 0


if __name__ == "__main__":
    sys.exit(main())
