"""``py.typed``: a user's program under ``mypy --strict``, as skae is installed."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

import skae
import skae.architectures
import skae.exceptions
import skae.plotting
import skae.text

PROGRAMS = Path(__file__).parent / "typed"
# scikit-learn and skorch ship no types. Torch does, which take mypy 10 s to read.
SETTINGS = """\
[mypy]
strict = True
[mypy-sklearn.*,skorch.*]
ignore_missing_imports = True
[mypy-torch.*]
follow_imports = skip
"""


def test_a_program_of_all_that_is_public_has_the_types_that_it_needs(tmp_path):
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    programs = [str(PROGRAMS / name) for name in ("program.py", "mistakes.py")]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", *programs],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(skae.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_program_has_it_all_and_runs(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)
    import program

    plt.switch_backend("Agg")
    public = skae, skae.architectures, skae.exceptions, skae.plotting, skae.text
    for module in public:
        for name in module.__all__:
            assert getattr(program, name) is getattr(module, name)
    program.main()
    plt.close("all")
