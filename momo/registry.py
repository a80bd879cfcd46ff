"""Child registries of MMEngine's, scope `momo`.

Each names the packages that fill it, so that `type='MoMoViT'` in a config imports what it needs and nothing else. Those
without a package are there so that names of MMEngine's own are found under this scope.
"""

from mmengine import registry as _root
from mmengine.registry import Registry


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope="momo", locations=list(locations))


# The second makes MMEngine, and what is built on it, read the weights of these models as plain data.
MODELS = _child("model", _root.MODELS, "momo.models", "momo.engine.checkpoint")
DATASETS = _child("dataset", _root.DATASETS, "momo.datasets")
DATA_SAMPLERS = _child("data sampler", _root.DATA_SAMPLERS, "momo.datasets")
TRANSFORMS = _child("transform", _root.TRANSFORMS, "momo.datasets")
METRICS = _child("metric", _root.METRICS, "momo.evaluation")
EVALUATOR = _child("evaluator", _root.EVALUATOR, "momo.evaluation")
HOOKS = _child("hook", _root.HOOKS, "momo.engine")
LOOPS = _child("loop", _root.LOOPS, "momo.engine")
MODEL_WRAPPERS = _child("model_wrapper", _root.MODEL_WRAPPERS, "momo.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child("optimizer wrapper constructor", _root.OPTIM_WRAPPER_CONSTRUCTORS, "momo.engine")
OPTIM_WRAPPERS = _child("optim_wrapper", _root.OPTIM_WRAPPERS)
OPTIMIZERS = _child("optimizer", _root.OPTIMIZERS)
PARAM_SCHEDULERS = _child("parameter scheduler", _root.PARAM_SCHEDULERS)
LOG_PROCESSORS = _child("log_processor", _root.LOG_PROCESSORS)
VISUALIZERS = _child("visualizer", _root.VISUALIZERS)
VISBACKENDS = _child("vis_backend", _root.VISBACKENDS, "momo.engine")
