"""MentorNet's network: the weight of an example from its loss and how far training has come.

Jiang et al. (2018), as their public code has it.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

PERCENTS = 100


class Mentor(nn.Module):
    """A bidirectional LSTM over (loss, difference), an embedding of the percent of training done (5, random
    and never trained), 20 tanh units, and the logit of the weight.

    The code's LSTM reads both numbers in one step and hands on its cell state: one gate times one content in
    either direction, with nothing to forget. The paper also lists the example's label; the code feeds zero
    for every label, whose embedding is one more bias, which is left out here.
    """

    epochs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Linear(2, 4)
        self.register_buffer("epochs", torch.randn(PERCENTS, 5))
        self.hidden, self.output = nn.Linear(2 + 5, 20), nn.Linear(20, 1)

    def forward(
        self,
        losses: Float[Tensor, " batch"],
        differences: Float[Tensor, " batch"],
        percents: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Logits (B,) of the weights; `differences` are to the running percentile, `percents` 0 to 99."""
        gates, contents = self.cells(torch.stack([losses, differences], dim=1)).chunk(2, dim=1)
        states = torch.sigmoid(gates) * torch.tanh(contents)
        features = torch.cat([states, self.epochs[percents]], dim=1)
        logits: Tensor = self.output(torch.tanh(self.hidden(features)))[:, 0]
        return logits
