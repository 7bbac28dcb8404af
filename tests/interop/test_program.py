"""Nets as numpy programs print what nettrain prints, and every layer's lines compute what the layer does."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.interop.program import covered, write
from nettrain.interop.program.expressions import Names
from nettrain.interop.program.sources import SOURCES
from nettrain.net.net import Net
from nettrain.net.netspec import load
from nettrain.spec.errors import NettrainError, Problems, SpecError

ROOT = Path(__file__).parent.parent.parent


def spec_of(source, *settings):
    problems = Problems()
    spec = load(source, settings, problems, False)
    problems.raise_if_any()
    return spec


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder for the programs of all tests, which are as clean as the house's own code: ruff has nothing to say.
    Names such as ``w1_W`` are the spec's."""
    folder = tmp_path_factory.mktemp("programs")
    yield folder
    words = ["--config", str(ROOT / "pyproject.toml"), str(folder)]
    for command in (["format", "--check", "--diff"], ["check", "--no-cache", "--ignore", "N816"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def run(written, workdir, monkeypatch, capsys, request):
    """Save a program with its arrays as a person would, run it in this process, and give what it prints."""
    count = 0

    def run(program, *arguments):
        nonlocal count
        imported = [node for node in ast.walk(ast.parse(program.text)) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert {alias.name for node in imported for alias in node.names} <= {"numpy", "math", "sys"}
        count += 1
        safe = re.sub(r"\W", "_", request.node.name)
        (written / f"{safe}_{count}.py").write_text(program.text, encoding="utf-8")
        path = workdir / "net.py"
        if program.arrays:
            np.savez(workdir / "net.npz", **program.arrays)
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        capsys.readouterr()
        namespace = {"__file__": str(path)}
        exec(compile(program.text, "net.py", "exec"), namespace)
        if "arrays" in namespace:
            namespace["arrays"].close()
        return capsys.readouterr().out

    return run


@pytest.fixture
def printed(run):
    """The losses that a program prints, one of each iteration."""

    def printed(program):
        lines = [line.split() for line in run(program).splitlines() if not line.startswith("test ")]
        assert [int(line[0]) for line in lines] == list(range(len(lines)))
        return [float(line[1]) for line in lines]

    return printed


def losses(spec, iterations):
    """nettrain's, in double precision."""
    solver = nettrain.get_solver(spec, dtype="float64")
    found = []
    for _ in range(iterations):
        solver.step(1)
        found.append(float(solver.smoothed_loss))
    return found


@pytest.fixture
def compare(printed):
    """A spec's program prints nettrain's losses."""

    def compare(source, *settings, iterations=12):
        spec = spec_of(source, "solver.display=1", *settings, f"solver.max_iter={iterations}")
        program = write(spec)
        assert printed(program) == pytest.approx(losses(spec, iterations), rel=1e-9)
        return program

    return compare


# Every config of the lecture, and others

LECTURE = sorted((ROOT / "configs" / "lecture").glob("*.yaml"))
OTHERS = [ROOT / "configs" / f"{name}.yaml" for name in ("mlp", "logreg", "spiral")]


@pytest.mark.parametrize("config", [*LECTURE, *OTHERS], ids=lambda path: path.stem)
def test_a_program_prints_what_nettrain_prints(compare, config):
    compare(config, iterations=6)


def test_lenet(compare, mnist):
    """Few examples, quickly: a plain convolution in double precision takes its time."""
    compare(
        ROOT / "configs" / "lenet.yaml", "mnist.batch_size={train: 8, test: 50}", "conv2.num_output=8", iterations=4
    )


SMALL = {  # configs of types that no other test of these has, made small
    "lstm_copy": ("task.max_length=4", "task.batch_size=3"),
    "ntm_copy": ("task.max_length=2", "task.batch_size=2"),
    "caffe/cifar10_full": (
        "cifar.source=gratings",
        "cifar.generate={examples: 8, test_examples: 4, shape: [3, 12, 12], classes: 10}",
        *("cifar.batch_size=4", "conv1.num_output=3", "conv2.num_output=3", "conv3.num_output=4"),
        "solver.base_lr=0.01",
    ),
    "caffe/hdf5_classification": (),
    "caffe/siamese": ("pairs.batch_size={train: 4, test: 100}",),
}


@pytest.mark.parametrize("config", SMALL)
def test_configs_made_small(compare, data_sets, config):
    compare(ROOT / "configs" / f"{config}.yaml", "solver.average_loss=1", *SMALL[config], iterations=2)


OVER_TIME = """
name: over_time
solver: {base_lr: 0.1, momentum: 0.5, max_iter: 6, iter_size: 2}
layers:
  - {name: data, type: Data, top: [x, label], source: spiral, batch_size: 12}
  - {name: begin, type: DummyData, top: [cont, noise], shape: [[4, 3], [4, 3, 2]], data_filler: [1, gaussian]}
  - {name: steps, type: Reshape, bottom: x, shape: [4, 3, 2]}
  - {name: noisy, type: Eltwise, bottom: [steps, noise]}
  - {name: rnn, type: RNN, bottom: [noisy, cont], num_output: 3}
  - {name: gru, type: GRU, bottom: [rnn, cont], num_output: 3}
  - {name: lstm, type: LSTM, bottom: [gru, cont], num_output: 3}
  - name: recurrent
    type: Recurrent
    bottom: [lstm, cont]
    top: [a, b]
    carry: true
    states: [{name: t, next: h, shape: 3, initial: gaussian, learned: true}, {name: late, next: t, shape: 3}]
    outputs: [end, d]
    cell:
      - {name: both, type: Concat, bottom: [x, t, late]}
      - {name: d, type: Dropout}
      - {name: in, type: InnerProduct, num_output: 3, param: {name: w}}
      - {name: n, type: BatchNorm, affine: true}
      - {name: h, type: TanH}
      - {name: unread, type: InnerProduct, bottom: both, num_output: 3, param: {name: w}}
      - {name: sequence, type: Reshape, bottom: h, shape: [3, -1, 1]}
      - name: within
        type: Recurrent
        cont: false
        states: [{name: t, next: h, shape: 2}]
        outputs: h
        cell:
          - {name: both, type: Concat, bottom: [x, t]}
          - {name: sum, type: InnerProduct, num_output: 2}
          - {name: h, type: TanH}
      - {name: end, type: Reshape, shape: [3, 6]}
  - {name: rows, type: Reshape, bottom: b, shape: [-1, 9]}
  - {name: score, type: InnerProduct, num_output: 3}
  - {name: loss, type: SoftmaxWithLoss, bottom: [score, label]}
  - {name: small, type: Reduction, bottom: a, operation: SUMSQ, loss_weight: 0.01}
"""


def test_states_go_on_with_the_next_batch(compare):
    """Nothing begins within or between batches, so every loss depends on all batches before; a cell with a state that
    is the one of the step before, random numbers, statistics, parameters used twice, a layer nobody reads, a cell."""
    compare(OVER_TIME, iterations=4)
    compare(OVER_TIME, "solver.iter_size=1", iterations=4)


ALEXNET = (
    "images.generate={examples: 4, test_examples: 4, shape: [3, 67, 67], classes: 10}",
    *("images.batch_size=4", "images.transform.scale=1"),
    *(f"{name}.num_output={n}" for name, n in {"conv1": 4, "conv2": 4, "conv3": 6, "conv4": 6, "conv5": 4}.items()),
    *(f"{name}.num_output={n}" for name, n in {"fc6": 5, "fc7": 5, "fc8": 10}.items()),
    *(f"{name}.weight_filler=msra" for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")),
)


def test_alexnet_made_small(compare):
    """Groups, LRN, pooling that overlaps, and dropout from the same random numbers."""
    compare(ROOT / "configs" / "alexnet.yaml", *ALEXNET, iterations=8)


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


def test_a_residual_net(compare):
    program = compare(RESIDUAL)
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
def test_rules_and_rates(compare, settings):
    compare(MLP, *(f"solver.{one}" for one in settings))


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
def test_orders_fillers_and_gradients(compare, settings):
    compare(MLP, *settings)


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


def test_random_squares_of_images(compare):
    compare(CROPPED, iterations=9)


def test_images_of_a_list(compare, workdir):
    """Read once, resized and shuffled as nettrain does it; what would be drawn for each image is refused."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for k in range(5):
        Image.fromarray(rng.integers(0, 256, (4 + k, 5, 3), np.uint8)).save(f"{k}.png")
    (workdir / "list.txt").write_text("".join(f"{k}.png {k % 3}\n" for k in range(5)))
    data = "  - {name: images, type: ImageData, top: [x, label], source: list.txt, batch_size: 2"
    spec = (
        CROPPED.partition("layers:")[0]
        + "layers:\n"
        + data
        + ", new_height: 4, new_width: 4, shuffle: true, transform: {scale: 0.01}}\n"
    )
    spec += "  - {name: score" + CROPPED.partition("  - {name: score")[2]
    compare(spec, iterations=4)
    with pytest.raises(SpecError, match="cut, mirrored or left out at random are not"):
        write(spec_of(spec, "images.transform.mirror=true"))


def test_lines_of_progress_are_where_nettrain_has_them(run):
    spec = spec_of(MLP, "solver.display=5", "solver.average_loss=3")
    lines = [line for line in run(write(spec)).splitlines() if not line.startswith("test ")]
    assert [int(line.split()[0]) for line in lines] == [0, 5, 10, 15]


def test_the_two_layer_net_is_as_short_as_the_lectures():
    program = write(spec_of(ROOT / "configs" / "lecture" / "two_layer.yaml"))
    lines = [line.strip() for line in program.text.partition("for iteration")[2].splitlines() if line.startswith(" ")]
    assert len([line for line in lines if not line.startswith("#")]) <= 16
    assert "d_w1 = d_h * h * (1 - h)" in lines


def test_given_weights_are_those_it_begins_with(printed, workdir):
    spec = spec_of(MLP, "solver.display=1")
    net = Net(spec, "TRAIN", dtype="float64", seed=5)
    given = {f"param/{name}/{i}": blob.data for name, blobs in net.params.items() for i, blob in enumerate(blobs)}
    program = write(spec, arrays=given)
    net.save(workdir / "given.npz")
    expected = nettrain.get_solver(spec, dtype="float64", weights=[workdir / "given.npz"])
    expected.step(3)
    assert printed(program)[2] == pytest.approx(expected.losses[-1], rel=1e-9)


NOT_COVERED = """
solver: {base_lr: 0.1, max_iter: 2}
layers:
  - name: images
    type: Data
    top: [x, label]
    source: gratings
    batch_size: 2
    generate: {examples: 4, test_examples: 0, shape: [1, 4, 4], classes: 2}
  - {name: pyramid, type: SPP, bottom: x, pyramid_height: 2}
  - {name: drawn, type: Pooling, bottom: x, pool: STOCHASTIC, kernel_size: 4}
  - {name: over, type: Reshape, bottom: pyramid, shape: [0, 1, -1]}
  - name: cell
    type: Recurrent
    bottom: over
    top: again
    cont: false
    states: [{name: s, next: h, shape: 5}]
    outputs: h
    cell:
      - {name: both, type: Eltwise, bottom: [x, s]}
      - {name: image, type: Reshape, shape: [0, 5, 1, 1]}
      - {name: inside, type: SPP, pyramid_height: 1}
      - {name: h, type: Flatten}
  - {name: one, type: InnerProduct, num_output: 3, bottom: again}
  - {name: two, type: InnerProduct, num_output: 3, bottom: drawn}
  - {name: loss, type: EuclideanLoss, bottom: [one, two]}
"""


def test_all_layers_that_cannot_be_written_are_named_at_once():
    spec = spec_of(NOT_COVERED)
    with pytest.raises(SpecError) as caught:
        write(spec)
    messages = [problem.message for problem in caught.value.problems]
    unknown = "its type is not one of those that docs/convert.md lists"
    assert messages == [
        f"SPP `pyramid` cannot be written as a numpy program: {unknown}",
        "Pooling `drawn` cannot be written as a numpy program: pool STOCHASTIC is not",
        f"SPP `cell/inside` cannot be written as a numpy program: {unknown}",
    ]
    assert [problem.place.line for problem in caught.value.problems] == [10, 11, 23]


def test_the_documentation_lists_what_can_be_written():
    text = (ROOT / "docs" / "convert.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"can be written: (.*?)\.\n", text, re.DOTALL)
    assert re.split(r",\s+", listed) == sorted({*covered(), *(cls.__name__ for cls in SOURCES)})


# Inference


@pytest.mark.parametrize("config", ["mlp", "lecture/svm", "lenet", "lecture/activations"])
def test_inference(run, mnist, config):
    spec = spec_of(ROOT / "configs" / f"{config}.yaml")
    net = Net(spec, "TEST", dtype="float64")
    net.forward()
    data = next(step for step in net.steps if not step.bottom)
    raw = data.layer.set.data[data.layer.indices]
    program = write(spec, inference=True)
    np.save(mnist / "inputs.npy", raw)
    shown = run(program, str(mnist / "inputs.npy"), str(mnist / "outputs.npz"))
    with np.load(mnist / "outputs.npz") as outputs:
        assert outputs.files
        for name in outputs.files:
            np.testing.assert_allclose(outputs[name], net.blobs[name].data, rtol=1e-9, atol=1e-12)
            assert f"{name} [" in shown
    assert "# Backward" not in program.text
    assert "loss" in " ".join(program.notes)


def test_inference_with_trained_statistics(run, workdir):
    spec = spec_of(RESIDUAL)
    solver = nettrain.get_solver(spec, dtype="float64")
    solver.step(3)
    solver.net.save(workdir / "trained.npz")
    net = Net(spec, "TEST", dtype="float64", weights=workdir / "trained.npz")
    net.forward()
    with np.load(workdir / "trained.npz") as arrays:
        program = write(spec, inference=True, arrays=dict(arrays))
    np.save(workdir / "inputs.npy", net.blobs["data"].data)
    run(program, str(workdir / "inputs.npy"), str(workdir / "outputs.npz"))
    with np.load(workdir / "outputs.npz") as outputs:
        (values,) = outputs.values()
    np.testing.assert_allclose(values, net.blobs["class"].data, rtol=1e-9)


@pytest.mark.parametrize("config", ["lstm_copy", "ntm_copy"])
def test_inference_over_time(run, workdir, config):
    """Of other lengths than the net's; nothing is kept for a way back."""
    spec = spec_of(ROOT / "configs" / f"{config}.yaml", "test.min_length=2", "test.max_length=3", "test.batch_size=2")
    net = Net(spec, "TEST", dtype="float64")
    net.forward()
    program = write(spec, inference=True)
    given = {name: net.blobs[name].data for name in ("x", "cont") if name in net.blobs}
    np.save("inputs.npy", given["x"]) if len(given) == 1 else np.savez("inputs.npz", **given)
    run(program, f"inputs.np{'y' if len(given) == 1 else 'z'}", "outputs.npz")
    with np.load("outputs.npz") as outputs:
        assert outputs.files == ["bit"]
        np.testing.assert_allclose(outputs["bit"], net.blobs["bit"].data, rtol=1e-9)
    assert "_steps" not in program.text


def test_inference_of_several_inputs(run, workdir):
    layers = [
        {"name": "in", "type": "Input", "top": ["a", "b"], "shape": [2, 3]},
        {"name": "sum", "type": "Eltwise", "bottom": ["a", "b"], "coeff": [1, -2]},
    ]
    a, b = np.random.default_rng(1).standard_normal((2, 2, 3))
    np.savez(workdir / "inputs.npz", a=a, b=b)
    program = write(spec_of({"layers": layers}), inference=True)
    shown = run(program, str(workdir / "inputs.npz"), str(workdir / "outputs.npz"))
    assert "sum" in shown
    with np.load(workdir / "outputs.npz") as outputs:
        (values,) = outputs.values()
    assert values == pytest.approx(a - 2 * b)


def compare_tests(text, solver, every, iterations):
    """The tests that a program prints are nettrain's, at every so many iterations and at the end."""
    lines = [line.split() for line in text.splitlines() if line.startswith("test ")]
    assert [int(line[1]) for line in lines] == [*range(0, iterations, every), iterations]
    for _, iteration, *scores in lines:
        solver.step(int(iteration) - solver.iter)
        found = {name: float(value) for name, value in zip(scores[::2], scores[1::2], strict=True)}
        assert found == pytest.approx(solver.test(), rel=1e-9)


def test_a_program_tests_as_often_as_nettrain(run):
    spec = spec_of(
        ROOT / "configs" / "mlp.yaml", "solver.max_iter=10", "solver.test_interval=4", "digits.batch_size=64"
    )
    program = write(spec)
    compare_tests(run(program), nettrain.get_solver(spec, dtype="float64"), 4, 10)
    assert not program.notes


def test_running_statistics_and_the_middle_of_images(run):
    """Before the first batch a BatchNorm knows nothing; a test cuts the middle out of images, as training cuts at
    random; with iter_size 2 statistics move twice in an iteration."""
    settings = "solver.max_iter=6", "solver.test_interval=3", "solver.iter_size=2", "images.transform.crop_size=8"
    spec = spec_of(RESIDUAL, *settings)
    compare_tests(run(write(spec)), nettrain.get_solver(spec, dtype="float64"), 3, 6)


def test_a_program_runs_as_a_user_runs_it(workdir):
    """In a process of its own, from another folder."""
    spec = spec_of(MLP, "solver.display=1", "solver.max_iter=2")
    program, folder = write(spec), workdir / "there"
    folder.mkdir()
    (folder / "net.py").write_text(program.text, encoding="utf-8")
    np.savez(folder / "net.npz", **program.arrays)
    words = [sys.executable, "-W", "error", str(folder / "net.py")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert [float(line.split()[1]) for line in done.stdout.splitlines()[:2]] == pytest.approx(losses(spec, 2), rel=1e-9)


def test_a_net_without_anything_to_compute_from_inputs_is_refused():
    with pytest.raises(NettrainError, match="computes nothing from inputs alone"):
        write(spec_of(ROOT / "configs" / "lecture" / "add_mul.yaml"), inference=True)


@pytest.mark.parametrize("mean", ["mean_file: mean.npy, scale: 0.125", "normalize: true"])
def test_means_of_all_kinds_are_saved_and_subtracted(printed, run, workdir, mean):
    np.save(workdir / "mean.npy", np.random.default_rng(3).random((1, 8, 8)))
    source = CROPPED.replace("mean_value: 8, scale: 0.125", mean)
    spec = spec_of(source, "solver.display=1")
    assert printed(write(spec)) == pytest.approx(losses(spec, 9), rel=1e-9)
    net = Net(spec, "TEST", dtype="float64")
    net.forward()
    (data,) = [step.layer for step in net.steps if not step.bottom]
    np.save(workdir / "inputs.npy", data.set.data[data.indices])
    run(write(spec, inference=True), str(workdir / "inputs.npy"), str(workdir / "outputs.npz"))
    with np.load(workdir / "outputs.npz") as outputs:
        np.testing.assert_allclose(outputs["score"], net.blobs["score"].data, rtol=1e-9)


def test_transforms_that_a_program_does_not_have_are_named():
    with pytest.raises(SpecError, match="pad and erase of a transform are not"):
        write(spec_of(CROPPED, "digits.transform.pad=2", "digits.transform.erase=0.5"))


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


def test_any_name_becomes_an_identifier_of_its_own(printed):
    layers = [{"name": "data", "type": "Data", "top": ["in", "label"], "source": "spiral", "batch_size": 70}]
    bottom = "in"
    for name in HOSTILE:
        layers.append({"name": name, "type": "InnerProduct", "bottom": bottom, "num_output": 4})
        bottom = name
    layers.append({"name": "loss", "type": "SoftmaxWithLoss", "bottom": [bottom, "label"]})
    solver = {"base_lr": 0.01, "max_iter": 4, "weight_decay": 0.1, "clip_gradients": 1, "display": 1}
    spec = spec_of({"name": '"""\nimport os', "solver": solver, "layers": layers})
    program = write(spec)
    assert printed(program) == pytest.approx(losses(spec, 4), rel=1e-9)


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
def test_random_nets(compare, seed):
    compare(random_net(seed), iterations=4)
