"""What MMEngine's runner reads from a config, as tables for `check_config`.

Each table says where in MMEngine its entries come from; the tests compare them with the installed version.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.dist import init_dist
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch import nn
from torch.utils.data import DataLoader

from .signatures import Accepted, accepted_parameters, without

KEYWORD = inspect.Parameter.KEYWORD_ONLY


def fields(**annotations: object) -> Accepted:
    """A dict without a class behind it: all its keys, each optional."""
    return Accepted({k: inspect.Parameter(k, KEYWORD, default=None, annotation=a) for k, a in annotations.items()})


def merged(*several: Accepted) -> Accepted:
    """All keys of `several`, each optional; the first to name a key says its type."""
    parameters: dict[str, inspect.Parameter] = {}
    for accepted in several:
        for name, parameter in accepted.parameters.items():
            default = None if parameter.default is inspect.Parameter.empty else parameter.default
            parameters.setdefault(name, parameter.replace(kind=KEYWORD, default=default))
    return Accepted(parameters, any(accepted.is_open for accepted in several))


# Top level: Runner.__init__ names most of what it reads; the rest are its `self.cfg.get(...)` and Config.fromfile's.
TOP_LEVEL = merged(
    fields(
        activation_checkpointing=list,
        compile=bool | dict,
        custom_imports=dict,
        default_hooks=dict,  # Runner's own annotation forbids None, which switches a hook off
        efficient_conv_bn_eval=list,
        find_unused_parameters=bool,
        model_wrapper_cfg=dict,
        sync_bn=str,
    ),
    without(accepted_parameters(Runner), "cfg"),
)

# Runner.__init__ wants all of a group or none.
GROUPS = (
    ("train_dataloader", "train_cfg", "optim_wrapper"),
    ("val_dataloader", "val_cfg", "val_evaluator"),
    ("test_dataloader", "test_cfg", "test_evaluator"),
)

# Runner.build_dataloader; it always passes a sampler, and DataLoader then refuses `shuffle`.
DATALOADER = merged(
    without(accepted_parameters(DataLoader), "shuffle"),
    fields(num_batch_per_epoch=int, disable_subprocess_warning=bool, loaders=dict),
)
# momo.datasets.build_loader, which makes the sampler and the collate function itself.
MODALITY_LOADER = without(
    merged(accepted_parameters(DataLoader), fields(max_tokens=int)),
    *("shuffle", "sampler", "batch_sampler", "drop_last", "collate_fn", "worker_init_fn", "generator"),
)
SHARED_LOADER = merged(fields(loaders=dict, primary=str), without(MODALITY_LOADER, "dataset"))

# Dicts with no class of their own, by key path.
PLAIN_SECTIONS: Mapping[str, Accepted] = {
    "auto_scale_lr": fields(enable=bool, base_batch_size=int),  # Runner.scale_lr
    "compile": merged(without(accepted_parameters(torch.compile), "model")),
    "custom_imports": fields(imports=str | list[str], allow_failed_imports=bool),
    "env_cfg": fields(cudnn_benchmark=bool, mp_cfg=dict, dist_cfg=dict, resource_limit=int),  # Runner.setup_env
    "env_cfg.mp_cfg": merged(without(accepted_parameters(set_multi_processing), "distributed")),
    "env_cfg.dist_cfg": Accepted(
        merged(
            fields(timeout=float),
            without(accepted_parameters(init_dist), "launcher"),
            without(accepted_parameters(torch.distributed.init_process_group), "rank", "world_size", "store"),
        ).parameters
    ),
    "randomness": merged(without(accepted_parameters(Runner.set_randomness), "self")),
}

# Runner.register_default_hooks
DEFAULT_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")

# OptimWrapper.__init__: clip_grad['type'] chooses.
CLIP_GRAD: Mapping[str, Callable] = {"norm": nn.utils.clip_grad_norm_, "value": nn.utils.clip_grad_value_}

# What the builder passes by itself, by registry: these need not be in a config.
INJECTED: Mapping[str, frozenset[str]] = {
    "DATA_SAMPLERS": frozenset({"dataset", "seed", "sampler", "batch_size"}),
    "LOOPS": frozenset({"runner", "dataloader", "evaluator"}),
    "MODEL_WRAPPERS": frozenset({"module", "device_ids"}),
    "OPTIM_WRAPPERS": frozenset({"optimizer"}),
    "OPTIMIZERS": frozenset({"params"}),
    "PARAM_SCHEDULERS": frozenset({"optimizer", "epoch_length", "end"}),
    "VISBACKENDS": frozenset({"save_dir"}),
    "VISUALIZERS": frozenset({"name", "save_dir"}),
}

# What the builder takes out of the dict before the class sees it, by registry.
EXTRA: Mapping[str, Accepted] = {
    "HOOKS": fields(priority=str | int),  # Runner.register_hook
    "OPTIM_WRAPPERS": fields(constructor=str, paramwise_cfg=dict),  # build_optim_wrapper
    "PARAM_SCHEDULERS": fields(convert_to_iter_based=bool),  # build_scheduler_from_cfg
    "WEIGHT_INITIALIZERS": fields(layer=str | list[str], override=dict | list[dict]),  # mmengine.model.initialize
}
# `norm_cfg=dict(type='LN', eps=1e-6)`: the builder passes the layer's other arguments, and takes this key out.
LAYER_CFG = fields(requires_grad=bool)

# Top-level dicts that are built: registry, and the type where none is named.
TYPED_SECTIONS: Mapping[str, tuple[str, str | None]] = {
    "custom_hooks": ("HOOKS", None),
    "log_processor": ("LOG_PROCESSORS", "LogProcessor"),
    "model": ("MODELS", None),
    "model_wrapper_cfg": ("MODEL_WRAPPERS", "MMDistributedDataParallel"),
    "param_scheduler": ("PARAM_SCHEDULERS", None),
    "test_cfg": ("LOOPS", "TestLoop"),
    "test_evaluator": ("METRICS", None),
    "val_cfg": ("LOOPS", "ValLoop"),
    "val_evaluator": ("METRICS", None),
    "visualizer": ("VISUALIZERS", None),
}

# The registry that a parameter's dict is built from, by the parameter's name; others use that of the dict around them.
REGISTRY_OF: Mapping[str, str] = {
    "backbone": "MODELS",
    "batch_sampler": "DATA_SAMPLERS",
    "collate_fn": "FUNCTIONS",
    "dataset": "DATASETS",
    "datasets": "DATASETS",
    "head": "MODELS",
    "init_cfg": "WEIGHT_INITIALIZERS",
    "metrics": "METRICS",
    "neck": "MODELS",
    "optimizer": "OPTIMIZERS",
    "pipeline": "TRANSFORMS",
    "sampler": "DATA_SAMPLERS",
    "transforms": "TRANSFORMS",
    "vis_backends": "VISBACKENDS",
    "worker_init_fn": "FUNCTIONS",
}

# Other arguments that OpenMMLab's toolkits build as they are.
BUILT_AS_GIVEN = frozenset({"augments", "data_preprocessor", "loss"})

# Arguments that are dicts without a class, by the class that reads them.
ARGUMENT_KEYS: Mapping[tuple[str, str], Accepted] = {
    ("MoMoViT", "arch"): fields(embed_dim=int, depth=int, num_heads=int, mlp_ratio=float),
    ("ImageClassifier", "train_cfg"): fields(augments=list | dict, probs=list[float]),
}

# Arguments whose dict has rules of its own in `check_config`.
CHECKED_APART = frozenset({"clip_grad", "paramwise_cfg"})

# Annotations of MMEngine that are narrower than what its code takes.
WRONG_ANNOTATIONS = frozenset({("AmpOptimWrapper", "loss_scale")})


@functools.cache
def paramwise_keys(constructor: type) -> Accepted:
    """The keys of paramwise_cfg that an optimizer wrapper's constructor reads, found in its and its parents' source."""
    source = "".join(inspect.getsource(cls) for cls in constructor.__mro__ if cls is not object)
    keys = re.findall(r"paramwise_cfg(?:\.get\(|\.pop\(|\[)\s*['\"](\w+)['\"]", source)
    keys += re.findall(r"['\"](\w+)['\"] in self\.paramwise_cfg", source)
    return fields(**{key: dict if key == "custom_keys" else float | bool for key in keys})


def group_keys(optimizer: type) -> Accepted:
    """The keys of one entry of paramwise_cfg's custom_keys: two factors, or any setting of a parameter group, be it an
    argument of the optimizer or something that its source reads from the group."""
    read = re.findall(r"group(?:\.get\(|\[)\s*['\"](\w+)['\"]", inspect.getsource(optimizer))
    known = merged(accepted_parameters(optimizer), fields(**dict.fromkeys(read, Any)))
    return merged(fields(lr_mult=float, decay_mult=float), without(known, "params"))
