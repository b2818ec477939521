"""Let `python -m cropper` be the command `crop`."""

import sys

from cropper.cli import main

sys.exit(main())
