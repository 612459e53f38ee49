"""The shop's first stock."""

from __future__ import annotations

from workers.demo.models import Product
from workers.demo.partners import PRODUCTS, WITHOUT_CURRENCY

MATERIALS = ("Oak", "Brass", "Linen", "Walnut", "Glass", "Wool", "Slate", "Cork")
THINGS = ("lamp", "desk", "chair", "clock", "shelf", "kettle", "blanket", "mirror", "vase", "stool")


def seed_catalogue() -> None:
    """Put the products on the shelves that are not there yet; their ids are 1 to PRODUCTS."""
    known = set(Product.objects.values_list("pk", flat=True))
    Product.objects.bulk_create(
        [product(number) for number in range(1, PRODUCTS + 1) if number not in known], ignore_conflicts=True
    )


def product(number: int) -> Product:
    """The product with this number, always the same. One has terms that lack a currency."""
    terms = {"currency": "EUR", "margin": 0.2 + (number % 7) / 50, "volatility": 0.05 + (number % 11) / 100}
    if number == WITHOUT_CURRENCY:
        del terms["currency"]
    return Product(
        pk=number,
        sku=f"ND-{number:04d}",
        name=f"{MATERIALS[number % len(MATERIALS)]} {THINGS[number % len(THINGS)]}",
        price=900 + (number * 7919) % 40_000,
        stock=20 + number % 80,
        terms=terms,
    )
