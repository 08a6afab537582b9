"""What `import skae` does, and does not do."""

import subprocess
import sys

OPTIONAL = ("IPython", "matplotlib", "onnx", "onnxscript", "pandas", "polars")
OPTIONAL += ("safetensors", "skl2onnx", "skops", "sphinx", "tokenizers")
CODE = f"""
import sys
import sklearn.decomposition, skorch, torch  # scikit-learn itself imports pandas
before = set(sys.modules)
import skae, skae.architectures, skae.plotting, skae.text
print(sorted(set({OPTIONAL}) & (set(sys.modules) - before)))
"""


def test_no_extra_is_imported():
    command = [sys.executable, "-W", "error", "-c", CODE]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_import_alone_is_silent():
    command = [sys.executable, "-W", "error", "-c", "import skae"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
