from .momo_decoder import MoMoDecoder

__all__ = ["MoMoDecoder"]
