"""A sample of the bad and odd inputs that `hostile.py` makes."""

from hostile import run


def test_bad_inputs_are_named_and_odd_ones_agree():
    assert not run(sample=100, seed=0)
