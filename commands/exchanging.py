"""Exchange: convert, schema, env."""

from __future__ import annotations

from typing import Any

import click

from .app import main
from .options import Name, debug_option, json_option, python_is_allowed, spec_options
from .streams import say, show


@main.in_group("Exchange")
@click.argument("source", type=Name())
@click.option("--to", "target", type=Name(), required=True, help="The file to write; its ending says what it will be.")
@click.option("--weights", type=Name(), help="Weights of the net: .npz, .caffemodel, .caffemodel.h5 or .safetensors.")
@click.option("--until", metavar="LAYER", default="", help="From a prototxt: leave out what comes after this layer.")
@click.option("--flat", is_flag=True, help="To YAML: write every layer out instead of using blocks.")
@click.option("--inference", is_flag=True, help="To .py: the forward pass alone, with weights.")
@click.option("--keep-logits", is_flag=True, help="To .onnx: leave out the softmax or sigmoid of the loss.")
@click.option(
    "--cont",
    type=click.Choice(["input", "start"]),
    default="input",
    show_default=True,
    help="To .onnx: where sequences begin is an input, or they begin with each batch.",
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="From .onnx: the size of a batch.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@spec_options
@debug_option
def convert(source: str, target: str, **options: Any) -> None:
    """Convert specs, weights and models from and to other programs' files.

    \b
    nettrain convert lenet_solver.prototxt --to lenet.yaml
    nettrain convert deploy.prototxt --weights net.caffemodel --to net.onnx
    nettrain convert configs/mlp.yaml --to mlp.prototxt                 and mlp_solver.prototxt, and its data
    nettrain convert runs/mlp/001/best.npz --to mlp.caffemodel          or .caffemodel.h5, .safetensors
    nettrain convert model.onnx --to model.yaml                         and model.npz
    nettrain convert configs/lecture/two_layer.yaml --to net.py         a program that needs numpy alone
    nettrain convert mean.binaryproto --to mean.npy

    What a file is, is told by what is in it; what to write, by the ending of its name: .yaml, .prototxt, .npz,
    .caffemodel, .h5, .safetensors, .npy, .binaryproto, .onnx, .py. What has no equal in the other format is an error
    that says why.
    """
    from ..interop.convert import Options, convert

    result = convert(source, target, Options(allow_python=python_is_allowed(), **options))
    for warning in result.warnings:
        say(f"warning: {warning}")
    for note in result.notes:
        say(note)
    show([str(path) for path in result.written], False, lambda paths: "\n".join(f"wrote {path}" for path in paths))


@main.in_group("Exchange")
def schema() -> None:
    """Print a JSON schema of specs, for editors."""
    from ..tools import schema as making

    show(making.schema(), True, None)


@main.in_group("Exchange", for_all=True)
@json_option
def env(as_json: bool) -> None:
    """Print versions, BLAS, threads, MPI and extras, for bug reports.

    \b
    nettrain env
    mpiexec -n 4 nettrain env       who would train together, with which threads on which processors
    """
    from ..tools import environment

    show(environment.environment(), as_json, environment.report)
