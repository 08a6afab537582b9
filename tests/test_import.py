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

FITS = """
import sys
from sklearn.datasets import load_iris
from skae import AutoencoderTransformer, ContrastiveAutoencoder, MaskedImputer
from skae.text import MaskedLanguageModel, TextAutoencoder
X, few = load_iris().data, {"max_iter": 2, "random_state": 0}
texts = ["two words", "three other words"] * 10
AutoencoderTransformer(2, **few).fit(X).partial_fit(X).transform(X)
ContrastiveAutoencoder(1, **few).fit(X[:, :2], X[:, 2:])
MaskedImputer(**few).fit(X)
MaskedLanguageModel(2, **few).fit(texts)
TextAutoencoder(1, **few).fit(texts)
print("torch._dynamo" in sys.modules)
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


def test_a_fit_does_not_import_the_compiler_of_torch():
    """That takes longer than the fit."""
    done = subprocess.run(
        [sys.executable, "-c", FITS], check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
