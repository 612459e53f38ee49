// A page about an earlier moment: it watches nothing, and its chart stands still.
import { drawChart } from "./chart.js";
import { shell } from "./shell.js";

shell();
const place = document.getElementById("chart");
if (place) {
  const chart = JSON.parse(document.getElementById("chart-data").textContent);
  // All its minutes are over: the one that still runs, which a chart ends with, is empty.
  for (const values of [chart.finished, chart.failed, chart.oldest]) values.push(null);
  drawChart(place, chart);
}
