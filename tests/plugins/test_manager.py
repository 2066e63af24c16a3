from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from refusals import refusal

from torso.contracts.architecture import Architecture
from torso.contracts.truncation import Truncation
from torso.errors import OptionError, PluginError, UnknownNameError
from torso.plugins import BUILTINS, PluginInfo, Plugins

DISTRIBUTIONS = Path(__file__).parents[1] / "fixtures" / "distributions"
KINDS = {"torso_architectures": Architecture, "torso_truncations": Truncation}
HEAD = """
from torso.errors import OptionError
from torso.contracts.hookspecs import hookimpl
from torso.contracts.truncation import Truncation

def cut(name):
    return Truncation(name=name, doc="", select=lambda graph, options: "x")
"""
TRUNCATIONS = "@hookimpl\ndef torso_truncations()"


def write(folder: Path, name: str, source: str) -> Path:
    """A plugin in one file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(f"{HEAD}\n{source}")
    return path


def notes(plugins: Plugins) -> list[tuple[str, str]]:
    return [info.note for info in plugins.absent]


def in_use(plugins: Plugins) -> list[str]:
    return [info.name for info in plugins if info.status == "loaded"]


# Installed distributions


def test_load_knows_where_a_plugin_comes_from(load):
    plugins = load("good", builtins={"truncations": "torso.builtins.truncations"})
    assert [str(info) for info in plugins] == ["plugin 'truncations' (built-in)", "plugin 'acme' (torso-acme 0.2.0)"]
    assert list(plugins)[1] == PluginInfo(
        name="acme",
        origin="entry point",
        distribution="torso-acme",
        version="0.2.0",
        location=str(DISTRIBUTIONS / "good" / "torso_acme.py"),
        hooks=("torso_architectures",),
    )


def test_an_installed_plugin_that_cannot_be_imported_is_disabled_with_its_traceback(load):
    plugins = load("import_error", "good")
    assert in_use(plugins) == ["acme"]
    why = "its import failed: ModuleNotFoundError: No module named 'a_package_that_is_not_installed'"
    assert notes(plugins) == [("disabled", f"plugin 'vit' (torso-vit 0.3.0): {why}")]
    (vit,) = plugins.absent
    assert vit.traceback is not None
    assert vit.traceback.startswith("Traceback (most recent call last):\n")
    assert "import a_package_that_is_not_installed" in vit.traceback


def test_plugins_of_one_name_are_disabled_unimported(load):
    why = "torso-twin-a 1.0 and torso-twin-b 2.0 share the name 'twin'; keep one, or block all with -p no:twin"
    assert notes(load("twin_a", "twin_b")) == [
        ("disabled", f"plugin 'twin' (torso-twin-a 1.0): {why}"),
        ("disabled", f"plugin 'twin' (torso-twin-b 2.0): {why}"),
    ]
    # The name of a built-in one: disabled alone.
    plugins = load("builtin_name", builtins={"keras": "torso.builtins.truncations"})
    assert in_use(plugins) == ["keras"]
    why = "its name 'Keras' is that of a built-in plugin"
    assert notes(plugins) == [("disabled", f"plugin 'Keras' (torso-imposter 1.0): {why}")]


def test_a_distribution_that_is_on_the_path_twice_counts_once(load):
    assert in_use(load("good", "good")) == ["acme"]


def test_a_damaged_distribution_is_an_error_that_says_what_to_do(load):
    said = refusal(load, "damaged", "good", kind=PluginError)
    head, cause, fix = said.split("\n")
    assert head == "the plugins of installed distributions cannot be found"
    assert cause.startswith("  cause: entry_points.txt of torso-damaged cannot be read: ")
    assert fix.startswith("  fix: pip install --force-reinstall torso-damaged, or set TORSO_DISABLE_PLUGIN_AUTOLOAD=1 ")
    assert in_use(load("damaged", "good", discover=False)) == []


# Blocking, naming, and discovery off


@pytest.mark.parametrize("name", ["vit", "VIT"])
def test_a_blocked_plugin_is_not_imported(load, name, monkeypatch):
    plugins = load("import_error", "good", plugins=[f"no:{name}"])
    assert notes(plugins) == [("blocked", f"plugin 'vit' (torso-vit 0.3.0): it is blocked with -p no:{name}")]
    assert in_use(plugins) == ["acme"]
    monkeypatch.setenv("TORSO_DISABLED_PLUGINS", f"acme, {name},")
    reasons = [info.reason for info in load("import_error", "good")]
    assert reasons == [f"it is blocked with TORSO_DISABLED_PLUGINS={text}" for text in ("acme", name)]


def test_a_builtin_plugin_can_be_blocked_or_named():
    assert in_use(Plugins.load(discover=False, plugins=["keras"])) == sorted(BUILTINS)
    assert in_use(Plugins.load(discover=False, plugins=["no:keras"])) == sorted(set(BUILTINS) - {"keras"})


def test_blocking_a_plugin_that_is_not_there_is_an_error(load):
    assert list(load("good", plugins=["no:acme"], discover=False)) == []  # one that is there may be, though not looked for
    said = refusal(load, "good", "clash", plugins=["no:acne"], kind=UnknownNameError)
    assert said == "there is no plugin to block with -p no:acne\n  did you mean: 'acme'\n  known: acme, beta"


@pytest.mark.parametrize(("value", "found"), [("1", []), ("yes", []), ("0", ["acme"]), ("", ["acme"])])
def test_a_variable_turns_discovery_off(load, monkeypatch, value, found):
    monkeypatch.setenv("TORSO_DISABLE_PLUGIN_AUTOLOAD", value)
    assert in_use(load("good")) == found


@pytest.mark.parametrize("text", ["acme", "torso_acme"])
@pytest.mark.parametrize("discover", [True, False])
def test_naming_an_entry_point_loads_it_once_and_alone(load, text, discover):
    (acme, *others) = load("good", "clash", plugins=[text], discover=discover)
    assert (acme.name, acme.origin, acme.version) == ("acme", "entry point", "0.2.0")
    assert [info.name for info in others] == (["beta"] if discover else [])


def test_a_named_module_bears_the_last_part_of_its_name(load, tmp_path, monkeypatch):
    path = write(tmp_path / "in_house", "eyes", f"{TRUNCATIONS}: return [cut('half')]")
    monkeypatch.syspath_prepend(tmp_path)
    (eyes,) = load(plugins=["in_house.eyes"])
    assert eyes == PluginInfo(name="eyes", origin="-p", location=str(path), hooks=("torso_truncations",))


def test_a_named_plugin_at_fault_is_an_error(load, tmp_path, monkeypatch):
    with pytest.raises(PluginError) as caught:
        load(plugins=["in_home.eyes"])
    assert str(caught.value) == (
        "plugin 'eyes' (in_home.eyes) cannot be used: its import failed: ModuleNotFoundError: No module named 'in_home'"
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    path = write(tmp_path, "late_eyes", f"{TRUNCATIONS}: return ['half']")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = load(plugins=["late_eyes"])
    fault = "its hook 'torso_truncations' yields a value of type str, not Truncation"
    said = refusal(plugins.collect, KINDS, kind=PluginError)
    assert said == f"plugin 'late_eyes' ({path}) cannot be used: {fault}"


# Folders of single files


def test_a_folder_of_files_is_a_folder_of_plugins(load, tmp_path):
    for name in ("eyes", "ears", "_shared"):
        write(tmp_path, name, f"{TRUNCATIONS}: return [cut('half')]")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.py").mkdir()
    plugins = load(plugins_dirs=[tmp_path, str(tmp_path)])
    assert list(plugins) == [
        PluginInfo(name=name, origin="--plugins-dir", location=str(tmp_path / f"{name}.py"), hooks=("torso_truncations",))
        for name in ("ears", "eyes")
    ]
    said = refusal(load, plugins_dirs=[tmp_path / "gone"], kind=OptionError)
    assert said == f"the plugins folder '{tmp_path / 'gone'}' cannot be read: No such file or directory"


def test_builders_of_two_files_of_one_name_are_told_apart(load, tmp_path):
    for folder in ("a", "b"):
        write(tmp_path / folder, "json", f"{TRUNCATIONS}: return [cut(__name__)]\ndef build(): return '{folder}'")
    ((_, first),) = load(plugins_dirs=[tmp_path / "a"]).collect(KINDS)["torso_truncations"]
    ((_, second),) = load(plugins_dirs=[tmp_path / "b"]).collect(KINDS)["torso_truncations"]
    assert [import_module(one.name).build() for one in (first, second)] == ["a", "b"]


NO_HOOK = (
    "torso has no hook 'wizardry'; the hooks are torso_architectures, torso_backbone_built, torso_before_freeze, "
    "torso_build_arguments, torso_channel_adapters, torso_engines, torso_export_formats, torso_freeze_policies, "
    "torso_truncations, torso_weight_sources"
)
FAULTS = [
    ("", "nothing in it is marked with @torso.hookimpl"),
    ("def torso_truncations(): return ()", "its function 'torso_truncations' is not marked with @torso.hookimpl"),
    ("def def", "its import failed: SyntaxError: invalid syntax (eyes.py, line 9)"),
    ("raise SystemExit(3)", "its import failed: SystemExit: 3"),
    ("raise GeneratorExit", "its import failed: GeneratorExit"),
    ("class Stop(KeyboardInterrupt): pass\nraise Stop", "its import failed: Stop"),
    ("class Mute(BaseException):\n    def __str__(self): 1 / 0\nraise Mute", "its import failed: Mute"),
    ("import torso\nraise torso.TorsoError('no more')", "its import failed: TorsoError: no more"),
    (f"{TRUNCATIONS}: return [Truncation(name='half', doc='', select=None)]",
     "its hook 'torso_truncations' failed: TypeError: select of Truncation 'half' must be "
     "Callable[[Graph, Options], Cut | tuple[str, ...]], not None"),
    ("@hookimpl\ndef torso_build_arguments(architecture, options={}): pass",
     "its hook 'torso_build_arguments' must take 'options' as a plain argument without default"),
    ("@hookimpl\ndef torso_build_arguments(architecture, alpha): pass", "its hook 'torso_build_arguments' asks for 'alpha'; "
     "the hook's arguments are architecture, options, weights, input_shape"),
    ("@hookimpl\ndef torso_truncations(graph): pass",
     "its hook 'torso_truncations' asks for 'graph'; the hook has no arguments"),
    ("@hookimpl(wrapper=True)\ndef torso_truncations(): return (yield)",
     "its hook 'torso_truncations' is a wrapper; torso calls plugins one at a time and wraps none"),
    (f"{TRUNCATIONS}: return ()\n@hookimpl(specname='torso_truncations')\ndef more(): return ()",
     "it implements the hook 'torso_truncations' 2 times"),
    (f"{TRUNCATIONS}: return ()\n@hookimpl\ndef torso_truncation(): return ()",
     "torso has no hook 'torso_truncation'; did you mean 'torso_truncations'?"),
    ("@hookimpl\ndef wizardry(): pass", NO_HOOK),
    *((f"{TRUNCATIONS}: {body}", f"its hook 'torso_truncations' returns a value of type {kind}: "
       "write 'yield Truncation(…)' or 'return [Truncation(…)]'")
      for body, kind in (("pass", "NoneType"), ("return cut('half')", "Truncation"))),
    (f"{TRUNCATIONS}:\n    yield cut('half')\n    raise OSError", "its hook 'torso_truncations' failed: OSError"),
    (f"{TRUNCATIONS}:\n    while True: yield cut('half')", "its hook 'torso_truncations' yields the name 'half' twice"),
    (f"{TRUNCATIONS}: return [cut('half'), cut('HALF')]", "its hook 'torso_truncations' yields the name 'HALF' twice"),
    (f"{TRUNCATIONS}: return [cut('half')]\n@hookimpl\ndef torso_architectures(): return ['EyeNet']",  # disabled as a whole
     "its hook 'torso_architectures' yields a value of type str, not Architecture"),
    *((f"{TRUNCATIONS}: return [cut({name!r})]",
       f"a name that its hook 'torso_truncations' yields is {name!r}; a name is text without '/' and spaces")
      for name in ("", "a/b", "a b", "a\nb")),
]  # fmt: skip


@pytest.mark.parametrize(("source", "reason"), FAULTS)
def test_a_plugin_at_fault_is_disabled_whole_and_breaks_no_other(load, tmp_path, source, reason):
    write(tmp_path, "eyes", source)
    plugins = load("good", plugins_dirs=[tmp_path])
    offered = plugins.collect(KINDS)
    assert [(info.name, value.name) for values in offered.values() for info, value in values] == [("acme", "EyeNet")]
    assert [info.reason for info in plugins.absent] == [reason]
    assert [info.name for hook in KINDS for info, _ in plugins.callers(hook)] == in_use(plugins) == ["acme"]


def test_keyboard_interrupt_is_the_user_and_not_a_fault(load, tmp_path):
    write(tmp_path, "slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load(plugins_dirs=[tmp_path])


def test_a_plugin_with_an_illegal_or_a_second_name_is_disabled(load, tmp_path):
    write(tmp_path, "my eyes", "raise AssertionError")
    (eyes,) = load(plugins_dirs=[tmp_path])
    assert eyes.reason == "its name is 'my eyes'; a name is text without '/' and spaces"
    # One module under two names is one plugin.
    plugins = load(builtins={"one": "torso.builtins.truncations", "two": "torso.builtins.truncations"})
    assert in_use(plugins) == ["one"]


def test_an_optional_hook_may_be_unknown(load, tmp_path):
    write(tmp_path, "eyes", "@hookimpl(optionalhook=True)\ndef torso_of_tomorrow(soon): pass")
    (eyes,) = load(plugins_dirs=[tmp_path])
    assert (eyes.status, eyes.hooks) == ("loaded", ())


# Singular hooks


def test_callers_come_sorted_by_name_and_call_one_plugin_each(load, tmp_path):
    late = tmp_path / "late"
    for name, folder in (("zebra", tmp_path), ("ape", late), ("cow", late)):
        hook = f"@hookimpl(tryfirst={name == 'zebra'})\ndef torso_before_freeze(model)"
        write(folder, name, f"{hook}: return model + ['{name}']")
    write(tmp_path, "bee", f"{TRUNCATIONS}: return ()")
    write(tmp_path, "dog", "@hookimpl\ndef torso_before_freeze(plan): pass")
    model, seen = [], []
    for info, call in load(plugins_dirs=[tmp_path, late]).callers("torso_before_freeze"):
        answer = call(model=model, plan=None)
        seen.append((info.name, answer))
        model = model if answer is None else answer
    assert seen == [("ape", ["ape"]), ("cow", ["ape", "cow"]), ("dog", None), ("zebra", ["ape", "cow", "zebra"])]


@pytest.mark.parametrize(
    ("act", "kind", "text"),
    [
        ("raise KeyError('x')", PluginError, "hook 'torso_backbone_built' failed: KeyError: 'x'\n  plugin: {}\n  see: {}"),
        ("raise SystemExit(2)", PluginError, "hook 'torso_backbone_built' failed: SystemExit: 2\n  plugin: {}\n  see: {}"),
        ("raise OptionError('too wide')", OptionError, "too wide\n  raised by: {}"),  # a refusal passes through
    ],
)
def test_a_singular_hook_that_fails_is_an_error_that_names_the_plugin(load, tmp_path, act, kind, text):
    write(tmp_path, "eyes", f"@hookimpl\ndef torso_backbone_built(): {act}")
    ((_, call),) = load(plugins_dirs=[tmp_path]).callers("torso_backbone_built")
    plugin = f"plugin 'eyes' ({tmp_path / 'eyes.py'})"
    assert refusal(call, backbone=None, kind=kind) == text.format(plugin, "--debug for its traceback")
