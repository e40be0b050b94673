"""Two sets in MNIST's layout with classes of their own: KMNIST and Fashion-MNIST, read from their prepared stores.

Sources: Clanuwat et al. 2018 (KMNIST), Xiao et al. 2017 (Fashion-MNIST). Neither shares classes with the digits, so
each makes a pair with a domain of its own classes, or with itself in other views.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from domainmetric.data.framing import Framing, Resize
from domainmetric.data.stored import Stored

KMNIST_CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@dataclass(frozen=True, kw_only=True)
class Kmnist(Stored):
    """KMNIST, ten cursive hiragana from old Japanese books: 60,000 / 10,000 grey images of 28x28.

    A character reaches to the border of its image, unlike a digit of MNIST: the default framing keeps all of it.
    """

    framing: Framing = field(default_factory=Resize)
    """How the 28x28 images come to the size of the networks."""

    @property
    def name(self) -> str:
        """kmnist."""
        return "kmnist"

    @property
    def channels(self) -> int:
        """1."""
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        """Romanized, in the publisher's order."""
        return KMNIST_CLASSES


@dataclass(frozen=True, kw_only=True)
class FashionMnist(Stored):
    """Fashion-MNIST, ten kinds of clothing from a shop's photographs: 60,000 / 10,000 grey images of 28x28.

    A garment reaches to the border of its image: the default framing keeps all of it.
    """

    framing: Framing = field(default_factory=Resize)
    """How the 28x28 images come to the size of the networks."""

    @property
    def name(self) -> str:
        """fashion."""
        return "fashion"

    @property
    def channels(self) -> int:
        """1."""
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        """The publisher's names, in the publisher's order."""
        return FASHION_CLASSES
