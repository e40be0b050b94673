"""How large a file may be, packed and unpacked: more than any official one, far less than what harms a machine.

Some hundred bytes can unpack to gigabytes, and a header can promise any size. So nothing is unpacked without a bound,
and no memory is reserved on the word of a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedIOBase

MAX_DOWNLOAD = 768 * 2**20
"""Bytes of a packed file. The largest official one, EMNIST's archive, has 562 million."""
MAX_CONTENT = 256 * 2**20
"""Bytes of an unpacked file. The largest official one unpacks to 225 million."""

_PIECE = 2**20


def pieces(stream: BufferedIOBase, limit: int) -> Iterator[bytes]:
    """The stream's bytes up to `limit`, piece by piece."""
    while piece := stream.read(min(_PIECE, limit)):
        limit -= len(piece)
        yield piece


def read_at_most(stream: BufferedIOBase, limit: int) -> bytearray:
    """Up to `limit` bytes of a stream. Ask for one more than may come, to learn whether there are too many."""
    content = bytearray()
    for piece in pieces(stream, limit):
        content += piece
    return content
