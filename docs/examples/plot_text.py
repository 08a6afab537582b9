"""
Language models that start at counts beat them
==============================================

Small corpora are the home of n-grams. These models start at n-grams, and let a network
say something where held-out texts are likelier with it.
"""

# %%
# Docstrings
# ----------
# The first sentences of docstrings of Python's standard library.

import ast
import sysconfig
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split

from skae.architectures import Transformer
from skae.text import CausalLanguageModel, MaskedLanguageModel


def docstrings(folder):
    """Return short docstrings of the modules in a folder."""
    kinds, found = (ast.FunctionDef, ast.ClassDef), set()
    for path in sorted(Path(folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(errors="ignore"))):
            text = ast.get_docstring(node) if isinstance(node, kinds) else None
            found.add(" ".join((text or "").split("\n\n")[0].split()))
    return sorted(text for text in found if 0 < len(text) < 80)


train, test = train_test_split(docstrings(sysconfig.get_path("stdlib")), random_state=0)
print(len(train), "docstrings to fit on, such as:")
print(*train[:3], sep="\n")

# %%
# What follows
# ------------
# With ``max_iter=0`` the model is Kneser-Ney's n-grams. A small Transformer is mixed
# with them. The curve is the likelihood of held-out texts by epoch; epoch 0 is the
# start.

options = {"architecture": Transformer(n_layers=1, embed_dim=64), "random_state": 0}
models = {
    "n-grams": CausalLanguageModel(max_iter=0).fit(train),
    "with a Transformer": CausalLanguageModel(max_iter=15, **options).fit(train),
}
for name, model in models.items():
    print(f"{name}: perplexity of a new docstring {model.perplexity(test):.1f}")
    for text in model.sample(3, prompt="Return", temperature=0.7, random_state=3):
        print("   ", text)

fig, ax = plt.subplots(figsize=(5, 2.8), layout="constrained")
ax.plot(models["with a Transformer"].validation_scores_, "o-")
ax.set(xlabel="epoch", ylabel="nats per token", title="held-out docstrings")
plt.show()

# %%
# Limits
# ------
# It is no language model of the world: it knows these few texts. A masked model, here
# its start alone, knows what is common in them and no more.

filler = MaskedLanguageModel(max_iter=0, random_state=0).fit(train)
gaps = ["return <mask> if the object is a module.", "close the <mask> file."]
for text, (filled,) in zip(gaps, filler.fill_mask(gaps, top_k=4)):
    print(f"{text:42s}", ", ".join(f"{word} {share:.2f}" for word, share in filled))
