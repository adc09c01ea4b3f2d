"""Write the graph that ONNX Runtime runs for a model: its network without weights, and its description.

    python scripts/export_graph.py [-m builtin] [-o image_similarity/encoding/weights/builtin.onnx]

To be run when the built-in model gets another architecture, configuration or size; new weights of the
same network go with the graph that is there (a test says whether they do). The network is exported with
random weights, since the exporter joins tensors that are equal, and then every tensor is taken out: what
`image_similarity.encoding.onnx_network` fills in comes from the weights file. Batch normalisation stays in
the graph; ONNX Runtime joins it with the convolutions when it has both. Needs the extra "export".
"""

from __future__ import annotations

import argparse
import io
import warnings
from pathlib import Path
from typing import Any

try:
    import onnx
except ImportError as error:
    raise SystemExit(f'{error}: pip install "image_similarity[export]"') from error

import torch
from torch import Tensor, nn

from image_similarity.encoding import architectures, graph, registry
from image_similarity.encoding.spec import ModelSpec
from image_similarity.whole_file import writing

# Read by ONNX Runtime since 1.14.
OPSET = 17
# The layers whose outputs have a length of the model's own.
OPEN_LAYERS = {"embedding": "dim", "scene_head": "scenes"}


class FromPixels(nn.Module):
    """A network that takes uint8 (N, S, S, 3) and normalises it by scale and shift."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.rand(1, 3, 1, 1))
        self.register_buffer("shift", torch.rand(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Any:
        return self.network(pixels.permute(0, 3, 1, 2).float() * self.scale - self.shift)


def export(spec: ModelSpec) -> tuple[bytes, dict[str, tuple[int | str, ...]]]:
    """Return the graph of a multiscale model without its tensors, and their names and shapes."""
    if not spec.architecture.startswith("multiscale/"):
        raise SystemExit(f"{spec.architecture}: only multiscale networks are exported")
    network = FromPixels(architectures.build(spec)).eval()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    model = onnx.load_from_string(_traced(network, spec.preprocess.size))
    tensors = {
        name: (OPEN_LAYERS.get(name.partition(".")[0], tensor.shape[0]), *tensor.shape[1:])
        for name, tensor in network.network.state_dict().items()
        if tensor.is_floating_point()
    }
    _take_tensors_out(model.graph, tensors)
    return model.SerializeToString(deterministic=True), tensors


def _traced(network: nn.Module, size: int) -> bytes:
    """Return the network as torch exports it, operation by operation, with its tensors."""
    written, any_number = io.BytesIO(), {0: "pictures"}
    with warnings.catch_warnings():
        # This exporter is deprecated, but the new one renames tensors and needs one more package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, size, size, 3, dtype=torch.uint8),),
            written,
            input_names=["pixels"],
            output_names=["embedding", "scenes"],
            dynamic_axes=dict.fromkeys(("pixels", "embedding", "scenes"), any_number),
            # Neither joined nor renamed: the graph shall take the tensors as the file has them.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            opset_version=OPSET,
            dynamo=False,
        )
    return written.getvalue()


def _take_tensors_out(made: Any, tensors: dict[str, tuple[int | str, ...]]) -> None:
    """Make each tensor one that is given: those of open length as inputs, the others before the session is made."""
    for node in made.node:
        node.doc_string = ""
        for place, name in enumerate(node.input):
            node.input[place] = name.removeprefix("network.")
    kept = []
    for tensor in made.initializer:
        tensor.name = tensor.name.removeprefix("network.")
        shape = tensors.get(tensor.name, tuple(tensor.dims))
        if any(isinstance(side, str) for side in shape):
            made.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, shape)
            )
            continue
        # ONNX Runtime replaces only what is said to lie elsewhere; nothing lies at this place.
        given = onnx.TensorProto(
            name=tensor.name,
            dims=tensor.dims,
            data_type=onnx.TensorProto.FLOAT,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        given.external_data.add(key="location", value="given-by-the-program")
        kept.append(given)
    del made.initializer[:]
    made.initializer.extend(kept)
    found = {each.name for each in (*kept, *made.input)} - {"pixels", "scale", "shift"}
    if found != set(tensors):
        raise SystemExit(f"the exporter renamed tensors: {sorted(found ^ set(tensors))[:4]}")
    for output in made.output:
        length = {"embedding": "dim", "scenes": "scenes"}[output.name]
        output.CopyFrom(
            onnx.helper.make_tensor_value_info(
                output.name, onnx.TensorProto.FLOAT, ["pictures", length]
            )
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--model", default=registry.BUILTIN)
    parser.add_argument("-o", "--output", type=Path, default=graph.FOLDER / "builtin.onnx")
    arguments = parser.parse_args()
    spec = registry.get(arguments.model)
    content, tensors = export(spec)
    about = graph.describe(content, spec.architecture, spec.config, spec.preprocess.size, tensors)
    with writing(arguments.output) as file:
        file.write(content)
    with writing(graph.describe_path(arguments.output)) as file:
        file.write(about.encode())
    print(f"{arguments.output}: {len(content)} bytes, {len(tensors)} tensors to be given")


if __name__ == "__main__":
    main()
