// A page about an earlier moment: it watches nothing, and its chart stands still.
import { drawChart } from "./chart.js";
import { shell } from "./shell.js";

shell();
drawChart();
