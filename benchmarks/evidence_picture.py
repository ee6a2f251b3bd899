"""Draws the evidence of one rollout over time: the trace of benchmarks/rollouts.py as an SVG."""

from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 420, 56, 20, 56, 48
GOOD, BAD, INK, PALE = "#1a7f64", "#b3261e", "#24292f", "#8c959f"
BANDS = {"Shadowing": "#eef2f6", "Canary": "#dfeaf5", "Promoted": "#e2f1ea", "FallingBack": "#f8e1df"}
LEAST, MOST = -4.0, 16.0
"""Of the axis of evidence, in nats; what is beyond is drawn at its edge."""


class Scale:
    """Places minutes and nats on the page."""

    def __init__(self, minutes: float) -> None:
        """Let so many minutes take the whole width."""
        self._minutes = minutes

    def x(self, minutes: float) -> float:
        """Return the place of a moment, in pixels from the left."""
        return LEFT + (WIDTH - LEFT - RIGHT) * minutes / self._minutes

    def y(self, nats: float) -> float:
        """Return the place of evidence, in pixels from the top."""
        share = (min(max(nats, LEAST), MOST) - LEAST) / (MOST - LEAST)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def picture(trace: Sequence[dict[str, Any]]) -> str:
    """Return the SVG of a trace: bands for phases and steps, the evidence for the pattern and against it, and
    the limits at which one promotes and the other rolls back.
    """
    scale = Scale(trace[-1]["minutes"])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_bands(scale, trace),
        *_axes(scale, trace[-1]["minutes"]),
        *_limit(scale, trace, "for", GOOD),
        *_limit(scale, trace, "against", BAD),
        *(_line(scale, piece, "for", GOOD) for piece in _pieces(trace, "for")),
        *(_line(scale, piece, "against", BAD) for piece in _pieces(trace, "against")),
        *_legend(),
        *_fall(scale, trace),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bands(scale: Scale, trace: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a band for each phase, and for each step of the canary."""
    starts = [i for i in range(len(trace)) if i == 0 or _band(trace[i]) != _band(trace[i - 1])]
    for start, end in zip(starts, [*starts[1:], len(trace) - 1], strict=True):
        phase = trace[start]["phase"]
        left, right = scale.x(trace[start]["minutes"]), scale.x(trace[end]["minutes"])
        if phase not in BANDS or right - left < 1:
            continue
        colour = BANDS[phase]
        yield (
            f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}" '
            f'fill="{colour}" stroke="#ffffff"/>'
        )
        if right - left > 40:
            yield _text((left + right) / 2, TOP - 8, _band(trace[start]), anchor="middle")


def _band(look: dict[str, Any]) -> str:
    phase = str(look["phase"])
    return {"Shadowing": "shadow", "Canary": f"{look['step']} %"}.get(phase, phase.lower())


def _axes(scale: Scale, minutes: float) -> Iterator[str]:
    """Yield the axes, with their words."""
    bottom = HEIGHT - BOTTOM
    for nats in range(int(LEAST), int(MOST) + 1, 4):
        y = scale.y(nats)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de" />'
        yield _text(LEFT - 8, y + 4, str(nats), anchor="end")
    every = next(step for step in (5, 10, 20, 30, 60, 120, 240, 480, 1440) if minutes / step <= 10)
    for minute in range(0, int(minutes) + 1, every):
        yield _text(scale.x(minute), bottom + 18, str(minute), anchor="middle")
    yield _text((LEFT + WIDTH) / 2, HEIGHT - 8, "minutes", anchor="middle")
    yield f'<text transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">nats</text>'


def _limit(scale: Scale, trace: Sequence[dict[str, Any]], what: str, colour: str) -> Iterator[str]:
    """Yield the line that evidence has to reach."""
    known = [look[f"{what}_limit"] for look in trace if look[f"{what}_limit"] is not None]
    y = scale.y(known[-1])
    yield (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
        'stroke-dasharray="6 4"/>'
    )


def _pieces(trace: Sequence[dict[str, Any]], what: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the stretches in which a value is known. The certificate begins anew where exposure begins, and
    says nothing where nothing is measured."""
    piece: list[dict[str, Any]] = []
    for before, look in zip([None, *trace], trace, strict=False):
        anew = what == "for" and before is not None and _stream(before) != _stream(look)
        if look[what] is None or anew or look["phase"] not in BANDS:
            if len(piece) > 1:
                yield piece
            piece = []
        if look[what] is not None and look["phase"] in BANDS:
            piece.append(look)
    if len(piece) > 1:
        yield piece


def _stream(look: dict[str, Any]) -> bool:
    return bool(look["phase"] == "Shadowing")


def _line(scale: Scale, piece: Sequence[dict[str, Any]], what: str, colour: str) -> str:
    points = " ".join(f"{scale.x(look['minutes']):.1f},{scale.y(look[what]):.1f}" for look in piece)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _legend() -> Iterator[str]:
    """Yield what the colours mean."""
    words = (
        (GOOD, LEFT, "evidence that recall holds; at the dashed line it certifies"),
        (BAD, LEFT + 390, "evidence that it doesn't; at the dashed line it rolls back"),
    )
    for colour, x, said in words:
        yield f'<rect x="{x}" y="14" width="18" height="4" fill="{colour}"/>'
        yield _text(x + 26, 20, said)


def _fall(scale: Scale, trace: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a mark where recall falls."""
    fell = next((look for look in trace if look["fallen"]), None)
    if fell is None:
        return
    x = scale.x(fell["minutes"])
    yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{PALE}"/>'
    yield _text(x - 6, HEIGHT - BOTTOM - 8, "recall falls here", anchor="end")


def _text(x: float, y: float, said: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'
