"""The DeepRanking network in Keras itself, as a program: Keras chooses its backend once, when it is imported.

`python keras_original.py WEIGHTS.h5 PICTURES.npy VECTORS.npy SAVED.h5 WIDTHS`, WIDTHS as JSON like `keras_file.NARROW`.
Reads the weights by Keras's own reader, writes the vectors of the pictures, float32 (N, 224, 224, 3), and saves the
whole model in its earlier format.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from keras import layers


def trunk(blocks: list[int], picture: Any) -> Any:
    """VGG16 without its head: that of Keras at full width, the same layers at another."""
    if blocks == [64, 128, 256, 512, 512]:
        return keras.applications.VGG16(weights=None, include_top=False, input_tensor=picture)
    x = picture
    for block, (width, depth) in enumerate(zip(blocks, (2, 2, 3, 3, 3), strict=True), start=1):
        for layer in range(1, depth + 1):
            name = f"block{block}_conv{layer}"
            x = layers.Conv2D(width, 3, activation="relu", padding="same", name=name)(x)
        x = layers.MaxPooling2D(2, 2, name=f"block{block}_pool")(x)
    return keras.Model(picture, x)


def deepranking(widths: Any) -> Any:
    """The network; UnitNormalization is what K.l2_normalize was."""
    blocks, (first_width, second_width), (one, two), dim = widths
    convolutions = trunk(blocks, keras.Input((224, 224, 3)))
    x = layers.GlobalAveragePooling2D()(convolutions.output)
    x = layers.Dropout(0.6)(layers.Dense(one, activation="relu")(x))
    x = layers.Dropout(0.6)(layers.Dense(two, activation="relu")(x))
    x = layers.UnitNormalization()(x)
    first = keras.Input((224, 224, 3))
    low = layers.Conv2D(first_width, 8, strides=16, padding="same")(first)
    low = layers.MaxPooling2D(3, strides=4, padding="same")(low)
    low = layers.UnitNormalization()(layers.Flatten()(low))
    second = keras.Input((224, 224, 3))
    lower = layers.Conv2D(second_width, 8, strides=32, padding="same")(second)
    lower = layers.MaxPooling2D(7, strides=2, padding="same")(lower)
    lower = layers.UnitNormalization()(layers.Flatten()(lower))
    joined = layers.concatenate([layers.concatenate([low, lower]), x])
    vectors = layers.UnitNormalization()(layers.Dense(dim)(joined))
    return keras.Model([first, second, convolutions.input], vectors)


def main() -> None:
    weights, pictures, vectors, saved, widths = sys.argv[1:]
    model = deepranking(json.loads(widths))
    model.load_weights(weights)
    batch = np.load(pictures)
    np.save(vectors, model.predict([batch, batch, batch], batch_size=4, verbose=0))
    model.save(saved)


if __name__ == "__main__":
    main()
