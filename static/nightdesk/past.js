// A page about an earlier moment: it watches nothing, and its chart stands still.
import { drawChart } from "./chart.js";
import { shell } from "./shell.js";

shell();
const chart = document.getElementById("chart");
if (chart) drawChart(chart, JSON.parse(document.getElementById("chart-data").textContent));
