"""What a page transfers, as Chromium counts it: over the wire, headers and compression included."""

from __future__ import annotations

from collections import Counter
from typing import Any

from playwright.sync_api import BrowserContext


def transferred(context: BrowserContext, address: str) -> Counter[str]:
    """Bytes by kind ("document", "stylesheet", "script", …) until nothing more is fetched, without frames.

    The context should be fresh, since what is in its cache is not transferred.
    """
    page = context.new_page()
    network = context.new_cdp_session(page)
    kinds: dict[str, str] = {}
    weight: Counter[str] = Counter()

    def began(told: dict[str, Any]) -> None:
        kinds[told["requestId"]] = str(told["type"]).lower()

    def ended(told: dict[str, Any]) -> None:
        weight[kinds.get(told["requestId"], "other")] += int(told["encodedDataLength"])

    network.on("Network.responseReceived", began)
    network.on("Network.loadingFinished", ended)
    network.send("Network.enable")
    page.goto(address, wait_until="networkidle")
    page.close()
    return weight
