"""Pictures; they need matplotlib, the extra ``skae[plot]``."""
