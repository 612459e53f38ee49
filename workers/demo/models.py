"""What the shop sells and whom it tells. Small on purpose; `cleanup_expired` keeps it so."""

from __future__ import annotations

from django.db import models


class Product(models.Model):
    """One thing on sale. Money is in cents; `terms` holds what its supplier agreed to."""

    sku = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=80)
    price = models.PositiveIntegerField()
    stock = models.IntegerField()
    terms = models.JSONField(default=dict)
    value = models.PositiveIntegerField(null=True)
    valued_at = models.DateTimeField(null=True)
    synced_at = models.DateTimeField(null=True)
    gallery = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.sku} {self.name}"


class Order(models.Model):
    """A few of one product for somebody."""

    class State(models.TextChoices):
        PLACED = "placed"
        RESERVED = "reserved"
        PAID = "paid"
        CONFIRMED = "confirmed"

    product = models.ForeignKey(Product, models.CASCADE, db_index=False)
    quantity = models.PositiveSmallIntegerField()
    total = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLACED)
    signature = models.CharField(max_length=64, default="")
    placed_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"order {self.pk}"


class Delivery(models.Model):
    """One webhook that a subscriber has taken."""

    subscriber = models.PositiveIntegerField()
    event = models.CharField(max_length=32)
    status = models.PositiveSmallIntegerField()
    delivered_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.event} to subscriber {self.subscriber}"
