"""Features of many pictures, in files: listed once, computed in shards, each published by one rename."""

from importlib.util import find_spec

from torso.errors import OptionError

if not all(map(find_spec, ("pyarrow", "tqdm"))):
    fix = "pip install 'torso[features]'"
    raise OptionError("features are written with pyarrow and tqdm, which are not installed", notes=[("fix", fix)])
