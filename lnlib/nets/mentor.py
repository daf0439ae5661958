"""MentorNet's network: the weight of an example from its loss, its label and how far training has come.

Jiang et al. (2018) and their public code. That the LSTM reads the two numbers as two steps is our reading.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

PERCENTS = 100


class LSTM(nn.Module):
    """One direction of an LSTM with one hidden unit; unlike PyTorch's it works inside `torch.vmap`."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.hidden = nn.Linear(1, 4), nn.Linear(1, 4, bias=False)

    def forward(self, sequence: Float[Tensor, "batch steps"]) -> Float[Tensor, "batch 1"]:
        """The hidden state after the last step: (B, steps) to (B, 1)."""
        state = cell = torch.zeros_like(sequence[:, :1])
        for value in sequence.T:
            gates = self.inputs(value[:, None]) + self.hidden(state)
            enter, forget, content, leave = torch.tensor_split(gates, 4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(content)
            state = torch.sigmoid(leave) * torch.tanh(cell)
        return state


class Mentor(nn.Module):
    """A bidirectional LSTM over (loss, difference), embeddings of the label (2) and of the percent of
    training done (5, random and never trained), 20 tanh units, and the logit of the weight.
    """

    epochs: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.forwards, self.backwards = LSTM(), LSTM()
        self.label = nn.Embedding(num_classes, 2)
        self.register_buffer("epochs", torch.randn(PERCENTS, 5))
        self.hidden, self.output = nn.Linear(2 + 2 + 5, 20), nn.Linear(20, 1)

    def forward(
        self,
        losses: Float[Tensor, " batch"],
        differences: Float[Tensor, " batch"],
        labels: Int[Tensor, " batch"],
        percents: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Logits (B,) of the weights; `differences` are to the running percentile, `percents` 0 to 99."""
        sequence = torch.stack([losses, differences], dim=1)
        read = [self.forwards(sequence), self.backwards(sequence.flip(1))]
        features = torch.cat([*read, self.label(labels), self.epochs[percents]], dim=1)
        logits: Tensor = self.output(torch.tanh(self.hidden(features)))[:, 0]
        return logits
