"""An estimator as a user would add one: a file that touches nothing else.

The contractive autoencoder (Rifai et al. 2011) is the plain one, and its loss has a
penalty on how much the codes move with the rows: ``|J|^2``, the squared Frobenius norm
of the encoder's Jacobian at each row.
"""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval

from skae._base import BaseAutoencoder
from skae._losses import ReconstructionLoss
from skae._module import BaseModule
from skae._objective import Objective


class ContractiveModule(BaseModule):
    """An autoencoder that also tells how much its codes move with each row."""

    def forward(self, x, known=None):
        with torch.inference_mode(False), torch.enable_grad():
            x = x.clone().requires_grad_()
            z = self.encode(x, None if known is None else known.clone())
            squares = 0.0
            for code in z.sum(0):  # rows do not mix, and so one pass does for all
                (slope,) = torch.autograd.grad(code, x, create_graph=True)
                squares = squares + slope.square().sum(-1)
        return self.decode(z), z, squares


class ContractiveLoss(ReconstructionLoss):
    """The reconstruction error, which alone votes in the gate, and the penalty."""

    def __init__(self, weight):
        super().__init__()
        self.weight = float(weight)

    def forward(self, output, x, known=None):
        terms = super().forward(output, x, known)
        return {**terms, "contraction": self.weight * output[2]}


class Contractive(Objective):
    """Rows are to come back, and codes not to move with what is not in the data."""

    def module(self, encoder, decoder):
        return ContractiveModule(encoder, decoder)

    def loss(self, plan):
        return ContractiveLoss(self.params.contraction)


class ContractiveAutoencoder(BaseAutoencoder):
    """Autoencoder whose codes move little; see AutoencoderTransformer.

    Parameters
    ----------
    contraction : float, default=0.1
        Weight of the penalty, lambda of the paper.
    """

    _objective_class = Contractive

    _parameter_constraints = {  # noqa: RUF012
        **BaseAutoencoder._parameter_constraints,
        "contraction": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components=None,
        *,
        contraction=0.1,
        hidden_layer_sizes="auto",
        activation="relu",
        architecture=None,
        init="pca",
        whiten=False,
        alpha=1e-2,
        batch_size="auto",
        learning_rate_init=1e-2,
        max_iter="auto",
        validation_fraction="auto",
        n_iter_no_change=None,
        tol=1e-4,
        warm_start=False,
        verbose=False,
        random_state=None,
        device="auto",
        callbacks=None,
        net_params=None,
    ):
        self.n_components = n_components
        self.contraction = contraction
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params
