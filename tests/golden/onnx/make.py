"""Makes the models of this folder: what PyTorch's two exporters and tf2onnx write, small enough to commit.

Needs torch, onnxscript, tensorflow, tf2onnx and tf_keras, which the tests do not. `make.py torch` and `make.py keras`
may run in different environments. Beside each model lies NAME.npz: a sample, and what the framework itself computes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def write(name: str, sample: np.ndarray, result: np.ndarray) -> None:
    """The framework's own answer; `sample` [h, w, c]."""
    np.savez(HERE / f"{name}.npz", sample=sample.astype(np.float32), result=result.astype(np.float32).ravel())


def torch_models() -> None:
    """A residual network, a MobileNet's block, a 1-D network, an autoencoder, an image's classifier."""
    import torch
    from torch import nn

    torch.manual_seed(1)

    class Block(nn.Module):
        """A residual block that halves the map."""

        def __init__(self, inside: int, outside: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(outside)
            self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(outside)
            self.shortcut = nn.Conv2d(inside, outside, 1, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + self.shortcut(x))

    class ResNet(nn.Module):
        """Pools as torchvision's do, and flattens with view."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
            self.layer1, self.layer2 = Block(8, 8), Block(8, 12)
            self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.pool(self.layer2(self.layer1(self.stem(x))))
            return self.fc(y.view(y.size(0), -1))

    mobile = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(), nn.Dropout(0.1),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 4 * 3, 7), nn.ReLU(), nn.BatchNorm1d(7), nn.Linear(7, 4),
        nn.LogSoftmax(dim=1),
    )  # fmt: skip
    series = nn.Sequential(
        nn.Conv1d(4, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 3, padding=1, groups=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    autoencoder = nn.Sequential(
        nn.Linear(40, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16), nn.ReLU(),
        nn.Linear(16, 40),
    )  # fmt: skip
    image = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 10),
    )  # fmt: skip
    cases = {
        "resnet": (ResNet(), (3, 16, 16)),
        "mobile": (mobile, (3, 16, 12)),
        "series": (series, (4, 32)),
        "autoencoder": (autoencoder, (40,)),
        "image": (image, (1, 14, 14)),
    }
    for name, (model, shape) in cases.items():
        for module in model.modules():  # statistics as after some training, not those of a new network
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor in (module.running_mean, module.bias):
                    nn.init.normal_(tensor, std=0.3)
                for tensor in (module.running_var, module.weight):
                    nn.init.uniform_(tensor, 0.5, 2.0)
        model.eval()
        sample = torch.randn(1, *shape)
        with torch.no_grad():
            result = model(sample).numpy()
        channels_first = shape if len(shape) == 3 else (shape[0], 1, *(shape[1:] or (1,)))
        image = sample.reshape(channels_first).permute(1, 2, 0)
        for suffix, settings in (("script", {"dynamo": False, "opset_version": 13}), ("dynamo", {"dynamo": True})):
            path = HERE / f"torch_{name}_{suffix}.onnx"
            if suffix == "script":
                settings |= {"dynamic_axes": {"x": {0: "N"}}, "do_constant_folding": False, "training":
                             torch.onnx.TrainingMode.PRESERVE}  # fmt: skip
            torch.onnx.export(model, (sample,), path, input_names=["x"], output_names=["y"], **settings)
            _embed(path)
            write(path.stem, image.numpy(), result)


def _embed(path: Path) -> None:
    """Weights inside the file, without what the exporter notes about source lines."""
    import onnx

    model = onnx.load(path)
    path.with_name(path.name + ".data").unlink(missing_ok=True)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for info in (*model.graph.value_info, *model.graph.initializer):
        info.ClearField("metadata_props")
    onnx.save(model, path)


def keras_models() -> None:
    """Channels last, SAME and explicit padding, a flattened map, a series."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    import tf2onnx
    import tf_keras as keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = keras.Sequential([
        keras.Input((12, 10, 3)),
        layers.Rescaling(1 / 64, offset=-0.5),
        layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU(6.0),
        layers.ZeroPadding2D(((0, 1), (0, 1))),
        layers.DepthwiseConv2D(3, strides=1, padding="valid"), layers.BatchNormalization(), layers.ReLU(),
        layers.MaxPooling2D(2, padding="same"), layers.Conv2D(6, 1, activation="relu"), layers.Dropout(0.1),
        layers.BatchNormalization(), layers.Flatten(), layers.Dense(9, activation="relu"),
        layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    source = keras.Input((8, 8, 3))
    left = layers.Conv2D(6, 3, padding="same", activation="relu")(source)
    right = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(left))
    total = layers.Activation("relu")(layers.Add()([left, right]))
    pooled = layers.GlobalAveragePooling2D()(layers.AveragePooling2D(2)(total))
    residual = keras.Model(source, layers.Dense(3)(pooled))
    series = keras.Sequential([
        keras.Input((24, 3)), layers.Conv1D(6, 5, strides=2, padding="same", activation="relu"), layers.MaxPooling1D(2),
        layers.SeparableConv1D(5, 3), layers.Flatten(), layers.Dense(3),
    ])  # fmt: skip
    for name, model in (("image", image), ("residual", residual), ("series", series)):
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                gamma, beta, mean, variance = layer.get_weights()
                draw = np.random.default_rng(2)
                layer.set_weights([draw.uniform(0.5, 2, gamma.shape), draw.normal(0, 0.3, beta.shape),
                                   draw.normal(0, 0.3, mean.shape), draw.uniform(0.5, 2, variance.shape)])  # fmt: skip
        shape = model.input_shape[1:]
        sample = np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)
        path = HERE / f"keras_{name}.onnx"
        tf2onnx.convert.from_keras(
            model, [tf.TensorSpec((None, *shape), tf.float32, name="x")], opset=13, output_path=str(path)
        )
        write(path.stem, sample.reshape(shape if len(shape) == 3 else (1, *shape)), model(sample).numpy())


if __name__ == "__main__":
    {"torch": torch_models, "keras": keras_models}[sys.argv[1]]()
