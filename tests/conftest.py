"""Make the table importable, and let scikit-learn run its array API check."""

import os
import sys
from pathlib import Path

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # before anything imports scipy
sys.path.insert(0, str(Path(__file__).parent))
