"""A module that keeps whoever imports it from ever being ready, if the environment says so."""

import os
import sys
import time

if "UNREADY" in os.environ:
    if os.environ["UNREADY"] == "sleep":
        time.sleep(60)
    sys.exit(3)
