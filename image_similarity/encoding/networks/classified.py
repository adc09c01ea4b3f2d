"""Any network with a softmax over named classes on its embedding: what `train --classes` makes of it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ClassifiedNet(nn.Module):
    """A network, and a linear map of its embedding, brought to length 1, to the logits of classes.

    Args:
        backbone: gives an embedding (N, width), or a pair of it and logits, which are left aside.
        width: length of the embedding.
        classes: how many there are.
    """

    def __init__(self, backbone: nn.Module, *, width: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classes = nn.Linear(width, classes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings (N, width) and logits (N, classes) of (N, 3, H, W)."""
        output = self.backbone(pictures)
        embedding = output[0] if isinstance(output, tuple) else output
        return embedding, self.classes(functional.normalize(embedding.float(), dim=1))
