"""What `import skae` does, and does not do."""

import subprocess
import sys

import pytest

import skae

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


def test_submodules_are_there_without_an_import_of_their_own():
    code = "import skae; skae.text.KneserNey, skae.architectures.MLP, skae.plotting"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(skae, "nothing")  # noqa: B009
