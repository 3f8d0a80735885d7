"""The size of the thumbs that sync compares; apart from the rest, so that planning a job loads nothing heavy."""

#: Size of a thumb in pixels, any aspect ratio squeezed into it: 172,800 frames take 498 MB, and a motion of a hundredth of a
#: thumb pixel still shows, because all 2,880 pixels see it.
THUMB_WIDTH, THUMB_HEIGHT = 72, 40
