"""Colours of the diversity figure: a wheel of hues, light and dark in turn, so that neighbours differ to every eye."""

from math import cos, pi, sin

_LIGHTNESS, _CHROMA, _FIRST_HUE = (0.67, 0.79), 0.11, 0.70
"""In the OKLCH space (Ottosson 2020), whose equal steps look equal; hue as a part of the circle, 0.70 is blue."""


def wheel(count: int) -> list[str]:
    """`count` colours as `#rrggbb`, in the order of their hues."""
    return [_hex(_LIGHTNESS[n % 2], _CHROMA, _FIRST_HUE + n / max(count, 1)) for n in range(count)]


def tint(colour: str, part: float) -> str:
    """`colour` mixed with white: `part` of white, from 0 to 1."""
    return "#" + "".join(f"{round(value + (255 - value) * part):02x}" for value in bytes.fromhex(colour[1:]))


def ink_on(colour: str) -> str:
    """White or nearly black, whichever can be read better on `colour` (WCAG 2 contrast)."""
    linear = [_linear(value / 255) for value in bytes.fromhex(colour[1:])]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.06 else "#1a1a1a"


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """OKLCH as sRGB, cut off where it leaves the gamut; the matrices are Ottosson's."""
    a, b = chroma * cos(2 * pi * hue), chroma * sin(2 * pi * hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    cut = [min(max(value, 0.0), 1.0) for value in linear]
    encoded = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in cut]
    return "#" + "".join(f"{round(255 * value):02x}" for value in encoded)
