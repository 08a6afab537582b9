"""
Models of texts that start at counts
====================================

What the standard library of Python says of itself: docstrings, one for each function
and class. A language model that starts at n-grams, one that fills gaps, and a map of
modules.
"""

# %%
# Docstrings
# ----------
# The first paragraph of each, as a list of strings, and the module it is from.

import ast
import sysconfig
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from skae.architectures import Transformer
from skae.text import CausalLanguageModel, MaskedLanguageModel, TextAutoencoder


def docstrings():
    """Return the docstrings of the standard library, and their modules."""
    texts, modules = [], []
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        module = path.relative_to(sysconfig.get_path("stdlib")).parts[0]
        if module in ("site-packages", "test", "idlelib", "lib2to3"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8", errors="ignore"))
        kinds = ast.FunctionDef, ast.ClassDef
        for node in ast.walk(tree):
            text = ast.get_docstring(node) if isinstance(node, kinds) else None
            if text:
                texts.append(" ".join(text.split("\n\n")[0].split()))
                modules.append(module.removesuffix(".py"))
    return texts, modules


texts, modules = docstrings()
short = sorted({text for text in texts if len(text) < 80})
train, test = train_test_split(short, random_state=0)
print(len(texts), "docstrings,", len(train), "short ones to fit on, such as:")
print(*train[:3], sep="\n")

# %%
# What follows
# ------------
# With ``max_iter=0`` the model is Kneser-Ney's n-grams. A small Transformer is mixed
# with them, and in half a minute on a core new docstrings are more likely by some
# hundredths of a nat per word.

network = Transformer(n_layers=1, embed_dim=64)
models = {
    "n-grams": CausalLanguageModel(max_iter=0),
    "with a Transformer": CausalLanguageModel(
        architecture=network, max_iter=8, random_state=0
    ),
}
for name, model in models.items():
    model.fit(train)
    print(f"{name}: perplexity of a new docstring {model.perplexity(test):.1f}")
    for text in model.sample(4, prompt="Return", temperature=0.7, random_state=3):
        print("   ", text)

# %%
# Learning curves: the likelihood of held-out texts for each epoch, where epoch 0 is
# the start.

fitted = models["with a Transformer"]
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(fitted.validation_scores_, marker="o")
axes.axhline(fitted.validation_scores_[0], color="0.7", linestyle=":")
axes.set_xlabel("epoch")
axes.set_ylabel("nats per token")
axes.set_title("Held-out docstrings")

# %%
# What is missing
# ---------------
# A masked model predicts a token from those on both sides. This one is its start alone,
# n-grams that read in several directions, so that the page is quick.

filler = MaskedLanguageModel(max_iter=0, random_state=0).fit(train)
gaps = ["return <mask> if the object is a module.", "close the <mask> file."]
for text, (filled,) in zip(gaps, filler.fill_mask(gaps, top_k=4), strict=True):
    words = ", ".join(f"{word} {share:.2f}" for word, share in filled)
    print(f"{text:45s} {words}")

# %%
# Which text goes with which
# --------------------------
# Two codes of each docstring, and their mean over each module. Modules about similar
# things come near one another, and the axes are those of the tokens that differ.

coder = TextAutoencoder(2, min_df=3, max_iter=5, random_state=0).fit(texts)
codes = coder.transform(texts)
names, of = np.unique(modules, return_inverse=True)
sizes = np.bincount(of)
figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
axes.axhline(0, color="0.9", zorder=0)
axes.axvline(0, color="0.9", zorder=0)
for i in np.argsort(-sizes)[:24]:
    x, y = codes[of == i].mean(0)
    axes.scatter(x, y, s=sizes[i] / 4, alpha=0.4, color="tab:blue")
    axes.annotate(names[i], (x, y), fontsize=8, ha="center")
axes.set_xscale("asinh", linear_width=0.03)  # most are near the middle
axes.set_yscale("asinh", linear_width=0.03)
axes.set_xlabel("first code")
axes.set_ylabel("second code")
axes.set_title("Modules of the standard library by what their docstrings say")
plt.show()
