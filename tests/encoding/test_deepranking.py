"""The anchor network has the layers of the Keras network and answers at the sizes it is trained at."""

from __future__ import annotations

import torch

from image_similarity.encoding.networks.deepranking import DeepRankingNet


def test_it_has_as_many_weights_as_the_keras_network() -> None:
    with torch.device("meta"):
        network = DeepRankingNet()
    head = sum(weight.numel() for weight in network.scene_head.parameters())
    # Dense layers, convolutions and biases of the Keras network, counted in its published form.
    assert sum(weight.numel() for weight in network.parameters()) - head == 62_998_528


def test_gradients_reach_all_three_paths() -> None:
    torch.manual_seed(1)
    network = DeepRankingNet(dim=8, scenes=3)
    embedding, logits = network(torch.rand(2, 3, 64, 64))
    assert torch.allclose(embedding.norm(dim=1), torch.ones(2), atol=1e-5)
    (embedding[:, 0].sum() + logits[:, 0].sum()).backward()
    for part in (network.convolutions[0], network.hidden[0], network.coarse, network.coarser):
        assert part.weight.grad is not None and float(part.weight.grad.abs().max()) > 0
