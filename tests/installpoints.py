"""A program that installs parts of bundles: what the crash tests of the far side run and kill.

    python installpoints.py ROOT PART...

It changes the working directory just before and just after, which marks the window in a trace. Exit codes are
repobuild's.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import transfers

from repobuild.errors import RepobuildError


def main(arguments: list[str]) -> int:
    root, *parts = map(Path, arguments)
    os.umask(0o022)
    os.chdir("/")
    try:
        for done in transfers.receive(root, *parts):
            if done.problem is not None:
                raise done.problem
    except RepobuildError as error:
        sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
        return error.exit_code
    finally:
        os.chdir("/")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
