"""Any picture file to plain RGB."""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ..models.errors import MediaError
from .media import check_source, name_of
from .messages import File
from .pixels import check_ratio

# What Pillow's readers let out when a file is not what it seems.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def is_picture(source: File) -> bool:
    """Whether a file is for `read_picture`, and not a video: an animated GIF is one.

    A picture that turns out to be damaged is a picture.

    Raises:
        MediaError: it cannot be read at all, see `check_source`.
    """
    check_source(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return image.format != "MPEG" and not (image.format == "GIF" and getattr(image, "is_animated", False))
    except Image.UnidentifiedImageError:
        return False
    except _PILLOW_ERRORS:
        return True


def read_picture(source: File | Image.Image) -> npt.NDArray[np.uint8]:
    """Decode a jpg, png, webp or whatever else Pillow reads; of an animation, the first frame.

    The camera's orientation tag is obeyed, transparency is laid on white, grey becomes RGB, and 16 bits
    a channel become 8.

    Args:
        source: path, content of a file, or a Pillow image.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        MediaError: the file cannot be read or is no picture, its pixels are floats, it is too large for
            Pillow's safety limit, a single pixel, or one side is over 200 times the other.
    """
    if isinstance(source, Image.Image):
        return _pixels(source, "the picture")
    check_source(source)
    name = name_of(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            check_ratio(image.height, image.width, name)
            image.load()
            return _pixels(image, name)
    except Image.UnidentifiedImageError as error:
        raise MediaError(f"{name} is not a picture this can read. Convert it to jpg or png") from error
    except _PILLOW_ERRORS as error:
        raise MediaError(f"{name} is damaged or too large ({error}). Export it again, or smaller") from error


def _pixels(image: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    check_ratio(image.height, image.width, name)
    if image.width * image.height == 1:
        # The reference would enlarge it, and the model describe a picture that nobody took.
        raise MediaError(f"{name} is a single pixel; there is nothing to see in it. Give a larger picture")
    return np.array(_to_rgb(ImageOps.exif_transpose(image), name))


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "F":
        raise MediaError(f"{name} has floating-point pixels, whose range is unknown. Convert it to 8 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow's own conversion cuts everything above 255 off.
        grey = np.clip(np.asarray(image, np.int64), 0, 65535) * 255 / 65535
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
