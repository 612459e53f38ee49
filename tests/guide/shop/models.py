from __future__ import annotations

from django.db import models


class Order(models.Model):
    email = models.EmailField()
    total = models.DecimalField(max_digits=9, decimal_places=2)
    receipt = models.CharField(max_length=40, blank=True)
    paid_at = models.DateTimeField(null=True)
    shipped_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"order {self.pk}"


class Visit(models.Model):
    page = models.CharField(max_length=200, unique=True)
    count = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.page


class BankCall(models.Model):
    """What the stand-in of a bank was asked, call by call."""

    key = models.CharField(max_length=80)
    receipt = models.CharField(max_length=40, blank=True)

    def __str__(self) -> str:
        return self.key
