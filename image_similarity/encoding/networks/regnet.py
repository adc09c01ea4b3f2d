"""RegNetX-400MF, the trunk of the built-in model, in plain torch.

Radosavovic et al., "Designing network design spaces" (CVPR 2020), table 8. Layers, their names and
their initial weights are torchvision's, so weights go back and forth; a test compares the two. Its
own copy is here because importing torchvision takes longer than answering a query.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn

_STEM_WIDTH = 32
_WIDTHS = (32, 64, 160, 400)
_DEPTHS = (1, 2, 7, 12)
_GROUP_WIDTH = 16


def regnet_x_400mf() -> tuple[nn.Sequential, int]:
    """Return the convolutional part with random weights, and the number of channels it gives.

    It takes (N, 3, S, S) and gives (N, 400, S/32, S/32), rounded up.
    """
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    width = _STEM_WIDTH
    for number, (wanted, depth) in enumerate(zip(_WIDTHS, _DEPTHS, strict=True), start=1):
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for place in range(depth):
            stride = 2 if place == 0 else 1
            blocks[f"block{number}-{place}"] = _Block(width, wanted, stride)
            width = wanted
        stages[f"block{number}"] = nn.Sequential(blocks)
    stem = _layer(3, _STEM_WIDTH, kernel=3, stride=2)
    trunk = nn.Sequential(stem, nn.Sequential(stages))
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            nn.init.normal_(layer.weight, mean=0.0, std=math.sqrt(2.0 / fan_out))
    return trunk, width


class _Block(nn.Module):
    """A residual bottleneck: 1x1, grouped 3x3, 1x1, added to its input or a projection of it."""

    def __init__(self, width: int, wanted: int, stride: int) -> None:
        super().__init__()
        self.proj = None
        if stride != 1 or width != wanted:
            self.proj = _layer(width, wanted, kernel=1, stride=stride, active=False)
        groups = wanted // _GROUP_WIDTH
        self.f = nn.Sequential(
            OrderedDict(
                a=_layer(width, wanted, kernel=1),
                b=_layer(wanted, wanted, kernel=3, stride=stride, groups=groups),
                c=_layer(wanted, wanted, kernel=1, active=False),
            )
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, wanted, H / stride, W / stride) of (N, width, H, W)."""
        kept = values if self.proj is None else self.proj(values)
        result: Tensor = self.activation(kept + self.f(values))
        return result


def _layer(
    width: int, wanted: int, *, kernel: int, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Return convolution, normalisation and, unless told not to, ReLU."""
    parts: list[nn.Module] = [
        nn.Conv2d(width, wanted, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(wanted),
    ]
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if active else []))
