"""Makes the models in fixtures/ with the exporters that people use, and what the original program computes of an input.

Run once for each program, in an environment that has it (nettrain itself needs none of them):

    python make_fixtures.py torch      # torch, onnx, onnxscript: both of its exporters
    python make_fixtures.py sklearn    # scikit-learn, skl2onnx
    python make_fixtures.py keras      # tensorflow, tf2onnx

Each NAME.onnx has a NAME.npz beside it: the arrays `x` (three examples) and `y`, what the program itself says of them.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "fixtures"


def keep(name, x, y):
    HERE.mkdir(exist_ok=True)
    np.savez(HERE / f"{name}.npz", x=np.asarray(x), y=np.asarray(y, np.float32))


def torch_models():
    import torch
    from torch import nn

    torch.manual_seed(1)

    class Residual(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU()
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + self.downsample(x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            self.layer1 = Residual(4, 4, 1)
            self.layer2 = Residual(4, 8, 2)
            self.fc = nn.Linear(8, 5)

        def forward(self, x):
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            x = nn.functional.adaptive_avg_pool2d(self.layer2(self.layer1(x)), 1)
            return self.fc(torch.flatten(x, 1))

    class Mobile(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(),
                nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            )  # fmt: skip
            self.squeeze = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Hardsigmoid()
            )
            self.squeeze[1].weight.data.abs_()  # its two units are not dead
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 4))

        def forward(self, x):
            x = self.features(x)
            x = x * self.squeeze(x)
            return self.classifier(x.mean([2, 3]))

    class Vgg(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(4, 6, 3, padding=1), nn.PReLU(6), nn.LocalResponseNorm(3), nn.AvgPool2d(2),
            )  # fmt: skip
            self.classifier = nn.Sequential(
                nn.Linear(6 * 4 * 3, 10), nn.GELU(), nn.Dropout(), nn.Linear(10, 4), nn.Softmax(1)
            )

        def forward(self, x):
            x = self.features(x)
            return self.classifier(x.view(x.size(0), -1))

    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Conv2d(2, 4, 3, 2, 1)
            self.norm = nn.GroupNorm(2, 4)
            self.up = nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1)

        def forward(self, x):
            return torch.sigmoid(self.up(nn.functional.leaky_relu(self.norm(self.down(x)), 0.1)))

    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(6)
            self.fc1, self.fc2 = nn.Linear(6, 10), nn.Linear(10, 6)
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            x = x + self.fc2(nn.functional.gelu(self.fc1(self.norm(x))))
            a, b = torch.split(x, 2, 1)
            return self.head(torch.cat([a, b * torch.sigmoid(a)], 1).mean(1))

    class Sequence(nn.Module):
        def __init__(self, kind, **more):
            super().__init__()
            self.rnn = getattr(nn, kind)(5, 6, batch_first=True, **more)
            self.fc = nn.Linear(6 * (2 if more.get("bidirectional") else 1), 3)

        def forward(self, x):
            y, _ = self.rnn(x)
            return self.fc(y[:, -1])

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(20, 5)
            self.lstm = nn.LSTM(5, 6)
            self.fc = nn.Linear(6, 3)

        def forward(self, tokens):
            _, (h, _) = self.lstm(self.embedding(tokens).transpose(0, 1))
            return self.fc(h[-1])

    mlp = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4))
    models = {
        "mlp": (mlp, (4, 4)),
        "resnet": (ResNet(), (3, 32, 32)),
        "mobile": (Mobile(), (3, 16, 16)),
        "vgg": (Vgg(), (1, 16, 12)),
        "autoencoder": (Autoencoder(), (2, 8, 8)),
        "mixer": (Mixer(), (4, 6)),
        "lstm": (Sequence("LSTM", num_layers=2), (4, 5)),
        "bilstm": (Sequence("LSTM", bidirectional=True), (4, 5)),
        "gru": (Sequence("GRU"), (4, 5)),
    }
    for name, (model, shape) in models.items():
        x = torch.randn(3, *shape)
        export(torch, name, model, x)
    export(torch, "words", Words(), torch.randint(0, 20, (3, 4)))


def export(torch, name, model, x):
    for module in model.modules():  # statistics that are not those of a fresh net
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, 0, 2)  # so that few units are dead
        elif isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.uniform_(module.bias, 0, 1)
    model.eval()
    with torch.no_grad():
        y = model(x).numpy()
    HERE.mkdir(exist_ok=True)
    for kind, opset in (("old", 9 if name in ("mlp", "resnet") else 13), ("old", 17), ("new", 18), ("fixed", 18)):
        if kind == "old":
            more = {"dynamo": False, "opset_version": opset, "dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
            file = f"torch_old{opset}_{name}"
        elif kind == "new":
            more = {"dynamo": True, "opset_version": 18, "dynamic_shapes": ({0: torch.export.Dim("batch")},)}
            file = f"torch_new_{name}"
        else:
            more = {"dynamo": True, "opset_version": 18}
            file = f"torch_fixed_{name}"
            if name not in ("mlp", "vgg", "mixer"):
                continue
        example = x[:1] if kind == "fixed" else x[:2]
        path = HERE / f"{file}.onnx"
        try:
            with torch.no_grad():
                torch.onnx.export(
                    model,
                    (example,),
                    path,
                    input_names=["x"],
                    output_names=["y"],
                    external_data=False,
                    verbose=False,
                    **more,
                )
        except Exception as error:
            print(f"{file}: {type(error).__name__}: {str(error)[:200]}")
            path.unlink(missing_ok=True)
            continue
        slim(path)
        keep(file, x.numpy(), y)


def slim(path):
    """Without the stack traces that the exporters add to every node."""
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    onnx.save(model, path)


def sklearn_models():
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    data, label = load_iris(return_X_y=True)
    data = data.astype(np.float32)
    two = data[:100], label[:100]
    models = {
        "logistic": (LogisticRegression(), data, label),
        "logistic2": (LogisticRegression(), *two),
        "scaled_mlp": (make_pipeline(StandardScaler(), MLPClassifier((8, 6), max_iter=150)), data, label),
        "mlp2": (make_pipeline(MinMaxScaler(), MLPClassifier((5,), activation="tanh", max_iter=150)), *two),
        "mlp_logistic": (MLPClassifier((5,), activation="logistic", max_iter=150), data, label),
        "regressor": (MLPRegressor(hidden_layer_sizes=(6,), max_iter=150), data, data[:, 0] * 2 + 1),
        "linear": (make_pipeline(StandardScaler(), LinearRegression()), data, data @ [[1, 2], [0, 1], [3, 0], [1, 1]]),
        "one_vs_rest": (OneVsRestClassifier(LogisticRegression()), data, label),
    }
    for name, (model, x, y) in models.items():
        model.fit(x, y)
        rows = x[[0, 50, 99]]
        said = model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)
        for suffix, options in (("", None), ("_array", {id(model): {"zipmap": False}})):
            if suffix and (not hasattr(model, "predict_proba") or name not in ("logistic", "scaled_mlp")):
                continue
            made = to_onnx(model, x[:1], options=options, target_opset=17)
            (HERE / f"sklearn_{name}{suffix}.onnx").write_bytes(made.SerializeToString())
            keep(f"sklearn_{name}{suffix}", rows, said)


def keras_models():
    import keras
    import tensorflow as tf
    import tf2onnx
    from keras import layers

    keras.utils.set_random_seed(1)
    cnn = keras.Sequential(
        [
            keras.Input((14, 12, 3)),
            layers.Conv2D(6, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU(),
            layers.MaxPooling2D(2), layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )  # fmt: skip
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.SeparableConv2D(6, 3, padding="same", activation="relu")(x)])
    x = layers.Concatenate()([x, layers.Activation("swish")(x)])
    pooled = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    mlp = keras.Sequential(
        [keras.Input((8,)), layers.Dense(6, activation="elu"), layers.Dense(5, activation="softplus"),
         layers.Dense(3, activation="sigmoid")]
    )  # fmt: skip
    lstm = keras.Sequential(
        [keras.Input((5, 4)), layers.LSTM(6, return_sequences=True), layers.LSTM(5), layers.Dense(2)]
    )
    gru = keras.Sequential([keras.Input((5, 4)), layers.GRU(6, reset_after=True), layers.Dense(2)])
    for name, model in {"cnn": cnn, "pooled": pooled, "mlp": mlp, "lstm": lstm, "gru": gru}.items():
        shape = (3, *model.input_shape[1:])
        for weights in model.weights:
            if "moving" in weights.name or "gamma" in weights.name:
                weights.assign(np.random.default_rng(1).uniform(0.5, 1.5, weights.shape))
        x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
        for opset in (13, 18) if name in ("cnn", "mlp") else (15,):
            file = f"keras{opset}_{name}"
            call = tf.function(lambda x, model=model: model(x, training=False))
            signature = [tf.TensorSpec((None, *shape[1:]), tf.float32, name="x")]
            try:
                tf2onnx.convert.from_function(call, signature, opset=opset, output_path=str(HERE / f"{file}.onnx"))
            except Exception as error:
                print(f"{file}: {type(error).__name__}: {str(error)[:200]}")
                continue
            keep(file, x, model(x, training=False))


if __name__ == "__main__":
    for which in sys.argv[1:]:
        {"torch": torch_models, "sklearn": sklearn_models, "keras": keras_models}[which]()
