"""Pictures of fitted estimators; they need matplotlib, the extra ``skae[plot]``.

They follow scikit-learn's displays: ``from_estimator`` computes and draws, the data are
attributes, and ``plot`` draws them again.
"""

from ._anomaly import AnomalyDisplay
from ._components import ComponentsDisplay
from ._latent_space import LatentSpaceDisplay
from ._loss_curve import LossCurveDisplay
from ._manifold import ManifoldDisplay
from ._reconstruction import ReconstructionDisplay

__all__ = [
    "AnomalyDisplay",
    "ComponentsDisplay",
    "LatentSpaceDisplay",
    "LossCurveDisplay",
    "ManifoldDisplay",
    "ReconstructionDisplay",
]
