"""The process of a run that torchrun starts: launched.py CONFIG [arguments of tools/train.py]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability.child import main

if __name__ == "__main__":
    main(sys.argv[1:])
