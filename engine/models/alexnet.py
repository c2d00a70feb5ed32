"""AlexNet (Krizhevsky 2014, the one-column form) in torchvision's key layout, thin enough for tests."""

from torch import Tensor, nn

from engine.models.weights import load_weights


class AlexNet(nn.Module):
    """forward(x) -> logits [B, classes]. At width 64 these are the published channel counts; the images must
    be at least 63 pixels wide and high, or its poolings leave nothing."""

    def __init__(
        self, inputs: int, classes: int, width: int = 64, dropout: float = 0.5, weights: str = "none"
    ) -> None:
        super().__init__()
        hidden = 64 * width
        self.features = _features(inputs, (width, 3 * width, 6 * width, 4 * width, 4 * width))
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(4 * width * 36, hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, classes),
        )  # fmt: skip
        load_weights(self, weights, "alexnet", head=("classifier.6.",))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _features(inputs: int, channels: tuple[int, int, int, int, int]) -> nn.Sequential:
    a, b, c, d, e = channels
    return nn.Sequential(
        nn.Conv2d(inputs, a, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
        nn.Conv2d(d, e, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
