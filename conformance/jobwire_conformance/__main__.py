"""``python -m jobwire_conformance``."""

import sys

from jobwire_conformance.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
