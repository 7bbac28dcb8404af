"""Nets as numpy programs print what nettrain prints, and every layer's lines compute what the layer does."""

import ast
import subprocess
import sys
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.interop.program import write
from nettrain.interop.program.code import Code
from nettrain.interop.program.expressions import Names
from nettrain.interop.program.functions import FUNCTIONS
from nettrain.interop.program.writers import WRITERS, make
from nettrain.net.net import Net
from nettrain.net.netspec import load
from nettrain.spec.errors import NettrainError, Problems

ROOT = Path(__file__).parent.parent.parent


def spec_of(source, *settings):
    problems = Problems()
    spec = load(source, settings, problems, False)
    problems.raise_if_any()
    return spec


def ruff(path):
    """Whether ruff has nothing to say; names such as ``w1_W`` are the spec's."""
    words = ["--config", str(ROOT / "pyproject.toml"), str(path)]
    for command in (["format", "--check", "--diff"], ["check", "--no-cache", "--ignore", "N816"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def run(program, folder, *arguments):
    """Save a program with its arrays as a person would, run it, and give what it prints."""
    path = folder / "net.py"
    path.write_text(program.text, encoding="utf-8")
    if program.arrays:
        np.savez(folder / "net.npz", **program.arrays)
    imported = {
        alias.name for node in ast.walk(ast.parse(program.text)) if isinstance(node, ast.Import) for alias in node.names
    }
    assert imported <= {"numpy", "math", "sys"}
    assert "import nettrain" not in program.text
    words = [sys.executable, "-W", "error", str(path), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(program, folder):
    lines = [line.split() for line in run(program, folder).splitlines() if not line.startswith("test ")]
    assert [int(line[0]) for line in lines] == list(range(len(lines)))
    return [float(line[1]) for line in lines]


def losses(spec, iterations):
    """nettrain's, in double precision."""
    solver = nettrain.get_solver(spec, dtype="float64")
    found = []
    for _ in range(iterations):
        solver.step(1)
        found.append(float(solver.smoothed_loss))
    return found


def compare(source, folder, *settings, iterations=20, clean=True):
    spec = spec_of(source, "solver.display=1", *settings, f"solver.max_iter={iterations}")
    program = write(spec)
    assert printed(program, folder) == pytest.approx(losses(spec, iterations), rel=1e-9)
    if clean:
        ruff(folder / "net.py")
    return program


# Every layer type, on its examples

EXAMPLES = [
    pytest.param(cls, example, id=f"{cls.__name__}-{i}") for cls in WRITERS for i, example in enumerate(cls.examples)
]


def values_of(example, rng):
    for i, shape in enumerate(example.bottoms):
        yield example.values.get(i, lambda rng, shape: rng.standard_normal(shape))(rng, shape)


def net_of(cls, example):
    count = example.tops or (len(example.bottoms) if cls.same_number_of_tops else np.atleast_1d(cls.num_tops)[0])
    inputs = [{"name": f"x{i}", "type": "Input", "shape": list(s)} for i, s in enumerate(example.bottoms)]
    layer = {"name": "layer", "type": cls.__name__, "bottom": [one["name"] for one in inputs], **example.params}
    layer["top"] = [f"y{i}" for i in range(count)]
    spec = {
        "force_backward": True,
        "layers": [*inputs, {k: v for k, v in layer.items() if v or k not in ("bottom", "top")}],
    }
    return Net(spec, example.phase, dtype="float64")


@pytest.mark.parametrize(("cls", "example"), EXAMPLES)
def test_the_lines_compute_what_the_layer_does(cls, example, request):
    rng = np.random.default_rng(5)
    net = net_of(cls, example)
    (step,) = [step for step in net.steps if not step.layer.is_input]
    if example.prepare:
        example.prepare(step.layer)
    for blob, learned in zip(step.layer.blobs, step.layer.param_propagate_down, strict=True):
        if learned:
            blob.data[...] += 0.1 * rng.standard_normal(blob.shape)
    step.loss_weights = [0.0] * len(step.top)
    code = Code(net, net.steps)
    code.steps = [step]
    why = REFUSED.get(request.node.callspec.id)
    if why:
        with pytest.raises(
            NettrainError, match=f"{cls.__name__} `layer` cannot be written as a numpy program: .*{why}"
        ):
            make(code)
        return
    (writer,) = make(code)
    inputs = dict(zip(writer.x, values_of(example, rng), strict=True))
    upstream = {f"d_{name}": rng.standard_normal(blob.shape) for name, blob in zip(writer.y, step.top, strict=True)}
    program = {name: np.array(value) for name, value in inputs.items()} | upstream
    for name, owner in code.owners():
        program[name] = owner.blob.data.copy()
    code.write_forward([writer])
    code.given.update(step.top_keys)
    writer.backward()
    text = "\n".join(["import math", "import numpy as np", *FUNCTIONS.values(), *code.before, *code.lines]).replace(
        "{seed}", "1701"
    )
    with np.errstate(all="ignore"):
        exec(text, program)

    net.clear_param_diffs()
    for blob, value in zip(step.bottom, inputs.values(), strict=True):
        blob.data[...] = value
    step.layer.Forward_cpu(step.bottom, step.top)
    for blob, value in zip(step.top, upstream.values(), strict=True):
        blob.diff[...] = value
    for name, blob in zip(writer.y, step.top, strict=True):
        np.testing.assert_allclose(program[name], blob.data, rtol=1e-11, atol=1e-12)
    if step.layer.no_gradient == "all":
        return
    step.layer.Backward_cpu(step.top, step.propagate_down, step.bottom)
    for i, (name, blob) in enumerate(zip(writer.x, step.bottom, strict=True)):
        if step.propagate_down[i]:
            np.testing.assert_allclose(program[f"d_{name}"], blob.diff, rtol=1e-10, atol=1e-12)
            assert np.shape(program[f"d_{name}"]) == blob.shape
    for name, owner in code.learned.items():
        np.testing.assert_allclose(program[f"d_{name}"], owner.blob.diff, rtol=1e-10, atol=1e-12)
        assert np.shape(program[f"d_{name}"]) == owner.blob.shape
    assert len(code.learned) == step.fixed.count(False)


REFUSED = {  # cases of a type that is covered
    "Accuracy-1": "the share of each class",
    "BinaryAccuracy-1": "ignore_label",
    "Convolution-4": "two spatial axes",
    "Convolution-5": "two spatial axes",
    "Pooling-12": "STOCHASTIC",
    "Pooling-13": "STOCHASTIC",
}

# Every config of the lecture, and others

LECTURE = sorted((ROOT / "configs" / "lecture").glob("*.yaml"))
OTHERS = [ROOT / "configs" / f"{name}.yaml" for name in ("mlp", "logreg", "spiral")]


@pytest.mark.parametrize("config", [*LECTURE, *OTHERS], ids=lambda path: path.stem)
def test_a_program_prints_what_nettrain_prints(config, workdir):
    compare(config, workdir)


def test_lenet(mnist):
    """Few examples, quickly: a plain convolution in double precision takes its time."""
    compare(ROOT / "configs" / "lenet.yaml", mnist, "mnist.batch_size={train: 8, test: 50}", iterations=6)


ALEXNET = (
    "images.generate={examples: 4, test_examples: 4, shape: [3, 67, 67], classes: 10}",
    *("images.batch_size=4", "images.transform.scale=1"),
    *(f"{name}.num_output={n}" for name, n in {"conv1": 4, "conv2": 4, "conv3": 6, "conv4": 6, "conv5": 4}.items()),
    *(f"{name}.num_output={n}" for name, n in {"fc6": 5, "fc7": 5, "fc8": 10}.items()),
    *(f"{name}.weight_filler=msra" for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")),
)


def test_alexnet_made_small(workdir):
    """Groups, LRN, pooling that overlaps, and dropout from the same random numbers."""
    compare(ROOT / "configs" / "alexnet.yaml", workdir, *ALEXNET, iterations=8)


RESIDUAL = """
name: residual
solver: {base_lr: 0.05, momentum: 0.9, weight_decay: 1e-3, max_iter: 20, test_interval: 20}
layers:
  - name: images
    type: Data
    top: [data, label]
    source: gratings
    generate: {examples: 20, test_examples: 10, shape: [3, 11, 9], classes: 4}
    batch_size: 8
  - {name: conv1, type: Convolution, bottom: data, num_output: 4, kernel_size: 3, pad: 1, bias_term: false}
  - {name: bn1, type: BatchNorm, top: conv1}
  - {name: scale1, type: Scale, top: conv1, bias_term: true}
  - {name: relu1, type: ReLU, top: conv1}
  - {name: pool1, type: Pooling, kernel_size: 3, stride: 2}
  - {name: a/1, type: Convolution, num_output: 6, kernel_size: 3, stride: 2, pad: 1, weight_filler: msra}
  - {name: a/bn, type: BatchNorm, affine: true, top: a/1}
  - {name: a/relu, type: ReLU, top: a/1}
  - {name: short, type: Convolution, bottom: pool1, num_output: 6, kernel_size: 1, stride: 2}
  - {name: sum, type: Eltwise, bottom: [a/1, short]}
  - {name: relu, type: ReLU, top: sum}
  - {name: mean, type: Pooling, pool: AVE, global_pooling: true}
  - {name: drop, type: Dropout, dropout_ratio: 0.25}
  - {name: class, type: InnerProduct, num_output: 4}
  - {name: accuracy, type: Accuracy, bottom: [class, label], include: test}
  - {name: loss, type: SoftmaxWithLoss, bottom: [class, label]}
"""


def test_a_residual_net(workdir):
    program = compare(RESIDUAL, workdir)
    assert "a_1 = np.einsum" in program.text  # names that are none are made into some
    assert "\nclass_2_W = " in program.text or "\nclass_W = " in program.text


MLP = """
name: mlp
solver: {base_lr: 0.05, max_iter: 20}
layers:
  - {name: data, type: Data, top: [x, label], source: spiral, batch_size: 70}
  - {name: a, type: InnerProduct, num_output: 8, bottom: x, param: [{lr_mult: 2}, {decay_mult: 0}]}
  - {name: t, type: TanH}
  - {name: b, type: InnerProduct, num_output: 8, param: [{name: w, lr_mult: 0.5}, {lr_mult: 0}]}
  - {name: s, type: Sigmoid, top: b}
  - {name: c, type: InnerProduct, num_output: 8, param: [{name: w}]}
  - {name: both, type: Concat, bottom: [b, c, t]}
  - {name: score, type: InnerProduct, num_output: 3}
  - {name: loss, type: SoftmaxWithLoss, bottom: [score, label]}
  - {name: small, type: Reduction, bottom: score, operation: SUMSQ, loss_weight: 0.01}
"""


@pytest.mark.parametrize(
    "settings",
    [
        ("type=SGD",),
        ("momentum=0.9", "weight_decay=0.01"),
        ("type=Nesterov", "momentum=0.8", "weight_decay=0.01", "regularization_type=L1"),
        ("type=Nesterov",),
        ("type=AdaGrad", "weight_decay=0.01"),
        ("type=RMSProp", "rms_decay=0.9"),
        ("type=AdaDelta", "momentum=0.9", "delta=1e-6", "base_lr=1"),
        ("type=Adam", "weight_decay=0.01"),
        ("type=Adam", "amsgrad=true"),
        ("type=AdamW", "weight_decay=0.1"),
        ("iter_size=3", "momentum=0.9"),
        ("clip_gradients=0.5", "momentum=0.9", "weight_decay=0.01"),
        ("clip_gradients=0.5", "iter_size=2", "type=Adam"),
        ("average_loss=4",),
        ("freeze=[a]",),
        ("lr_policy=step", "gamma=0.5", "stepsize=4"),
        ("lr_policy=exp", "gamma=0.9"),
        ("lr_policy=inv", "gamma=0.1", "power=0.75"),
        ("lr_policy=multistep", "gamma=0.5", "stepvalue=[3, 3, 9]"),
        ("lr_policy=poly", "power=2"),
        ("lr_policy=sigmoid", "gamma=0.3", "stepsize=5"),
        ("lr_policy=cosine",),
        ("lr_policy=cosine", "min_lr=0.01", "warmup_iter=5"),
        ("warmup_iter=4", "warmup_lr=0.01"),
    ],
    ids=" ".join,
)
def test_rules_and_rates(workdir, settings):
    compare(MLP, workdir, *(f"solver.{one}" for one in settings))


@pytest.mark.parametrize(
    "settings",
    [
        ("data.shuffle=false", "solver.iter_size=2"),
        ("data.batch_size=700", "solver.base_lr=0.001"),  # a batch that spans several epochs
        ("b.propagate_down=[false]", "solver.weight_decay=0.1"),
        ("a.weight_filler={type: gaussian, sparse: 2}",),  # loaded, since one line does not say it
        ("a.bias_filler={type: constant, value: 0.25}", "c.bias_filler=uniform"),
        ("loss.loss_weight=3",),
    ],
    ids=" ".join,
)
def test_orders_fillers_and_gradients(workdir, settings):
    compare(MLP, workdir, *settings)


CROPPED = """
name: cropped
solver: {base_lr: 0.05, max_iter: 9}
layers:
  - name: digits
    type: Data
    top: [x, label]
    source: digits
    batch_size: 500
    transform: {mean_value: 8, scale: 0.125, crop_size: 6, mirror: true}
  - {name: score, type: InnerProduct, bottom: x, num_output: 10}
  - {name: loss, type: SoftmaxWithLoss, bottom: [score, label]}
"""


def test_random_squares_of_images(workdir):
    compare(CROPPED, workdir, iterations=9)


def test_lines_of_progress_are_where_nettrain_has_them(workdir):
    spec = spec_of(MLP, "solver.display=5", "solver.average_loss=3")
    lines = run(write(spec), workdir).splitlines()
    assert [int(line.split()[0]) for line in lines] == [0, 5, 10, 15]


def test_the_two_layer_net_is_as_short_as_the_lectures(workdir):
    program = write(spec_of(ROOT / "configs" / "lecture" / "two_layer.yaml"))
    lines = [line.strip() for line in program.text.partition("for iteration")[2].splitlines()]
    assert len([line for line in lines if line and not line.startswith("#")]) <= 16
    assert "d_w1 = d_h * h * (1 - h)" in lines


def test_given_weights_are_those_it_begins_with(workdir):
    spec = spec_of(MLP, "solver.display=1")
    net = Net(spec, "TRAIN", dtype="float64", seed=5)
    given = {f"param/{name}/{i}": blob.data for name, blobs in net.params.items() for i, blob in enumerate(blobs)}
    program = write(spec, arrays=given)
    net.save(workdir / "given.npz")
    expected = nettrain.get_solver(spec, dtype="float64", weights=[workdir / "given.npz"])
    expected.step(3)
    assert printed(program, workdir)[2] == pytest.approx(expected.losses[-1], rel=1e-9)


def test_a_type_that_is_not_covered_is_named():
    spec = spec_of(ROOT / "configs" / "ntm_copy.yaml")
    with pytest.raises(NettrainError, match=r"`.*` cannot be written as a numpy program: .*InnerProduct.*ReLU"):
        write(spec)


# Inference


@pytest.mark.parametrize("config", ["mlp", "lecture/svm", "lenet", "lecture/activations"])
def test_inference(mnist, config):
    spec = spec_of(ROOT / "configs" / f"{config}.yaml")
    net = Net(spec, "TEST", dtype="float64")
    net.forward()
    data = next(step for step in net.steps if not step.bottom)
    raw = data.layer.set.data[data.layer.indices]
    program = write(spec, inference=True)
    np.save(mnist / "inputs.npy", raw)
    shown = run(program, mnist, str(mnist / "inputs.npy"), str(mnist / "outputs.npz"))
    ruff(mnist / "net.py")
    with np.load(mnist / "outputs.npz") as outputs:
        assert outputs.files
        for name in outputs.files:
            np.testing.assert_allclose(outputs[name], net.blobs[name].data, rtol=1e-9, atol=1e-12)
            assert f"{name} [" in shown
    assert "# Backward" not in program.text
    assert "loss" in " ".join(program.notes)


def test_inference_with_trained_statistics(workdir):
    spec = spec_of(RESIDUAL)
    solver = nettrain.get_solver(spec, dtype="float64")
    solver.step(3)
    solver.net.save(workdir / "trained.npz")
    net = Net(spec, "TEST", dtype="float64", weights=workdir / "trained.npz")
    net.forward()
    with np.load(workdir / "trained.npz") as arrays:
        program = write(spec, inference=True, arrays=dict(arrays))
    np.save(workdir / "inputs.npy", net.blobs["data"].data)
    run(program, workdir, str(workdir / "inputs.npy"), str(workdir / "outputs.npz"))
    with np.load(workdir / "outputs.npz") as outputs:
        (values,) = outputs.values()
    np.testing.assert_allclose(values, net.blobs["class"].data, rtol=1e-9)


def test_inference_of_several_inputs(workdir):
    layers = [
        {"name": "in", "type": "Input", "top": ["a", "b"], "shape": [2, 3]},
        {"name": "sum", "type": "Eltwise", "bottom": ["a", "b"], "coeff": [1, -2]},
    ]
    a, b = np.random.default_rng(1).standard_normal((2, 2, 3))
    np.savez(workdir / "inputs.npz", a=a, b=b)
    program = write(spec_of({"layers": layers}), inference=True)
    shown = run(program, workdir, str(workdir / "inputs.npz"), str(workdir / "outputs.npz"))
    assert "sum" in shown
    with np.load(workdir / "outputs.npz") as outputs:
        (values,) = outputs.values()
    assert values == pytest.approx(a - 2 * b)


def test_the_test_at_the_end_gives_nettrains_scores(workdir):
    spec = spec_of(ROOT / "configs" / "mlp.yaml", "solver.max_iter=50", "digits.batch_size=64")
    solver = nettrain.get_solver(spec, dtype="float64")
    solver.step(50)
    program = write(spec)
    lines = [line.split() for line in run(program, workdir).splitlines() if line.startswith("test ")]
    assert {name: float(value) for _, name, value in lines} == pytest.approx(solver.test(), rel=1e-9)
    assert "tests are left out, but for one at the end" in program.notes


def test_a_net_without_anything_to_compute_from_inputs_is_refused():
    with pytest.raises(NettrainError, match="computes nothing from inputs alone"):
        write(spec_of(ROOT / "configs" / "lecture" / "add_mul.yaml"), inference=True)


def test_a_mean_image_is_saved_and_subtracted(workdir):
    np.save(workdir / "mean.npy", np.random.default_rng(3).random((1, 8, 8)))
    source = CROPPED.replace("mean_value: 8", "mean_file: mean.npy")
    spec = spec_of(source, "solver.display=1")
    assert printed(write(spec), workdir) == pytest.approx(losses(spec, 9), rel=1e-9)
    net = Net(spec, "TEST", dtype="float64")
    net.forward()
    (data,) = [step.layer for step in net.steps if not step.bottom]
    np.save(workdir / "inputs.npy", data.set.data[data.indices])
    run(write(spec, inference=True), workdir, str(workdir / "inputs.npy"), str(workdir / "outputs.npz"))
    with np.load(workdir / "outputs.npz") as outputs:
        np.testing.assert_allclose(outputs["score"], net.blobs["score"].data, rtol=1e-9)


# Names

HOSTILE = [
    "class",
    "print",
    "np",
    "d_x",
    "x",
    "1x",
    "a/b",
    "a b",
    "_",
    "ä",
    "iteration",
    'q"""',
    "n\nimport os",
    "\\",
    "arrays",
]


def test_any_name_becomes_an_identifier_of_its_own(workdir):
    layers = [{"name": "data", "type": "Data", "top": ["in", "label"], "source": "spiral", "batch_size": 70}]
    bottom = "in"
    for name in HOSTILE:
        layers.append({"name": name, "type": "InnerProduct", "bottom": bottom, "num_output": 4})
        bottom = name
    layers.append({"name": "loss", "type": "SoftmaxWithLoss", "bottom": [bottom, "label"]})
    solver = {"base_lr": 0.01, "max_iter": 4, "weight_decay": 0.1, "clip_gradients": 1, "display": 1}
    spec = spec_of({"name": '"""\nimport os', "solver": solver, "layers": layers})
    program = write(spec)
    assert printed(program, workdir) == pytest.approx(losses(spec, 4), rel=1e-9)
    ruff(workdir / "net.py")


def test_names_are_unique_with_their_gradients():
    names = Names()
    made = [names.new(name) for name in [*HOSTILE, *HOSTILE, "d_d_x", "x_2"]]
    all_of_them = [*made, *(f"d_{name}" for name in made)]
    assert len(set(all_of_them)) == len(all_of_them)
    assert all(name.isidentifier() for name in made)


# Random nets: losses after updates depend on every gradient


def random_net(seed):
    """A net of 8 layers, in which blobs are read any number of times, computed in place, cut and joined."""
    rng = np.random.default_rng(seed)
    layers = [
        {"name": "data", "type": "Data", "top": ["x", "label"], "source": "gratings", "batch_size": 3}
        | {
            "generate": {"examples": 7, "test_examples": 0, "shape": [4, 6, 5], "classes": 3},
            "transform": {"scale": 0.5},
        }
    ]
    images = ["x"]  # all of 4 channels, 6 x 5
    for i in range(8):
        name, bottom = f"l{i}", images[rng.integers(len(images))]
        other = images[rng.integers(len(images))]
        layer = [
            {"type": "Convolution", "num_output": 4, "kernel_size": 3, "pad": 1, "group": int(rng.choice([1, 2, 4]))},
            {"type": "Pooling", "pool": str(rng.choice(["MAX", "AVE"])), "kernel_size": 3, "pad": 1},
            {"type": str(rng.choice(["ReLU", "Sigmoid", "TanH", "ELU", "SiLU", "Mish", "AbsVal"]))},
            {"type": "Eltwise", "bottom": [bottom, other], "operation": str(rng.choice(["SUM", "PROD", "MAX"]))},
            {"type": "BatchNorm", "affine": bool(rng.integers(2))},
            {"type": "Scale", "bias_term": True},
            {"type": "Dropout", "dropout_ratio": 0.3},
            {"type": "LRN", "local_size": 3},
        ][rng.integers(8)]
        in_place = (
            "bottom" not in layer and layer["type"] in ("ReLU", "Dropout", "Scale") and bottom == images[-1] != "x"
        )
        layers.append({"name": name, "bottom": bottom, **layer, "top": bottom if in_place else name})
        if not in_place:
            images.append(name)
    layers += [
        {"name": "cut", "type": "Slice", "bottom": images[-1], "top": ["left", "right"]},
        {"name": "joined", "type": "Concat", "bottom": ["right", "left", images[-2]]},
        {"name": "score", "type": "InnerProduct", "num_output": 3},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["score", "label"]},
    ]
    return {
        "name": "random",
        "solver": {"base_lr": 0.01, "momentum": 0.9, "max_iter": 4, "display": 1},
        "layers": layers,
    }


@pytest.mark.parametrize("seed", range(12))
def test_random_nets(workdir, capsys, seed):
    """In this process, for speed: the program itself is run by the other tests."""
    spec = spec_of(random_net(seed))
    program = write(spec)
    (workdir / "net.py").write_text(program.text, encoding="utf-8")
    np.savez(workdir / "net.npz", **program.arrays)
    capsys.readouterr()
    namespace = {"__file__": str(workdir / "net.py")}
    exec(compile(program.text, "net.py", "exec"), namespace)
    namespace["arrays"].close()
    lines = capsys.readouterr().out.split()
    assert [float(word) for word in lines[1::2]] == pytest.approx(losses(spec, 4), rel=1e-9)
    ruff(workdir / "net.py")
