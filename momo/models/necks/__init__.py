from .contrastive_projection import ContrastiveProjection, pooling_by_name
from .feature_pyramid import SimpleFeaturePyramid

__all__ = ["ContrastiveProjection", "SimpleFeaturePyramid", "pooling_by_name"]
