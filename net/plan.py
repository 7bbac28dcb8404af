"""Planning a net's passes: which layers run backward, where gradients are added up, which blobs may share memory."""

from __future__ import annotations

from collections import Counter

from ..spec.errors import Problems
from .blob import Blob
from .build import param_spec
from .graph import Key, Wired
from .layer import Layer
from .step import Step
from .user_code import ask


def decide_backward(steps: list[Step], force: bool, problems: Problems) -> None:
    """Which layers run backward and which bottoms get a gradient (Caffe's rules).

    A layer needs it if a bottom does or it learns something; it is cut where no top leads to a loss.
    ``propagate_down`` forces or stops a bottom; ``force_backward`` turns on everything that has a gradient.
    """
    needed: dict[Key, bool] = {}
    for step in steps:
        step.propagate_down = list(step.spec.common.propagate_down) or [needed[key] for key in step.bottom_keys]
        learns = any(param_spec(step, i).lr_mult != 0 for i in range(len(step.layer.blobs)))
        step.needs_backward = any(step.propagate_down) or learns
        for key in step.top_keys:
            needed[key] = step.needs_backward
    wanted: set[Key] = set()  # blobs of which a layer that runs backward computes the gradient
    for step in reversed(steps):
        leads_to_loss = any(step.loss_weights) or any(key in wanted for key in step.top_keys)
        if not (step.needs_backward and leads_to_loss):
            step.needs_backward = False
            step.propagate_down = [False] * len(step.bottom)
        wanted.update(key for key, flag in zip(step.bottom_keys, step.propagate_down, strict=True) if flag)
    for step in steps:
        for i in range(len(step.layer.blobs)):
            step.layer.param_propagate_down[i] = force or param_spec(step, i).lr_mult != 0
        if force:
            step.propagate_down = [has_gradient(step.layer, i) for i in range(len(step.bottom))]
            step.needs_backward = step.layer.no_gradient != "all"
        else:
            _check_gradients_exist(step, problems)


def has_gradient(layer: Layer, i: int) -> bool:
    """Whether a layer can compute the gradient of its bottom i."""
    return layer.no_gradient != "all" and i not in layer.no_gradient


def _check_gradients_exist(step: Step, problems: Problems) -> None:
    for i, propagate in enumerate(step.propagate_down):
        if step.needs_backward and propagate and not has_gradient(step.layer, i):
            some = ["false" if j == i else "true" for j in range(len(step.bottom))]
            problems.add(
                step.spec.place,
                f"{step.spec.title()} has no gradient for its bottom {i} (`{step.bottom_keys[i][0]}`), but a layer "
                f"before it learns; stop it there with propagate_down: [{', '.join(some)}]",
            )


def connect_diffs(steps: list[Step]) -> None:
    """Give every consumer of a shared blob a diff of its own and note where the sums go.

    The consumer that runs backward first (the last in order) writes into the blob's own diff; the others
    have a view of the data with a diff of their own, which is added afterwards.
    """
    writers: dict[Key, list[tuple[int, int]]] = {}
    for index, step in enumerate(steps):
        for i, key in enumerate(step.bottom_keys):
            if step.needs_backward and step.propagate_down[i]:
                writers.setdefault(key, []).append((index, i))
    for maker in steps:
        for key, blob, weight in zip(maker.top_keys, maker.top, maker.loss_weights, strict=True):
            *others, first = writers.get(key, [(-1, -1)])
            if weight and first[0] >= 0:
                steps[first[0]].seeds.append((blob, weight))
            if first[0] >= 0 and steps[first[0]].bottom[first[1]] is not blob:
                steps[first[0]].returns.append((steps[first[0]].bottom[first[1]], blob))
            for index, i in others:
                step = steps[index]
                own = step.bottom[i]
                if own is blob:
                    own = Blob(blob.shape, blob.dtype, blob.channels_last)
                    own.share_data(blob)
                    own.known = blob.known
                    step.bottom[i] = own
                    step.aliases.append((own, blob))
                step.sums.append((own, blob, first[0]))


def pass_memory_on(steps: list[Step]) -> None:
    """Let the top of a layer that only renames its values lie in its bottom's memory.

    A top with a loss weight has it in its diff, and channels-last memory has another order: these are copied.
    """
    for step in steps:
        if step.layer.passes_memory_on and not any(step.loss_weights) and not step.copies:
            step.top[0].share_data(step.bottom[0])


def pass_diffs_on(steps: list[Step]) -> None:
    """The same for gradients, once every consumer has its own. Two ways: a bottom whose gradient is the top's as it is
    lies in the memory of the top's; and the top of a layer that renames its values in that of its bottom's.

    A consumer has written the top's gradient before the layer runs backward, and the bottom's diff is the layer's own
    or written by it alone: where other readers or a loss weight add to it, the top's would change with it. Where nobody
    writes the gradient of a top that renames values, the two stay apart too: others may add theirs to the bottom's,
    and nobody would clear that.
    """
    writers = Counter(
        key
        for step in steps
        for key, flag in zip(step.bottom_keys, step.propagate_down, strict=True)
        if step.needs_backward and flag
    )
    makers = {key: (maker, t) for maker in steps for t, key in enumerate(maker.top_keys)}
    readers = Counter(key for step in steps for key in step.bottom_keys)

    def grows(key: Key, most: Counter[Key]) -> bool:
        """Whether more is added to a blob's gradient than its one reader writes."""
        maker, t = makers[key]
        return most[key] > 1 or bool(maker.loss_weights[t])

    for step in reversed(steps):  # the top's gradient may lie in that of a layer further up
        for i, key in enumerate(step.bottom_keys):
            maker, t = makers[key]
            if not (ask(step.layer, "passes_gradient_on", i) and step.needs_backward and step.propagate_down[i]):
                continue
            as_it_is = step.bottom[i] is maker.top[t] and step.bottom[i].channels_last == step.top[0].channels_last
            if not grows(key, readers) and as_it_is and maker.bottom:  # gradients of inputs are the user's
                step.bottom[i].share_diff(step.top[0])
    for step in steps:
        passed = step.layer.passes_memory_on and step.top[0].shares_data_with(step.bottom[0])
        if not (passed and step.needs_backward and step.propagate_down[0] and writers[step.top_keys[0]]):
            continue
        maker, t = makers[step.bottom_keys[0]]
        if step.bottom[0] is not maker.top[t] or not grows(step.bottom_keys[0], writers):
            step.top[0].share_diff(step.bottom[0])


def share_memory_in_place(wired: list[Wired], steps: list[Step]) -> None:
    """Let a top lie in the memory of the bottom that has its name, where every gradient stays right.

    Before ``connect_diffs``, whose views of a blob are views of its memory.

    That needs a layer that can overwrite its input and does not read it in backward, a maker that does not
    read what it made, and no other reader.
    """
    makers = {key: step for step in steps for key in step.top_keys}
    readers: dict[Key, int] = {}
    for step in steps:
        for key in step.bottom_keys:
            readers[key] = readers.get(key, 0) + 1
    for item, step in zip(wired, steps, strict=True):
        for t, b in item.in_place.items():
            key = step.bottom_keys[b]
            maker = makers[key]
            same_order = step.top[t].channels_last == step.bottom[b].channels_last
            safe = (
                same_order
                and step.layer.may_run_in_place
                and readers[key] == 1
                and maker.bottom
                and not maker.layer.passes_memory_on
                and not any(maker.loss_weights)
            )
            if step.needs_backward:
                safe = safe and "bottom.data" not in step.layer.backward_reads
            if maker.needs_backward:
                safe = safe and "top.data" not in maker.layer.backward_reads
            if safe:
                step.top[t].share_data(step.bottom[b])
