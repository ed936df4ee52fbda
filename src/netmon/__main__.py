"""python -m netmon."""

import sys

from netmon.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
