"""The script writes numbers, times and addresses as the pages do."""

from __future__ import annotations

from pathlib import Path

from tests.browser.chromium import Browser
from tests.test_formats import CASES

STATIC = Path(__file__).parents[2] / "static" / "nightdesk"
WRITE_ALL = """async ([cases, root]) => {
    const { address } = await import(`${root}/format.js`);
    const { spark } = await import(`${root}/bind.js`);
    const said = [];
    for (const [form, value, , ...rest] of cases) {
        if (form === "address") said.push(address(rest[0], value));
        else if (form === "spark") said.push(spark(value, ...rest));
        else {
            const [now, zone] = [rest[0] ?? 0, rest[1] ?? "UTC"];
            document.documentElement.dataset.zone = zone;  // as a page says it
            said.push((await import(`${root}/format.js?${zone}`)).written(value, form, now));
        }
    }
    return said;
}"""


def test_the_script_writes_every_value_as_the_pages_do(chromium: Browser) -> None:
    with chromium.serving(STATIC) as (page, address):
        said = page.evaluate(WRITE_ALL, [CASES, address])
    by_script = [(*case[:2], text) for case, text in zip(CASES, said, strict=True)]
    assert by_script == [tuple(case[:3]) for case in CASES]
