"""Make the table importable, and the process one that every test can rely on."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # before anything imports scipy
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run on all cores as it is
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise, which a job started in the background inherits as ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
