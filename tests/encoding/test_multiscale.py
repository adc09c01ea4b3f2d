"""The multiscale network keeps its promises about inputs, outputs and low-resolution paths."""

from __future__ import annotations

import io

import pytest
import torch

from image_similarity.encoding.networks.multiscale import (
    TRUNKS,
    MultiscaleNet,
    ShallowPath,
    _pool_to_cells,
)
from image_similarity.encoding.torchvision_import import import_torchvision


@pytest.fixture(scope="module")
def network() -> MultiscaleNet:
    torch.manual_seed(1)
    return MultiscaleNet(dim=32, scenes=7).eval()


@pytest.mark.parametrize("size", [64, 96, 128, 160])
def test_outputs_are_unit_embeddings_and_logits_at_every_size(
    network: MultiscaleNet, size: int
) -> None:
    with torch.inference_mode():
        embedding, logits = network(torch.randn(2, 3, size, size))
    assert embedding.shape == (2, 32) and embedding.dtype == torch.float32
    assert torch.allclose(embedding.norm(dim=1), torch.ones(2), atol=1e-5)
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("factor", [4, 8])
def test_the_low_resolution_paths_see_the_mean_of_every_area(factor: int) -> None:
    pictures = torch.rand(1, 3, 64, 64)
    shrunk = ShallowPath(factor, 4).shrink(pictures)
    blocks = pictures.unfold(2, factor, factor).unfold(3, factor, factor)
    assert torch.allclose(shrunk, blocks.mean(dim=(4, 5)), atol=1e-6)


def test_every_pixel_reaches_the_low_resolution_paths() -> None:
    for factor in (4, 8):
        torch.manual_seed(2)
        path = ShallowPath(factor, 64)
        pictures = torch.rand(1, 3, 128, 128, requires_grad=True)
        shrunk = path.shrink(pictures)
        torch.relu(path.convolution(shrunk)).sum().backward()
        assert pictures.grad is not None
        assert (pictures.grad.abs().sum(dim=1) > 0).float().mean() > 0.99


def test_a_fine_chequerboard_is_grey_to_the_low_resolution_paths() -> None:
    across, down = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    board = ((across + down) % 2).float().expand(1, 3, 128, 128)
    grey = torch.full((1, 3, 128, 128), 0.5)
    path = ShallowPath(8, 16)
    assert torch.allclose(path(board), path(grey), atol=1e-5)


@pytest.mark.parametrize("side", [2, 3, 4, 6, 8, 10])
def test_cells_are_those_of_adaptive_max_pooling(side: int) -> None:
    values = torch.randn(2, 5, side, side)
    pooled = _pool_to_cells(_pool_to_cells(values, dim=2), dim=3)
    assert torch.equal(pooled, torch.nn.functional.adaptive_max_pool2d(values, 4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", [6, 7, 12])
def test_an_exported_graph_pools_the_same_cells(side: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")

    class Pool(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return _pool_to_cells(_pool_to_cells(values, dim=2), dim=3)

    values, model = torch.rand(2, 3, side, side), io.BytesIO()
    torch.onnx.export(Pool().eval(), (values,), model, input_names=["values"], dynamo=False)
    session = runtime.InferenceSession(model.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"values": values.numpy()})
    assert torch.equal(torch.from_numpy(found), Pool()(values))


def test_a_network_is_rebuilt_from_its_config(network: MultiscaleNet) -> None:
    twin = MultiscaleNet(**network.config)  # type: ignore[arg-type]
    twin.load_state_dict(network.state_dict())
    pictures = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for one, two in zip(network(pictures), twin.eval()(pictures), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("trunk", sorted(TRUNKS))
def test_every_known_trunk_can_be_built(trunk: str) -> None:
    network = MultiscaleNet(trunk, dim=16, scenes=3, shallow_channels=4).eval()
    with torch.inference_mode():
        embedding, _ = network(torch.randn(1, 3, 64, 64))
    assert embedding.shape == (1, 16)


def test_an_unknown_trunk_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown trunk 'vgg'"):
        MultiscaleNet("vgg")


def test_the_default_network_fits_the_package_in_half_precision() -> None:
    weights = sum(weight.numel() for weight in MultiscaleNet().parameters())
    assert 2 * weights < 12_000_000


def test_importing_torchvision_twice_gives_one_module() -> None:
    assert import_torchvision() is import_torchvision()
