from .momo_vit import ARCHS, MoMoViT, arch_settings

__all__ = ["ARCHS", "MoMoViT", "arch_settings"]
