"""Byte pairs as tokens, by the extra ``tokenizers``."""

from __future__ import annotations

from typing import Any

# Tokens that byte pairs are merged into, at most, unless max_features says so.
N_BYTE_PAIRS = 1000
N_BYTES = 256


class BytePairs:
    """Byte pairs, merged into tokens by the extra ``tokenizers``."""

    def __init__(self, tokenizer: Any, *, lowercase: bool) -> None:
        self.tokenizer = tokenizer
        self.lowercase = lowercase

    @classmethod
    def of(cls, texts: list[str], size: int | None, *, lowercase: bool) -> BytePairs:
        """Find the `size` tokens of texts, 1000 by default.

        Raises
        ------
        ImportError
            Without the extra.
        ValueError
            If there shall be fewer tokens than bytes.
        """
        try:
            from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        except ImportError as error:
            raise ImportError(
                'analyzer="bpe" needs the extra skae[tokenizers]: python -m pip '
                'install "skae[tokenizers]".'
            ) from error
        size = N_BYTE_PAIRS if size is None else int(size)
        if size < N_BYTES:
            raise ValueError(
                f'max_features={size} with analyzer="bpe": each of the {N_BYTES} bytes '
                f"is a token, so use at least {N_BYTES}."
            )
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        given = (text.lower() if lowercase else text for text in texts)
        tokenizer.train_from_iterator(given, trainer)
        return cls(tokenizer, lowercase=lowercase)

    def __getstate__(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer.to_str(), "lowercase": self.lowercase}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(state["tokenizer"])
        self.lowercase = state["lowercase"]

    @property
    def tokens(self) -> list[str]:
        """The tokens, in order."""
        vocabulary = self.tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def __call__(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        return self.tokenizer.encode(text.lower() if self.lowercase else text).tokens

    def join(self, tokens: list[str]) -> str:
        """Return the text of tokens."""
        known = [self.tokenizer.token_to_id(token) for token in tokens]
        return self.tokenizer.decode([number for number in known if number is not None])
