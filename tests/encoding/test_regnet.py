"""The built-in model's trunk is torchvision's, layer by layer, without torchvision."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from image_similarity.encoding.networks.regnet import regnet_x_400mf
from image_similarity.encoding.torchvision_import import import_torchvision


def test_names_weights_and_outputs_are_those_of_torchvision() -> None:
    torch.manual_seed(1)
    trunk, width = regnet_x_400mf()
    theirs = import_torchvision().models.regnet_x_400mf(weights=None)
    other = nn.Sequential(theirs.stem, theirs.trunk_output)
    # load_state_dict is strict: every name and every shape must agree.
    other.load_state_dict(trunk.state_dict())
    pictures = torch.rand(2, 3, 96, 96)
    trunk.eval()
    other.eval()
    with torch.inference_mode():
        assert torch.equal(trunk(pictures), other(pictures))
        assert trunk(pictures).shape == (2, width, 3, 3)


def test_initial_weights_are_spread_as_torchvisions() -> None:
    torch.manual_seed(1)
    trunk, _ = regnet_x_400mf()
    theirs = import_torchvision().models.regnet_x_400mf(weights=None)
    other = nn.Sequential(theirs.stem, theirs.trunk_output)
    for (name, mine), (_, wanted) in zip(
        trunk.named_parameters(), other.named_parameters(), strict=True
    ):
        if mine.ndim == 4 and mine.numel() > 10_000:
            assert abs(float(mine.detach().std() / wanted.detach().std()) - 1) < 0.05, name


def test_the_built_in_network_is_built_without_torchvision() -> None:
    code = (
        "import sys; from image_similarity.encoding.networks.multiscale import MultiscaleNet\n"
        "MultiscaleNet(dim=8, scenes=2); sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
