"""The public names, each from the module that defines it: type checkers and ``__init__.py`` read them here."""

# fmt: off
# isort: off
from torso.api import (
    Backbones as Backbones, attach as attach, create_backbone as create_backbone,
    list_architectures as list_architectures, load as load, load_specs as load_specs, read_graph as read_graph,
)
from torso.artifact.diff import diff as diff
from torso.artifact.verify import Check as Check, Verification as Verification, verify as verify
from torso.backbone import Backbone as Backbone
from torso.base_model import get_base_model as get_base_model, preprocess_for as preprocess_for
from torso.contracts.architecture import (
    Architecture as Architecture, InputRules as InputRules, License as License, Weights as Weights,
)
from torso.contracts.engine import Engine as Engine
from torso.contracts.export_format import ExportFormat as ExportFormat
from torso.contracts.freeze_policy import FreezePolicy as FreezePolicy
from torso.contracts.hookspecs import hookimpl as hookimpl
from torso.contracts.preprocessing import Preprocessing as Preprocessing, Transform as Transform
from torso.contracts.truncation import Truncation as Truncation
from torso.contracts.weights import (
    ChannelAdapter as ChannelAdapter, WeightsFile as WeightsFile, WeightSource as WeightSource,
)
from torso.errors import (
    ClashError as ClashError, CutError as CutError, DiskError as DiskError, FreezeWarning as FreezeWarning,
    IntegrityError as IntegrityError, ManyErrors as ManyErrors, OptionError as OptionError,
    OutputExistsError as OutputExistsError, PixelWarning as PixelWarning, PluginError as PluginError,
    SpecError as SpecError, TorsoError as TorsoError, UnknownNameError as UnknownNameError,
)
from torso.extraction.extract import extract as extract
from torso.extraction.features import Features as Features
from torso.graph import (
    Branch as Branch, Cost as Cost, Feature as Feature, FreezePlan as FreezePlan, Graph as Graph,
    Node as Node,
)
from torso.modeling.freeze_guard import FreezeGuard as FreezeGuard
from torso.planning import Plan as Plan
from torso.planning.keywords import plan as plan
from torso.plugins.registry import Registry as Registry, architecture as architecture, register as register
from torso.probing import probe as probe
from torso.specs.options import Option as Option, Options as Options
from torso.training.learning_rates import scale_learning_rates as scale_learning_rates
# fmt: on

__all__: list[str]
__version__: str
