"""Regenerate every figure of this folder and its gallery: python figures/regenerate.py [options].

The same as `sdesim figure all --out figures`.
"""

import sys
from pathlib import Path

from sdesim.cli import main

if __name__ == "__main__":
    sys.exit(main(["figure", "all", "--out", str(Path(__file__).parent), *sys.argv[1:]]))
