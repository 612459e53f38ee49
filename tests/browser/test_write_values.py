"""The script writes numbers, times and addresses as the pages do."""

from __future__ import annotations

from pathlib import Path

from tests.browser.chromium import Browser
from tests.test_formats import CASES

STATIC = Path(__file__).parents[2] / "static" / "nightdesk"
WRITE_ALL = """async ([cases, root]) => {
    const { written, address } = await import(`${root}/format.js`);
    const { spark } = await import(`${root}/bind.js`);
    return cases.map(([form, value, , ...rest]) => {
        if (form === "address") return address(rest[0], value);
        if (form === "spark") return spark(value, ...rest);
        return written(value, form, rest[0] ?? 0);
    });
}"""


def test_the_script_writes_every_value_as_the_pages_do(chromium: Browser) -> None:
    with chromium.serving(STATIC) as (page, address):
        said = page.evaluate(WRITE_ALL, [CASES, address])
    by_script = [(*case[:2], text) for case, text in zip(CASES, said, strict=True)]
    assert by_script == [tuple(case[:3]) for case in CASES]
