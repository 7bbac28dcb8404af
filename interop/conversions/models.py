"""Nets for other programs: ONNX models, and programs of numpy's."""

from __future__ import annotations

from ...spec.errors import NettrainError
from .job import Job
from .weights import net_with_weights

LARGEST_DIFFERENCE = 1e-4  # between nettrain's outputs and onnxruntime's, relative to the largest


def to_onnx(job: Job) -> None:
    """A model for other programs, compared with the net where onnxruntime is there."""
    from .. import onnx_out

    job.check_free(job.target)
    net = net_with_weights(job)
    model = onnx_out.export(net, keep_logits=job.options.keep_logits, cont=job.options.cont)
    job.result.notes += model.notes
    found = onnx_out.verify(model, net)
    if found is None:
        job.result.notes.append("not compared with onnxruntime, which is not installed: pip install onnxruntime")
    else:
        job.result.difference = found.difference
        job.result.notes.append(
            f"largest difference from {found.by}: {found.difference:.1e} of the largest value, batches of "
            f"{' and '.join(map(str, found.batches))}"
        )
        if not found.difference <= LARGEST_DIFFERENCE:
            raise NettrainError(
                f"{found.by} computes other values of the model than nettrain: they differ by {found.difference:.1e} "
                f"of the largest, more than {LARGEST_DIFFERENCE:.0e}; nothing was written",
                exit_code=4,
            )
    onnx_out.save(model, job.target)
    job.result.written.append(job.target)


def to_program(job: Job) -> None:
    """A program that needs numpy alone, with its arrays beside it."""
    from ..program import write

    npz = job.target.with_suffix(".npz")
    arrays = job.arrays() if job.weights else None
    program = write(job.spec(), inference=job.options.inference, arrays=arrays)
    job.check_free(job.target, *[npz] * bool(program.arrays))
    if program.arrays:
        job.write_npz(npz, program.arrays)
    job.write(job.target, program.text.encode())
    job.result.notes += program.notes
