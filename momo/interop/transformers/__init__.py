"""This project's models as transformers has them; importing this package makes the Auto classes know them."""

import transformers as hf

from .configuration_momo import MoMoConfig
from .convert import from_transformers, processor_for, to_transformers
from .modeling_momo import MoMoModel, MoMoPreTrainedModel
from .modeling_momo_heads import (
    MoMoForImageClassification,
    MoMoForImageTextRetrieval,
    MoMoForQuestionAnswering,
    MoMoForSequenceClassification,
)
from .modeling_momo_masked import MoMoForMaskedLM
from .modeling_momo_pretraining import MoMoForPreTraining

_AUTO = {
    "AutoModel": MoMoModel,
    "AutoModelForImageClassification": MoMoForImageClassification,
    "AutoModelForMaskedLM": MoMoForMaskedLM,
    "AutoModelForPreTraining": MoMoForPreTraining,
    "AutoModelForSequenceClassification": MoMoForSequenceClassification,
    "AutoModelForVisualQuestionAnswering": MoMoForQuestionAnswering,
    "AutoModelForZeroShotImageClassification": MoMoForImageTextRetrieval,
}

hf.AutoConfig.register("momo", MoMoConfig)
MoMoConfig.register_for_auto_class()  # save_pretrained then adds these modules: the folder needs no momo installed
for _name, _model in _AUTO.items():
    getattr(hf, _name).register(MoMoConfig, _model)
    _model.register_for_auto_class(_name)
hf.AutoTokenizer.register(MoMoConfig, fast_tokenizer_class=hf.BertTokenizerFast)
hf.AutoImageProcessor.register(MoMoConfig, fast_image_processor_class=hf.ViTImageProcessorFast)
hf.AutoProcessor.register(MoMoConfig, hf.VisionTextDualEncoderProcessor)

__all__ = [
    "MoMoConfig",
    "MoMoForImageClassification",
    "MoMoForImageTextRetrieval",
    "MoMoForMaskedLM",
    "MoMoForPreTraining",
    "MoMoForQuestionAnswering",
    "MoMoForSequenceClassification",
    "MoMoModel",
    "MoMoPreTrainedModel",
    "from_transformers",
    "processor_for",
    "to_transformers",
]
