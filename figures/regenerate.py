"""Regenerate every figure of this folder: python figures/regenerate.py [options of `sdesim figure`]."""

import sys
from pathlib import Path

from sdesim.cli import main
from sdesim.experiments import EXPERIMENTS

if __name__ == "__main__":
    here = str(Path(__file__).parent)
    sys.exit(max([main(["figure", name, "--out", here, *sys.argv[1:]]) for name in EXPERIMENTS]))
