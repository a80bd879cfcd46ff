from .contrastive_projection import ContrastiveProjection, pooling_by_name

__all__ = ["ContrastiveProjection", "pooling_by_name"]
