"""The sizes that sync works with; apart from the rest, so that planning a job loads nothing heavy."""

#: Size in pixels at which a frame's luma is handed to :func:`vsalign.signature.sign`, any aspect ratio squeezed into it.
THUMB_WIDTH, THUMB_HEIGHT = 256, 144
#: Bytes that are kept of a frame: 172,800 frames take 896 MB.
SIGNATURE_BYTES = 5184
