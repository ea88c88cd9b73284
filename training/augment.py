"""Augment training images at random, in TensorFlow, a whole batch at a time.

The published test images differ from the training images in exposure and crop, so every cue about how an image was made
is varied: framing, aspect ratio, tone curve, shading, sharpness, noise and the corners with their markers. All ranges
are in the recipe; every random number follows from the given seed.
"""

import math
from typing import Final

import tensorflow as tf

from training.augmentation import Augmentation

BANDS: Final = (2, 4, 8, 16)
"""The coarser scale of each band of detail, in pixels."""


def augment(
    images: tf.Tensor,
    seed: tf.Tensor,
    ranges: Augmentation,
    size: int,
    view: float = 1.0,
    *,
    boxes: tf.Tensor | None = None,
) -> tf.Tensor:
    """Augment each image at random: uint8 (batch, side, side, 1) to (batch, size, size, 1); `seed` is int32 (2,).

    `boxes` are the lungs' bounding boxes, float32 (batch, 4): left, top, right and bottom as fractions of the image,
    NaN where none were found; needed where images are shown in the framing of others.

    `view` is the central fraction of the side that an unchanged image shows: the margin around it is for crops that
    reach beyond. Changes without a range are skipped: without any range, images are only shrunk.
    """
    seeds = tf.random.split(seed, 6)
    plain = _shrink(_middle(images, view), size)
    x = (
        _reframed(images, seeds[0], ranges, size, view, boxes=boxes)
        if ranges.reframes
        else tf.cast(plain, tf.float32) / 255.0
    )
    if ranges.retones:
        x = _retone(x, seeds[1], ranges)
    if ranges.bands or ranges.borrowed:
        x = _weigh_bands(x, seeds[2], ranges)
    if ranges.corners:
        x = _black_corner(x, seeds[3], ranges)
    if ranges.noise:
        spread = _draw(seeds[4], x, 0.0, ranges.noise)
        # One noise field serves the batch at different strengths: one per image took a third of the time.
        x += spread * tf.random.stateless_normal(tf.shape(x[:1]), seeds[4] + 1)
    changed = tf.cast(tf.round(tf.clip_by_value(x, 0.0, 1.0) * 255.0), tf.uint8)
    return tf.where(_draw(seeds[5], x, 0.0, 1.0) < ranges.untouched, plain, changed)


def _middle(images: tf.Tensor, view: float) -> tf.Tensor:
    side = images.shape[1]
    seen = round(side * view)
    start = (side - seen) // 2
    return images[:, start : start + seen, start : start + seen]


def _reframed(
    images: tf.Tensor, seed: tf.Tensor, ranges: Augmentation, size: int, view: float, *, boxes: tf.Tensor | None
) -> tf.Tensor:
    """Average away detail that even the tightest crop cannot show, then reframe: float32 from 0 to 1.

    The interpolation reads four pixels; from images of 224 to an input of 64 it would skip two of three, whereas
    serving averages over all.
    """
    needed = math.ceil(size / (math.sqrt(ranges.area[0]) * view))
    if needed < images.shape[1]:
        images = _shrink(images, needed)
    return _reframe(tf.cast(images, tf.float32) / 255.0, seed, ranges, size, view, boxes=boxes)


def _shrink(images: tf.Tensor, size: int) -> tf.Tensor:
    """Resize images with the filter that `shared.images.preprocess.fit` uses: each pixel averages all it covers."""
    if images.shape[1] == size:
        return images
    small = tf.image.resize(images, (size, size), antialias=True)
    return tf.cast(tf.round(tf.clip_by_value(small, 0.0, 255.0)), tf.uint8)


def _draw(seed: tf.Tensor, x: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Draw one number per image, shaped (batch, 1, 1, 1)."""
    return tf.random.stateless_uniform((tf.shape(x)[0], 1, 1, 1), seed, low, high)


def _reframe(
    x: tf.Tensor, seed: tf.Tensor, ranges: Augmentation, size: int, view: float, *, boxes: tf.Tensor | None
) -> tf.Tensor:
    """Crop, rotate, stretch, shift and mirror in a single interpolation, to images of `size` pixels."""
    seeds = tf.random.split(seed, 7)
    side = tf.cast(tf.shape(x)[1], tf.float32)
    degrees, area, aspect, right, down, coin, coin_down = (
        tf.reshape(_draw(seeds[i], x, low, high), (-1,))
        for i, (low, high) in enumerate(
            (
                (-ranges.rotation, ranges.rotation),
                ranges.area,
                (-ranges.aspect / 2, ranges.aspect / 2),
                (-1.0, 1.0),
                (-1.0, 1.0),
                (0.0, 1.0),
                (0.0, 1.0),
            )
        )
    )
    zoom = tf.sqrt(area) * view
    room = tf.abs(view - zoom) / 2.0 + ranges.shift * view
    angle = degrees * (3.14159265 / 180.0)
    mirror = tf.where(coin < ranges.flip, -1.0, 1.0)
    mirror_down = tf.where(coin_down < ranges.flip_down, -1.0, 1.0)
    scale = zoom * side / size
    a0 = scale * tf.exp(aspect) * tf.cos(angle) * mirror
    a1 = -scale * tf.exp(aspect) * tf.sin(angle) * mirror_down
    b0 = scale * tf.exp(-aspect) * tf.sin(angle) * mirror
    b1 = scale * tf.exp(-aspect) * tf.cos(angle) * mirror_down
    middle, target = (side - 1.0) / 2.0, (size - 1.0) / 2.0
    a2 = middle - target * (a0 + a1) + right * room * side
    b2 = middle - target * (b0 + b1) + down * room * side
    nothing = tf.zeros_like(angle)
    if not ranges.reframed or boxes is None:
        transforms = tf.stack([a0, a1, a2, b0, b1, b2, nothing, nothing], axis=1)
        return _transform(x, transforms, size, "CONSTANT")
    # Each row of the map leads to the image in the other's framing, and from there to the image itself.
    (x0, x1), (y0, y1) = _into_next_frame(boxes, ranges.reframed, tf.random.split(seed, 8)[7])
    across = [a0 * x1, a1 * x1, (a2 + 0.5) * x1 + x0 * side - 0.5]
    along = [b0 * y1, b1 * y1, (b2 + 0.5) * y1 + y0 * side - 0.5]
    transforms = tf.stack([*across, *along, nothing, nothing], axis=1)
    # Beyond the edge half of the batches are black, as outside the beam, and half repeat the edge.
    return tf.cond(
        tf.random.stateless_uniform((), seed) < 0.5,
        lambda: _transform(x, transforms, size, "CONSTANT"),
        lambda: _transform(x, transforms, size, "NEAREST"),
    )


def _into_next_frame(
    boxes: tf.Tensor, share: float, seed: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return start and length, per axis, of the part of each image that puts its lungs where the next image's are.

    As fractions of the image, (batch,) each: 0 and 1 for images left alone, at random or because no lungs were found.
    """
    others = tf.roll(boxes, 1, axis=0)
    coin = tf.random.stateless_uniform((tf.shape(boxes)[0],), seed)
    moves = (coin < share) & tf.reduce_all(tf.math.is_finite(boxes) & tf.math.is_finite(others), axis=1)

    def along(first: int) -> tuple[tf.Tensor, tf.Tensor]:
        length = (boxes[:, first + 2] - boxes[:, first]) / (others[:, first + 2] - others[:, first])
        start = boxes[:, first] - others[:, first] * length
        return tf.where(moves, start, 0.0), tf.where(moves, length, 1.0)

    return along(0), along(1)


def _transform(x: tf.Tensor, transforms: tf.Tensor, size: int, fill_mode: str) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=transforms,
        output_shape=(size, size),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill_mode,
    )


def _retone(x: tf.Tensor, seed: tf.Tensor, ranges: Augmentation) -> tf.Tensor:
    """Bend the tone curve and add a slope of brightness across the image."""
    seeds = tf.random.split(seed, 5)
    x = tf.pow(tf.clip_by_value(x, 1e-4, 1.0), tf.exp(_draw(seeds[0], x, -ranges.gamma, ranges.gamma)))
    steep = x * x * (3.0 - 2.0 * x)
    x += _draw(seeds[1], x, *ranges.contrast) * (steep - x)
    across = tf.linspace(-1.0, 1.0, tf.shape(x)[1])
    slope_x = _draw(seeds[2], x, -ranges.shading, ranges.shading) * across[None, None, :, None]
    slope_y = _draw(seeds[3], x, -ranges.shading, ranges.shading) * across[None, :, None, None]
    # Shading multiplies: the unexposed border stays black.
    return x * (1.0 + slope_x + slope_y) + _draw(seeds[4], x, -ranges.brightness, ranges.brightness)


def _weigh_bands(x: tf.Tensor, seed: tf.Tensor, ranges: Augmentation) -> tf.Tensor:
    """Rescale detail of about 2, 4, 8 and 16 pixels, first towards another image's strengths, then at random.

    The strength of each band tells of the device and its processing rather than of the child. The next image of the
    batch lends its strengths; it is a random one, as batches are in random order.
    """
    seeds = tf.random.split(seed, 2 + len(BANDS))
    size = tf.shape(x)[1:3]
    share = _draw(seeds[0], x, 0.0, 1.0)
    share = tf.where(_draw(seeds[1], x, 0.0, 1.0) < ranges.borrowed, share, 0.0)
    finer, out = x, 0.0
    for i, pixels in enumerate(BANDS):
        coarser = tf.image.resize(tf.nn.avg_pool2d(x, pixels, pixels, "SAME"), size)
        band = finer - coarser
        strength = tf.math.reduce_std(band, axis=(1, 2, 3), keepdims=True) + 1e-3
        lent = tf.clip_by_value(tf.roll(strength, 1, axis=0) / strength, 0.25, 4.0)
        out += tf.pow(lent, share) * tf.exp(_draw(seeds[2 + i], x, -ranges.bands, ranges.bands)) * band
        finer = coarser
    return out + finer


def _black_corner(x: tf.Tensor, seed: tf.Tensor, ranges: Augmentation) -> tf.Tensor:
    """Black out a rectangle in one of the four corners of some images."""
    seeds = tf.random.split(seed, 5)
    place = tf.linspace(0.0, 1.0, tf.shape(x)[1])
    columns, rows = place[None, None, :, None], place[None, :, None, None]
    columns = tf.where(_draw(seeds[0], x, 0.0, 1.0) < 0.5, columns, 1.0 - columns)
    rows = tf.where(_draw(seeds[1], x, 0.0, 1.0) < 0.5, rows, 1.0 - rows)
    inside = (columns < _draw(seeds[2], x, 0.0, ranges.corner_side)) & (
        rows < _draw(seeds[3], x, 0.0, ranges.corner_side)
    )
    return tf.where(inside & (_draw(seeds[4], x, 0.0, 1.0) < ranges.corners), 0.0, x)
