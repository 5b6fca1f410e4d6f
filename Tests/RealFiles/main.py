"""Takes the databases of real programs through backups and a restore, and lets the programs use what came
back. Ends with a line `N passed, N failed`."""
import argparse
import os
import shutil
import sys
import tempfile

import exports
import geodata
import history
import libraries
import versions
from chain import Chain

PROGRAMS = [program for module in (versions, libraries, geodata, history, exports) for program in module.PROGRAMS]


class Report:
    """Counts checks; a failure is a line, at once."""

    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, program, what, error):
        self.passed += error is None
        self.failed += error is not None
        print(f"{'ok  ' if error is None else 'FAIL'} {program}: {what}" + (f": {' '.join(error.split())[:2000]}" if error else ""), flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="Tests/RealFiles/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PROGRAM", help="of these: " + ", ".join(p.name for p in PROGRAMS))
    parser.add_argument("--ydbfs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="only the programs that install in seconds")
    parser.add_argument("--keep", action="store_true", help="leave the files of all programs in their folder")
    return parser.parse_args()


def main():
    options = arguments()
    unknown = set(options.names) - {program.name for program in PROGRAMS}
    if unknown:
        sys.exit(f"no such program: {', '.join(unknown)}; there are {', '.join(p.name for p in PROGRAMS)}")
    report = Report()
    folder = tempfile.mkdtemp(prefix="ydbfs-real-files-")
    try:
        for kind in PROGRAMS:
            if (options.names and kind.name not in options.names) or (options.quick and not kind.quick):
                continue
            place = os.path.join(folder, kind.name.replace(" ", "-"))
            os.makedirs(place)
            Chain(kind(place), os.path.abspath(options.ydbfs), report).go()
    finally:
        if options.keep:
            print(f"files: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{report.passed} passed, {report.failed} failed")
    sys.exit(report.failed > 0)


if __name__ == "__main__":
    main()
