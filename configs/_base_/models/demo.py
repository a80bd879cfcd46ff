"""The demo's size: 48-pixel images in 36 patches, an encoder of 4 blocks of 128, decoders of 2 blocks of 96."""

_backbone = dict(arch=dict(embed_dim=128, depth=4, num_heads=4), img_size=48, patch_size=8, max_text_len=64)
# The pictures lie on white: 0 then means background. 93 is their root mean square distance from white.
_preprocessor = dict(mean=[255.0, 255.0, 255.0], std=[93.0, 93.0, 93.0])
_decoder = dict(decoder_dim=96, depth=2, num_heads=4)
