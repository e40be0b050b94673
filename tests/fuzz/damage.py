"""Damage that is drawn at random, guided by nothing: each input follows from its number, and can be made again."""

from __future__ import annotations

import random
from collections.abc import Sequence

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (b"nan", b"inf", b"1e999", b"-1", b":", b"\n", b"#", b" ", b"99999999999999999999", b"[" * 50, b"null", b"{}")


def damaged(seeds: Sequence[bytes], number: int, seed: int = 0) -> bytes:
    """One of the seeds with one to five damages; every seventh input is cut, and nothing else."""
    draw = random.Random(f"{seed}/{number}")
    content = bytearray(draw.choice(seeds))
    if number % 7 == 0:
        return bytes(content[: draw.randrange(len(content) + 1)])
    for _ in range(draw.randint(1, 5)):
        _damage(content, draw, seeds)
    return bytes(content)


def _damage(content: bytearray, draw: random.Random, seeds: Sequence[bytes]) -> None:
    """One damage, in place; the first byte, which says how the input is wrapped, stays."""
    place = draw.randrange(1, max(2, len(content)))
    if draw.random() < 0.5:
        place = min(place, draw.randrange(1, 200))  # headers decide most
    length = min(draw.choice((1, 1, 2, 4, 8, 64)), len(content) - place)
    match draw.randrange(8):
        case 0:
            for index in range(place, place + max(0, length)):
                content[index] ^= 1 << draw.randrange(8)
        case 1:
            content[place : place + length] = draw.randbytes(max(0, length))
        case 2:
            width = draw.choice((1, 2, 4, 8))
            value = draw.choice(NUMBERS) & (1 << 8 * width) - 1
            content[place : place + width] = value.to_bytes(width, draw.choice(("little", "big")))
        case 3:
            content[place:place] = draw.randbytes(draw.randint(1, 16))
        case 4:
            del content[place : place + length]
        case 5:
            content[place:place] = content[place : place + 64] * draw.randint(1, 8)
        case 6:
            content[place : place + length] = draw.choice(WORDS)
        case _:
            other = draw.choice(seeds)
            content[place:] = other[draw.randrange(len(other)) :]
