"""``python -m charm_checkpoint`` is ``charm-checkpoint``."""

from __future__ import annotations

import sys

from charm_checkpoint.cli import main

sys.exit(main())
