"""A prototxt, or a net in binary, as the tree of nodes that a YAML spec gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...files.reading import read_bytes
from ...spec.errors import Place, Problem, Problems, SpecError, why
from ...spec.node import Node
from ...spec.reading import check_nodes
from ..kinds import HEAD, is_binary
from . import binary
from .binding import Binder
from .layers import Mapping
from .message import Message
from .nets import Found, read_net
from .paths import is_there, locate, look_for_files
from .saved import as_written
from .solvers import NETS, read_solver
from .text import Comment, parse
from .upgrade import Upgrade

MOST_BYTES = 4_000_000  # of a text
MOST_LAYERS = 10_000  # of a net; the deepest have some 3,000
_SOLVERS = {"base_lr", "max_iter", "lr_policy", "train_net", "test_net", "snapshot_prefix", "solver_mode", *NETS}


@dataclass
class Imported:
    """A spec that was read from Caffe's files."""

    root: Node
    warnings: list[Problem]
    notes: list[Problem]
    comments: dict[str, list[Comment]] = field(default_factory=dict)  # by file
    ends: dict[tuple[str, int], int] = field(default_factory=dict)  # where what begins on a line ends


def read_spec(
    raw: bytes | memoryview, path: Path, name: str, problems: Problems, until: str = "", folder: Path | None = None
) -> Imported:
    """The spec that a file of Caffe's says: of a solver with its nets, or of a net alone.

    ``name`` is what messages call the file, ``until`` the last layer that is taken, ``folder`` where the spec will lie,
    by default where the file does. Raises SpecError where nothing can be understood.
    """
    return _Files(problems, until, path.parent).spec(raw, path, name, folder or path.parent)


def read_solver_file(raw: bytes, name: str) -> Message:
    """The message of a solver in today's words, without its nets. Raises SpecError for what is wrong in the file."""
    problems = Problems()
    files = _Files(problems, "", Path(name).parent)
    solver = files.upgrade.solver(files.message(raw, name, "SolverParameter"))
    problems.raise_if_any()
    return solver


class _Files:
    def __init__(self, problems: Problems, until: str, folder: Path):
        self.found = Found(problems, [], [], folder)
        self.upgrade = Upgrade(problems, self.found.warnings)
        self.until = until
        self.comments: dict[str, list[Comment]] = {}
        self.ends: dict[tuple[str, int], int] = {}

    def spec(self, raw: bytes | memoryview, path: Path, name: str, folder: Path) -> Imported:
        message = self.message(raw, name)
        self._check_layers(message)
        if message.type == "SolverParameter":
            root = self._solver(self.upgrade.solver(message), path)
        else:
            root = read_net(as_written(self.upgrade.net(message), self.found.warnings), self.found, self.until)
        check_nodes(root.node, self.found.problems)
        look_for_files(root.node, path.parent, folder)
        return Imported(root.node, self.found.warnings, self.found.notes, self.comments, self.ends)

    def message(self, raw: bytes | memoryview, name: str, wanted: str = "") -> Message:
        """The net or solver that bytes hold, as written."""
        if not isinstance(raw, bytes) or is_binary(raw[:HEAD]):
            return binary.read(raw, "NetParameter", name)
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.found.warn(Place(name), "the text is not UTF-8; it is read as Latin-1")
            text = raw.decode("latin-1")
        document = parse(text, name, self.found.problems)
        self.comments[name] = document.comments
        names = {field.name for field in document.fields}
        place = document.fields[0].place if document.fields else Place(name, 1, 1)
        if not document.fields and not document.has_errors:
            raise SpecError([Problem(Place(name), "the file is empty; a net has layers")])
        if names == {"item"}:
            raise SpecError([Problem(place, "this is a list of labels (SSD's), not a net")])
        kind = wanted or ("SolverParameter" if names & _SOLVERS else "NetParameter")
        made = Binder(self.found.problems, self.found.warnings).message(kind, document.fields, place)
        for part in made.parts():
            if part.place.line:
                self.ends[part.place.file, part.place.line] = part.last_line
        return made

    def _solver(self, solver: Message, path: Path) -> Mapping:
        result = Mapping(solver.place)
        nets = list(self._nets(solver, path))
        training = [net for phase, net in nets if phase != "TEST"]
        if not training and not any(solver.has(name) for name in NETS):
            self.found.problems.add(solver.place, "the solver names no net to train: `net` or `train_net`")
        for name, node in (training[0] if training else Mapping(solver.place)).node.value.items():
            if name != "layers":
                result.put(name, node)
        settings = read_solver(solver, self.found)
        result.put("solver", settings)
        if not nets:
            raise SpecError(self.found.problems.found)  # why there is none is said
        layers = _together(nets, settings)
        if not any(solver.has(name) for name in ("test_iter", "test_net", "test_net_param")):
            self._without_tests(layers)
        result.put("layers", Node(layers, layers[0].place if layers else solver.place))
        return result

    def _without_tests(self, layers: list[Node]) -> None:
        """Data that TRAIN alone has, and others read, is in both nets: here a net for tests is always made."""
        missing = {top for node in layers if _in_phase(node, "TRAIN") for top in _names(node, "top")}
        missing -= {top for node in layers if _in_phase(node, "TEST") for top in _names(node, "top")}
        read = {name for node in layers if _in_phase(node, "TEST") for name in _names(node, "bottom")}
        for node in layers:
            makes = set(_names(node, "top")) & missing & read
            if makes and not node.value.get("bottom") and not _in_phase(node, "TEST"):
                place = node.value.pop("include").place if "include" in node.value else node.place
                node.keys.pop("include", None)
                self.found.note(place, f"`{min(makes)}` is in both nets: the solver says nothing of tests")

    def _nets(self, solver: Message, path: Path) -> Iterator[tuple[str, Mapping]]:
        """Each net of a solver, and the phase that it alone is for, if any."""
        for field_name in ("net_param", "net", "train_net_param", "train_net", "test_net_param", "test_net"):
            phase = "TRAIN" if "train" in field_name else "TEST" if "test" in field_name else ""
            for entry in solver.entries(field_name):
                net: Message | None = entry.value if isinstance(entry.value, Message) else None
                if net is None:
                    found = locate(entry.value, path.parent) or self._beside(entry.value, path, entry.place)
                    if found is None:
                        words = "the net is not there (looked in this folder, the solver's and those above it)"
                        self.found.problems.add(entry.place, f"{entry.value}: {words}")
                        continue
                    net = self._file(found, entry.place)
                    if net is None:
                        continue
                yield phase, read_net(self.upgrade.net(net), self.found, self.until)

    def _beside(self, name: str, solver: Path, place: Place) -> Path | None:
        """The net of a solver that was moved with it: a file with the last part of its name."""
        found = solver.parent / PurePosixPath(name).name
        if not name or not is_there(found):
            return None
        self.found.warn(place, f"{name} is not there; {found.name} beside the solver is read in its place")
        return found

    def _file(self, path: Path, place: Place) -> Message | None:
        try:
            raw = read_bytes(path, MOST_BYTES)
        except OSError as error:
            self.found.problems.add(place, f"{path} cannot be read: {why(error)}")
            return None
        net = self.message(raw, str(path), "NetParameter")
        self._check_layers(net)
        return net

    def _check_layers(self, message: Message) -> None:
        """Raise SpecError for more layers than any net has, before something is made of each."""
        nets = [message]
        if message.type == "SolverParameter":
            nets = [net for name in NETS for net in message.many(name) if isinstance(net, Message)]
        for net in nets:
            layers = [*net.entries("layers"), *net.entries("layer")]
            if len(layers) > MOST_LAYERS:
                problem = Problem(layers[MOST_LAYERS].place, f"more than {MOST_LAYERS:,} layers, too many for a net")
                raise SpecError([*self.found.problems.found, problem])


def _together(nets: list[tuple[str, Mapping]], settings: Node) -> list[Node]:
    """The layers of all nets of a solver: what they have alike once, the rest with rules for the nets that have it."""
    lists = [(phase, net.node.value["layers"].value) for phase, net in nets if net.has("layers")]
    if len(lists) == 1 and not lists[0][0]:
        return lists[0][1]
    train = next((layers for phase, layers in lists if phase == "TRAIN"), lists[0][1] if lists else [])
    tests = [layers for phase, layers in lists if phase != "TRAIN"]
    states = [f"test{i}" if len(tests) > 1 else "" for i in range(len(tests))]
    if len(tests) > 1:
        items = [Node.plain({"stage": state}, settings.place, in_one_place=True) for state in states]
        settings.value["test_state"], settings.keys["test_state"] = Node(items, settings.place), settings.place
    merged: list[tuple[Node, list[int]]] = []  # a layer, and the nets that have it; -1 is the one that is trained
    for number, layers in enumerate([train, *tests], start=-1):
        at = 0
        for node in layers:
            if not _in_phase(node, "TRAIN" if number < 0 else "TEST"):
                continue
            same = next((k for k, (own, _) in enumerate(merged) if _alike(own, node)), None)
            if same is None:
                merged.insert(at, (node, [number]))
                at += 1
            else:
                merged[same][1].append(number)
                at = same + 1
    everywhere = list(range(-1, len(tests)))
    return [node if users == everywhere else _with_rules(node, users, states) for node, users in merged]


def _in_phase(node: Node, phase: str) -> bool:
    rules = {}
    for name in ("include", "exclude"):
        given = node.value.get(name)
        rules[name] = (
            [] if given is None else given.to_python() if isinstance(given.value, list) else [given.to_python()]
        )

    def names(rule: object) -> str:
        return str(rule.get("phase", phase) if isinstance(rule, dict) else rule).upper()

    if rules["include"]:
        return any(names(rule) == phase for rule in rules["include"])
    return not any(not isinstance(rule, dict) and names(rule) == phase for rule in rules["exclude"])


def _names(node: Node, key: str) -> list[str]:
    found = node.value.get(key)
    return (
        []
        if found is None
        else [str(item) for item in found.to_python()]
        if isinstance(found.value, list)
        else [str(found.value)]
    )


def _alike(one: Node, other: Node) -> bool:
    def rest(node: Node) -> dict:
        return {key: value for key, value in node.to_python().items() if key not in ("include", "exclude")}

    return rest(one) == rest(other)


def _with_rules(node: Node, users: list[int], states: list[str]) -> Node:
    """A layer that some nets alone have, with the rules that say so."""
    made = Mapping(node.place)
    made.node.is_broken = node.is_broken
    for key, value in node.value.items():
        if key not in ("include", "exclude"):
            made.put(key, value)
    rules: list = ["train"] if -1 in users else []
    tests = [states[number] for number in users if number >= 0]
    if tests == states:
        rules.append("test")
    else:
        rules += [{"phase": "TEST", "stage": state} for state in tests]
    made.put("include", Node.plain(rules if len(rules) > 1 else rules[0], node.place, in_one_place=True))
    return made.node
