"""Values that are nearly right, with what to write instead."""

import re
from typing import Final

from torso.errors import TorsoError
from torso.specs.yaml_nodes import Node, text_of

_SIZE: Final = "(?:input|input_shape|shape|input_size|image_size|img_size|size)"
_N: Final = "[1-9][0-9]*"
_OPEN: Final = "(?:[Nn]one|null|~)"

# What the user wrote, as a line of YAML; and what to write, as another such line, or in words. The first row that matches
# decides. Without a row the error stays as it is.
_ROWS: Final = (
    (r"truncate: [cC]([1-5])(@expansion)?", r"truncate: {level: C\1\2}"),
    (rf"truncate: -?({_N})", r"truncate: {pop: \1}"),
    (r"truncate: \[(pop|stride|level|layer|match), ([^,]*)\]", r"truncate: {\1: \2}"),
    (r"truncate: (\[C[1-5]\b[^{]*\])", r"truncate: {levels: \1}"),
    (r"truncate: (\[[^{]+\])", r"truncate: {layers: \1}"),
    (r'(truncate|freeze|weights|pooling): ((?i:false)|"?None"?|0|null|~|)', r"\1: none"),
    (r"freeze: (?i:true|yes|on)|trainable: (?i:false)", "freeze: all"),
    (r"freeze: [cC]([1-5])", r"freeze: {through: C\1}"),
    (r"freeze: (\[[^{]+\])", r"freeze: {layers: \1}"),
    (r"trainable: (?i:true)", "freeze: none"),
    (r"(weights|pretrained): (?i:true)", r"leave \1 out: published weights are the default"),
    (r"pretrained: (?i:false)|weights: random", "weights: none"),
    (r'weights: ("?https?://.+)', r"weights: {url: \1}"),
    (r'weights: (.+\.(?:h5|keras)"?)', r"weights: {file: \1}"),
    (r"seed: ([0-9]+)", r"weights: {none: {seed: \1}}"),
    (rf'{_SIZE}: ["[]?({_N})(?:, | ?[x×] ?)({_N})["\]]?', r"input: {size: [\1, \2]}"),
    (rf"{_SIZE}: \[?({_N})\]?", r"input: {size: [\1, \1]}"),
    (rf"{_SIZE}: \[(?:{_OPEN}, )?({_N}, {_N}), ({_N})\]", r"input: {size: [\1], channels: \2}"),
    (rf"{_SIZE}: \[(?:{_OPEN}, )?{_OPEN}, {_OPEN}, ({_N})\]", r"input: {size: [null, null], channels: \1}"),
    (rf"{_SIZE}: (any|{_OPEN}|\[{_OPEN}(, {_OPEN})?\])", "input: {size: [null, null]}"),
    (rf"channels: ({_N})", r"input: {channels: \1}"),
    (r"pooling: ((?i:true)|average|mean|gap|global_?average.*)", "pooling: avg"),
    (r"pooling: (maximum|gmp|global_?max.*)", "pooling: max"),
    (r"(?:training_)?(level|layer|pop|stride|l\w+s(?=: \[))(?:_layers)?: (.+)", r"truncate: {\1: \2}"),
    (r"alpha: (.+)", r"options: {alpha: \1}"),
    (r"options: (\{.*)", r"move options: \1 to each backbone: they are of one architecture"),  # from defaults
    (r"preprocess: (?i:true)", "preprocess: {include: true}"),
    (r"backbone '(.+)': ([\w./-]+)", r"\1: {architecture: \2}"),
    (r"(include_top|include_preprocessing|preprocess): (?i:false|none)", r"leave \1 out: it is so already"),
    (r"name: .*", "leave name out: the key above is the name"),
    (r"include_top: .*", "leave include_top out, and add a head of your own: keras.layers.Dense"),
    (r"(classes|num_classes|classifier_activation): .*", r"leave \1 out: it is for the head, which you add yourself"),
    (r"dtype: (.+)", 'leave dtype out, and call keras.config.set_dtype_policy("\\1") first'),
    (r"input_tensor: .*", "leave input_tensor out, and call the model on it: backbone.model(x)"),
    (r"backbones: \[\{name: ([\w.-]+), ([^{}]+)\}.*", r"backbones: {\1: {\2}}"),
    (r"backbones: \[?([\w.-]+).*", r"backbones: {\1: {architecture: \1}}"),
    (r"backbones: \[.*", "put a name before each: backbones: {NAME: {architecture: ResNet50}}"),
)
_NODES: Final = (  # a name that is nearly no known one may be a node's
    (r"truncate: ([^\[{].*)", r"truncate: {layer: \1}"),
    (r"freeze: ([^\[{0-9-].*)", r"freeze: {through: \1}"),
)


def with_fix(error: TorsoError, key: str, node: Node, network: Node | None = None) -> TorsoError:
    """The same error with the line to write, where a row knows one; ``network`` is the architecture of the backbone."""
    line = f"{key}: {text_of(node)}"
    rows = _ROWS if "did you mean" in dict(error.notes) else (*_ROWS, *_NODES)
    fixes = (found.expand(template) for pattern, template in rows if (found := re.fullmatch(pattern, line)))
    fix, python = next(fixes, None), node.place.file is None
    if fix is None or (error.place is not None and error.place.path != node.place.path):
        return error
    if re.match(r"\w+: ", fix):
        # Options are keywords in Python: this architecture has none of that name. Of torso's own, only MobileNets have one.
        if fix.startswith("options: ") and (python or not network or not re.search("(?i)mobilenet|/", text_of(network))):
            return error
        fix = f"write {_in_python(fix) if python else fix}"
    kept = [note for note in error.notes if note[0] not in ("fix", "did you mean")]
    error.notes = (*kept, ("fix", fix))
    return error


def _in_python(line: str) -> str:
    import yaml  # slow to import, and needed for errors only

    ((key, value),) = yaml.safe_load(line).items()
    if key == "input" and {"size", "channels"} <= {*value}:
        return f"input_shape={(*value['size'], value['channels'])}"
    text = repr(value).replace("'", '"')
    return f"{key}={text}"
