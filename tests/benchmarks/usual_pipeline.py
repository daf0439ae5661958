"""The pipeline that most code uses, to compare with: torchvision data set, PIL transforms, DataLoader with
workers, plain loop.
"""

import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from lnlib.data.sources import data_root
from lnlib.data.task import Task
from lnlib.nets import CNN

BATCH, WORKERS = 256, 2


def loader(task: Task) -> DataLoader:
    """The training images of a task with their given labels, read as usual: one PIL image at a time."""
    mean, std = task.dataset.mean, task.dataset.std
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    dataset = datasets.MNIST(data_root(), train=True, transform=transform)
    dataset.targets = dataset.targets.clone()
    dataset.targets[task.train.index] = task.train.labels
    rows = task.train.index.tolist()
    return DataLoader(
        Subset(dataset, rows), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )


def usual_net(role: str) -> nn.Module:
    """The CNN as most code writes it: ReLU layers that make a new tensor."""
    net = CNN().build((1, 28, 28), 10, role)
    for layer in net.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return net


class UsualRun:
    """Cross-entropy or LIMIT (Laplace, β = 10) as a plain loop over the loader."""

    def __init__(self, task: Task, method: str) -> None:
        torch.manual_seed(0)
        self.loader, self.method = loader(task), method
        self.classifier = usual_net("classifier")
        self.predictor = usual_net("predictor") if method == "limit" else None
        parameters = [*self.classifier.parameters()]
        if self.predictor is not None:
            parameters += self.predictor.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3)

    def epoch(self) -> float:
        """Train one epoch; the seconds it took."""
        self.classifier.train()
        began = time.perf_counter()
        for x, y in self.loader:
            self.optimizer.zero_grad()
            a = self.classifier(x)[0]
            if self.predictor is None:
                loss = F.cross_entropy(a, y)
            else:
                s = a.detach().softmax(1)
                mu = s - self.predictor(x)[0].softmax(1)
                g = s - F.one_hot(y, 10)
                loss = (
                    (a * mu.detach()).sum(1).mean()
                    + (mu - g).abs().sum(1).mean()
                    + 10 * mu.pow(2).sum(1).mean()
                )
            loss.backward()
            self.optimizer.step()
            loss.item()
        return time.perf_counter() - began

    @torch.no_grad()
    def test_accuracy(self, task: Task) -> float:
        """Accuracy on the clean test set."""
        self.classifier.eval()
        images = task.dataset.normalize(task.dataset.test_images)[task.test.index]
        predicted = torch.cat([self.classifier(part)[0].argmax(1) for part in images.split(2048)])
        return (predicted == task.test.labels).double().mean().item()
