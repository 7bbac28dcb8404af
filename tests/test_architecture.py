"""The shape of the code: who may import whom, and what each command may contain."""

import ast
import functools
import inspect
from pathlib import Path

import pytest
from nettrain.net.layer import Layer

ROOT = Path(__file__).parent.parent
# A package may import itself and those named here.
ALLOWED = {
    "spec": set(),
    "files": {"spec"},
    "compute": set(),
    "net": {"spec", "files", "compute"},
    "data": {"spec", "files", "net"},
    "layers": {"spec", "files", "compute", "net", "data"},
    "engines": {"compute", "net", "layers"},
    "ranks": {"spec", "files", "compute", "net"},
    "solver": {"spec", "files", "compute", "net", "ranks"},
    "serving": {"spec", "files", "compute", "net", "solver"},
    "interop": {"spec", "files", "compute", "net", "data", "layers", "solver", "serving"},
    "tools": {"spec", "files", "compute", "net", "data", "interop", "ranks", "solver", "serving"},
    "commands": {"spec", "files", "compute", "net", "interop", "ranks", "tools"},
    "": {"spec", "net", "solver", "serving", "commands"},  # cli.py, __init__.py, __main__.py
}
# A family of layers may use the machinery of those named here.
FAMILIES = {
    "activation": set(),
    "algebra": {"activation", "loss", "shape"},
    "data": {"shape"},
    "loss": set(),
    "normalization": set(),
    "recurrent": {"data", "loss"},
    "shape": set(),
    "vision": set(),
}
SOURCES = [
    path
    for path in (*sorted(ROOT.glob("*.py")), *sorted(ROOT.glob("*/**/*.py")))
    if path.parent == ROOT or path.relative_to(ROOT).parts[0] in ALLOWED
]


@functools.cache
def code_of(path):
    return path.read_text(encoding="utf-8")


@functools.cache
def tree_of(path):
    return ast.parse(code_of(path))


def package_of(path):
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else ""


def family_of(path):
    return path.parent.name if path.parent.parent == ROOT / "layers" else ""


def libraries(path):
    """The first part of the name of each module that a file imports and that is not ours."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def our_imports(path):
    """Each module of ours that a file imports, as the parts of its name: ("net", "blob")."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = path.relative_to(ROOT).parts[:-1]
            above = above[: len(above) - (node.level - 1)]
            if node.module:
                yield (*above, *node.module.split("."))
            else:
                yield from ((*above, alias.name) for alias in node.names)


def test_there_is_something_to_look_at():
    assert {package_of(path) for path in SOURCES} == set(ALLOWED)
    assert {family_of(path) for path in SOURCES} == {"", *FAMILIES}
    assert ("net", "blob") in our_imports(ROOT / "net" / "net.py")
    assert ("compute", "memory") in our_imports(ROOT / "net" / "blob.py")


# Of rules for every file: the files that break them, with what is wrong there. One test a rule, not one a file.


def broken(rule, paths=SOURCES):
    """What a rule finds in each file where it finds something."""
    return {str(path.relative_to(ROOT)): found for path in paths if (found := rule(path))}


def test_imports_point_one_way():
    def wrong(path):
        package = package_of(path)
        ours = {first for first, *_ in our_imports(path) if (ROOT / first).is_dir()}
        return ours - ALLOWED[package] - {package}

    assert broken(wrong) == {}


def test_families_of_layers_keep_apart():
    def wrong(path):
        family = family_of(path)
        others = {rest[0] for first, *rest in our_imports(path) if first == "layers"}
        return others - FAMILIES[family] - {family}

    assert broken(wrong, [path for path in SOURCES if family_of(path)]) == {}


def test_families_use_each_other_without_a_circle():
    known = set()
    while left := FAMILIES.keys() - known:
        found = {family for family in left if FAMILIES[family] <= known}
        assert found, left
        known |= found


def test_folders_can_be_overlooked():
    folders = {path.parent for path in SOURCES}
    assert {str(f): n for f in folders if (n := len(list(f.glob("*.py")))) > 26} == {}
    assert all((folder / "__init__.py").read_text().startswith('"""') for folder in folders)


HOMES = {"click": "commands/", "tqdm": "commands/screen.py", "yaml": "spec/reading.py"}


@pytest.mark.parametrize(("module", "homes"), HOMES.items())
def test_a_library_has_one_home(module, homes):
    users = [str(p.relative_to(ROOT)) for p in SOURCES if module in set(libraries(p))]
    assert users
    assert all(user.startswith(homes) for user in users)


def types_asked_for_by_name(tree):
    """Comparisons with the name of a class, also as keys of a table: what a layer is stands declared on the layer."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Subscript):
            asked = [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            asked = node.args
        else:
            continue
        found = {
            ast.unparse(part.value) for part in asked if isinstance(part, ast.Attribute) and part.attr == "__name__"
        }
        if found - {"module"}:
            yield ast.unparse(node)


# What a layer has declared, and the name under which a rule is registered.
MAY_ASK = {"maker.spec.cls.__name__ == first", "RULES[cls.__name__]"}
ELSEWHERE = [path for path in SOURCES if package_of(path) not in ("layers", "spec")]


def test_nobody_outside_the_zoo_asks_for_a_type_by_name():
    assert broken(lambda path: set(types_asked_for_by_name(tree_of(path))) - MAY_ASK, ELSEWHERE) == {}


def test_a_type_asked_for_by_name_is_noticed():
    for code in ("step.spec.cls.__name__ == 'ReLU'", "t[type(layer).__name__]", "{}.get(type(x).__name__)"):
        assert list(types_asked_for_by_name(ast.parse(code))), code


def test_one_module_finds_others_by_name():
    """What stands above net/ is found in registry.py; packages find their own."""
    homes = [str(p.relative_to(ROOT)) for p in SOURCES if "import_module(f" in code_of(p)]
    assert homes == ["__init__.py", "net/registry.py"]


def test_the_package_never_imports_itself_by_name():
    assert [p for p in SOURCES if "nettrain" in set(libraries(p))] == []


READERS = {"open", "read_text", "read_bytes", "load", "fromfile", "loadtxt", "genfromtxt", "memmap", "File"}
# What may open files for reading besides files/: libraries that get what it has opened or looked at, pages that come
# with the package, and what a run has open itself.
MAY_READ = {
    ("commands/streams.py", "os.open"),  # /dev/null, to write into
    ("data/images.py", "library.open"),
    ("data/pictures/decoding.py", "image.load"),  # of what that has opened
    ("interop/caffe/hdf5.py", "library.File"),
    ("interop/caffe/lmdb_out.py", "library.open"),  # a new one, to write into
    ("layers/data/hdf5_data.py", "self.library.File"),
    ("layers/data/hdf5_output.py", "self.library.File"),
    ("ranks/launch.py", "Path('/proc/sys/kernel/random/boot_id').read_text"),
    ("solver/lock.py", "os.open"),
    ("solver/runs.py", "path.open"),  # metrics.jsonl, to bring it to disk
    ("tools/explain_page.py", "resources.files(__package__).joinpath('explain_page.html').read_text"),
    ("tools/worksheet.py", "resources.files(__package__).joinpath('worksheet.html').read_text"),
}


def reads(tree):
    """Calls that open a file to read it: those with a mode for writing aside."""
    ours = {"solver.run.open", "self.run.open", "run.open", "new.open", "self.open"}
    functions = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    functions |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        writes = any(isinstance(word, str) and set(word) <= set("wab") and set(word) & set("wa") for word in words)
        called = name.rpartition(".")[2]
        if called in READERS and name not in ours and name not in functions and not writes:
            yield name


def test_one_module_opens_files_to_read_them():
    """Elsewhere a pipe would block, a device never end, and a file that lies about its size fill the memory."""

    def wrong(path):
        file = str(path.relative_to(ROOT))
        return [name for name in reads(tree_of(path)) if (file, name) not in MAY_READ]

    assert broken(wrong, [path for path in SOURCES if package_of(path) != "files"]) == {}


def effects_of_an_import(tree):
    """Calls of a module's own, whose results nobody keeps: whoever wants the effect calls them."""
    for statement in tree.body:
        inner = statement.body if isinstance(statement, ast.If | ast.For | ast.With | ast.Try) else [statement]
        for node in inner:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                yield ast.unparse(node)
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if not isinstance(target, ast.Name | ast.Tuple):
                    yield ast.unparse(node)


def test_an_import_changes_nothing():
    """But for what must be there before anything happens: an answer to Ctrl-C, and to a fork."""
    found = {call for path in SOURCES for call in effects_of_an_import(tree_of(path))}
    assert {call.partition("(")[0] for call in found} == {"signal.signal", "main", "os.register_at_fork"}


def test_an_effect_of_an_import_is_noticed():
    for code in ("f()", "os.environ['A'] = '1'", "if x:\n    f()", "np.float_output = 3"):
        assert list(effects_of_an_import(ast.parse(code))), code


def changed_errors(tree):
    """Attributes of an exception that are set where it is caught: whoever makes it says all of it."""
    for handler in ast.walk(tree):
        if isinstance(handler, ast.ExceptHandler) and handler.name:
            for node in ast.walk(handler):
                is_set = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
                if is_set and getattr(node.value, "id", None) == handler.name:
                    yield ast.unparse(node)


def test_errors_are_whole_when_they_are_made():
    assert [(path, found) for path in SOURCES for found in changed_errors(tree_of(path))] == []


def test_an_error_that_is_changed_is_noticed():
    for code in ("e.key = 1", "e.start += 1", "e.a, b = 1, 2"):
        assert list(changed_errors(ast.parse(f"try: f()\nexcept E as e:\n    {code}\n    raise"))), code


def test_nobody_asks_a_path_what_it_is():
    """``Path.exists()`` and its like raise OSError for a name that is too long; ``os.path.exists`` says no."""
    asks = {"exists", "is_file", "is_dir"}
    found = [
        (str(path.relative_to(ROOT)), ast.unparse(node))
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in asks
        and not node.args
    ]
    within_a_try = {("data/sources.py", f"{name}()") for name in ("path.is_dir", "path.exists")}
    within_a_try |= {("net/spec_file.py", "path.exists()")}
    assert set(found) == within_a_try | {("data/kinds.py", "entry.is_file()")}  # of a folder that was read


def test_a_reader_of_files_is_noticed():
    for code in ("open(p)", "p.open()", "p.open('rb')", "np.load(p)", "Path(p).read_text()", "np.fromfile(p)"):
        assert list(reads(ast.parse(code))), code
    assert not list(reads(ast.parse("p.open('ab')")))


def test_commands_are_short():
    nodes = [node for path in (ROOT / "commands").glob("*.py") for node in tree_of(path).body]
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            code = [
                statement
                for statement in node.body
                if not isinstance(statement, ast.Expr) or statement is not node.body[0]
            ]
            lines = code[-1].end_lineno - code[0].lineno + 1 if code else 0
            assert lines < 25, node.name


def test_the_public_names_are_there():
    import nettrain

    for name in nettrain.__all__:
        assert getattr(nettrain, name) is not None


def test_no_absolute_path_of_a_machine():
    for path in SOURCES:
        assert "/root/" not in code_of(path)
        assert "/home/" not in code_of(path)


# A layer may be a user's: what it overrides is called so that its bug is told in words.

HOOKS = {name for name, found in vars(Layer).items() if inspect.isfunction(found) and name[0] != "_"}
HOOKS -= {"add_blob", "buffer"}  # which a layer calls


def bare_calls(tree):
    """The hooks that are called as ``layer.hook(…)`` or ``….layer.hook(…)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in HOOKS:
            owner = node.func.value
            if getattr(owner, "id", getattr(owner, "attr", "")) in ("layer", "source"):
                yield node.func.attr


def test_hooks_of_layers_are_asked_for_and_not_called():
    found = [(path.name, hook) for path in SOURCES for hook in bare_calls(tree_of(path))]
    steps = ["Forward_cpu", "setup", "reshape", "Backward_cpu"]  # which a Step tells in words itself
    assert found == [("step.py", method) for method in steps]


def test_a_long_file_says_why_it_is_one():
    def lines(path):
        count = len(code_of(path).splitlines())
        return count if count > 300 and "one file" not in (ast.get_docstring(tree_of(path)) or "").lower() else 0

    assert broken(lines) == {}


def test_what_breaks_a_rule_is_named():
    assert broken(lambda path: path.name == "settings.py") == {"net/settings.py": True}
